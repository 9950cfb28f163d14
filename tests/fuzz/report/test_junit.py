# SPDX-License-Identifier: Apache-2.0
"""JUnit files are valid XML whatever a compiler printed, and count what they hold."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from fuzz.report.junit import Result, Suite, TestCase, junit_xml

COUNTS = ("tests", "failures", "errors", "skipped")


def parsed(*cases: TestCase) -> ElementTree.Element:
    return ElementTree.fromstring(junit_xml([Suite("a suite", cases)]).encode())


def test_counts_are_those_of_the_elements() -> None:
    cases = [TestCase(f"{n} {result}", "c", result, "why", seconds=0.25) for n in range(2) for result in Result]
    root = ElementTree.fromstring(junit_xml([Suite("a", tuple(cases)), Suite("b", tuple(cases[:3]))]).encode())
    assert [root.get(name) for name in COUNTS] == ["11", "3", "2", "3"]
    first, second = root
    assert [first.get(name) for name in COUNTS] == ["8", "2", "2", "2"]
    assert [second.get(name) for name in COUNTS] == ["3", "1", "0", "1"]
    assert (first.get("time"), second.get("time")) == ("2.000", "0.750")
    for suite in root:
        found = [len(suite.findall(f"./testcase{path}")) for path in ("", "/failure", "/error", "/skipped")]
        assert found == [int(suite.get(name, "")) for name in COUNTS]


def test_a_passed_case_is_empty_and_others_say_why() -> None:
    passed, failed, skipped = parsed(
        TestCase("one", "c", Result.PASSED, "not shown", "not shown"),
        TestCase("two", "c", Result.FAILED, "first\nline", "a\n  b"),
        TestCase("three", "c", Result.SKIPPED, "no chips"),
    )[0]
    assert (passed.attrib, len(passed)) == ({"classname": "c", "name": "one", "time": "0.000"}, 0)
    assert failed[0].attrib == {"message": "first line", "type": "failure"}
    assert failed[0].text == "a\n  b"
    assert (skipped[0].tag, skipped[0].attrib) == ("skipped", {"message": "no chips"})


def test_what_xml_forbids_is_written_as_an_escape() -> None:
    (case,) = parsed(TestCase("\x1b[31mred", "\ud800", Result.ERROR, "\x00 <&>\"'", "\x08\ufffe ]]> \U0001f600"))[0]
    assert (case.get("name"), case.get("classname")) == ("\\x1b[31mred", "\\ud800")
    assert case[0].get("message") == "\\x00 <&>\"'"
    assert case[0].text == "\\x08\\ufffe ]]> \U0001f600"


@given(st.text())
def test_any_text_makes_a_file_that_can_be_read(text: str) -> None:
    (case,) = parsed(TestCase(text, text, Result.FAILED, text, text))[0]
    assert case.tag == "testcase"
