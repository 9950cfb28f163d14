# SPDX-License-Identifier: Apache-2.0
"""JUnit XML, which every CI system reads: test suites of cases that passed, failed, were skipped, or broke."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from xml.etree import ElementTree as Tree

# What XML 1.0 allows (section 2.2, Char), turned round. Compilers print such characters: colours, bytes of a crash.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Result(StrEnum):
    """What became of a test case: the names of the elements that say so."""

    PASSED = "passed"
    FAILED = "failure"
    SKIPPED = "skipped"
    ERROR = "error"  # of the machinery, not of what was tested


@dataclass(frozen=True, slots=True)
class TestCase:
    """One test case of a suite."""

    __test__ = False  # pytest looks for classes of this name

    name: str
    classname: str
    result: Result
    message: str = ""  # one line: why it did not pass
    text: str = ""  # all there is to say
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Suite:
    """Test cases of one run."""

    name: str
    cases: tuple[TestCase, ...]


def junit_xml(suites: Sequence[Suite]) -> str:
    """The document, as the JUnit schema of Jenkins' xunit plugin has it."""
    root = Tree.Element("testsuites", _counts([case for suite in suites for case in suite.cases]))
    for suite in suites:
        element = Tree.SubElement(root, "testsuite", {"name": _printable(suite.name), **_counts(suite.cases)})
        for case in suite.cases:
            _add(element, case)
    Tree.indent(root)
    text: bytes = Tree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text.decode() + "\n"


def _counts(cases: Sequence[TestCase]) -> dict[str, str]:
    found = [case.result for case in cases]
    return {
        "tests": str(len(found)),
        "failures": str(found.count(Result.FAILED)),
        "errors": str(found.count(Result.ERROR)),
        "skipped": str(found.count(Result.SKIPPED)),
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }


def _add(suite: Tree.Element, case: TestCase) -> None:
    attributes = {"classname": case.classname, "name": case.name, "time": f"{case.seconds:.3f}"}
    element = Tree.SubElement(suite, "testcase", {key: _printable(value) for key, value in attributes.items()})
    if case.result is Result.PASSED:
        return
    attributes = {"message": " ".join(case.message.split())}
    if case.result is not Result.SKIPPED:  # to which the schema gives no type
        attributes["type"] = str(case.result)
    child = Tree.SubElement(element, str(case.result), {key: _printable(value) for key, value in attributes.items()})
    child.text = _printable(case.text) or None


def _printable(text: str) -> str:
    """Text with what XML forbids written as an escape, so that nothing is lost."""
    return _FORBIDDEN.sub(lambda found: ascii(found.group())[1:-1], text)
