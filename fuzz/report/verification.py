# SPDX-License-Identifier: Apache-2.0
"""What a verification says: tables for a terminal, plain data, and JUnit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fuzz.report.junit import Result, Suite, TestCase
from fuzz.verify import Status, Verification

SUITE = "meshfuzz verify"


def verification_text(done: Sequence[Verification], where: str) -> RenderableType:
    """One row per failure, and how many of each status; `where`: the target and its version."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("id", no_wrap=True)
    table.add_column("was", overflow="fold", ratio=2)
    table.add_column("status", no_wrap=True)
    table.add_column("now", overflow="fold", ratio=2)
    for verification in done:
        now = "the same" if verification.status is Status.STILL_FAILING else verification.detail
        cells = (verification.subject.id, verification.subject.key, str(verification.status), now)
        table.add_row(*map(Text, cells))
    counts = Counter(verification.status for verification in done)
    summed = ", ".join(f"{status} {counts[status]}" for status in Status if counts[status])
    return Group(table, Text(f"{len(done)} on {where}: {summed}"))


def verification_plain(done: Sequence[Verification], where: str) -> dict[str, Any]:
    """For a program."""
    return {"on": where, "verifications": [verification.to_plain() for verification in done]}


def verification_suite(done: Sequence[Verification]) -> Suite:
    """As tests: what is fixed passed, what could not run was skipped or is an error, all else failed."""
    return Suite(SUITE, tuple(_test_case(verification) for verification in done))


def _test_case(verification: Verification) -> TestCase:
    match verification.status:
        case Status.FIXED:
            result = Result.PASSED
        case Status.NOT_RUN:
            result = Result.ERROR if verification.broken else Result.SKIPPED
        case _:
            result = Result.FAILED
    message = f"{verification.status}: {verification.detail}"
    text = "\n".join(_lines(verification))
    name = f"{verification.subject.id} {verification.subject.key}"
    return TestCase(name, "meshfuzz.verify", result, message, text, verification.seconds)


def _lines(verification: Verification) -> Iterator[str]:
    yield f"was: {verification.subject.key}"
    yield f"now: {verification.detail}"
    for number, run in enumerate(verification.runs, 1):
        yield f"run {number}: {run.outcome.verdict} {run.bucket or run.outcome.message}".rstrip()
    yield f"neighbours that pass: {verification.neighbours} of {len(verification.subject.neighbours)}"
