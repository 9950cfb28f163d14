# SPDX-License-Identifier: Apache-2.0
"""What verifications of failures and of workarounds say: tables for a terminal, plain data, and JUnit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fuzz.removal import REPLACEMENT_WRONG, Advice, Ruling
from fuzz.report import terminal
from fuzz.report.junit import Result, Suite, TestCase
from fuzz.verify import Status, Verification

SUITE = "meshfuzz verify"
WORKAROUNDS_SUITE = "meshfuzz verify --workarounds"
# The community plugin has gathers and scatters of its own, so that what is right in it may be wrong upstream.
OWN_LOWERINGS = "jax-tt-plugin"


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
        table.add_row(*map(terminal.said, cells))
    counts = Counter(verification.status for verification in done)
    summed = ", ".join(f"{status} {counts[status]}" for status in Status if counts[status])
    return Group(table, terminal.said(f"{len(done)} on {where}: {summed}"))


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


# --- workarounds ------------------------------------------------------------------------------------------------------


def removal_text(done: Sequence[Ruling], where: str) -> RenderableType:
    """One row per workaround, one more for each whose replacement is wrong, and how many of each advice."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("workaround", overflow="fold", max_width=24)
    table.add_column("advice", no_wrap=True)
    table.add_column("why", overflow="fold", ratio=1)
    for ruling in done:
        name = ruling.workaround.id
        table.add_row(terminal.said(name), terminal.said(str(ruling.advice)), terminal.said(ruling.detail))
        if ruling.replacement:
            table.add_row(terminal.said(name), Text(REPLACEMENT_WRONG, style="bold"), terminal.said(ruling.replacement))
    counts = Counter(ruling.advice for ruling in done)
    summed = [f"{advice} {counts[advice]}" for advice in Advice if counts[advice]]
    if wrong := sum(bool(ruling.replacement) for ruling in done):
        summed.append(f"{REPLACEMENT_WRONG} {wrong}")
    parts: list[RenderableType] = [table, terminal.said(f"{len(done)} on {where}: {', '.join(summed)}")]
    if counts[Advice.SAFE]:
        parts.append(terminal.said(f"{Advice.SAFE} holds for {where} and no other"))
        if OWN_LOWERINGS in where:
            parts.append(
                terminal.said(f"{OWN_LOWERINGS} gathers and scatters with ops of its own, which upstream tt-mlir lacks")
            )
    return Group(*parts)


def removal_plain(done: Sequence[Ruling], where: str) -> dict[str, Any]:
    """For a program."""
    return {"on": where, "workarounds": [ruling.to_plain() for ruling in done]}


def removal_suite(done: Sequence[Ruling]) -> Suite:
    """As tests that fail where somebody should act: a workaround that can go, or one that is wrong itself."""
    return Suite(WORKAROUNDS_SUITE, tuple(case for ruling in done for case in _removal_cases(ruling)))


def _removal_cases(ruling: Ruling) -> Iterator[TestCase]:
    entry = ruling.workaround
    match ruling.advice:
        case Advice.KEEP:
            result = Result.PASSED
        case Advice.CANNOT_TELL:
            result = Result.ERROR if ruling.broken else Result.SKIPPED
        case _:
            result = Result.FAILED
    about = f"{entry.ticket or 'no ticket'}, {entry.repository}, {entry.file}\navoids: {entry.avoids}\n"
    message = f"{ruling.advice}: {ruling.detail}"
    classname = "meshfuzz.workarounds"
    yield TestCase(entry.id, classname, result, message, f"{about}{message}", ruling.seconds)
    result = Result.FAILED if ruling.replacement else Result.PASSED
    message = f"{REPLACEMENT_WRONG}: {ruling.replacement}"
    yield TestCase(f"{entry.id} replacement", classname, result, message, f"{about}{message}")
