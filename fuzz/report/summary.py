# SPDX-License-Identifier: Apache-2.0
"""A night in Markdown, for the summary of a CI step: tables, no HTML, far below the megabyte that a step may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fuzz.document import printable
from fuzz.report.night import FAILS, Night, Standing, Subject
from fuzz.report.progress import clock
from fuzz.report.words import headline, ops, plural
from fuzz.store import SKIPPED
from oracles.outcome import Verdict

ROWS = 100  # of findings, per table
NIGHTS = 14
CELL = 160  # characters
SPECIAL = str.maketrans({sign: f"\\{sign}" for sign in "\\|<>*_`[]#~&@"})


def summary_markdown(night: Night) -> str:
    """The text."""
    return "\n".join(_lines(night)) + "\n"


def title(night: Night) -> str:
    """What happened, in a line."""
    counts = [
        f"{len(found)} {word}"
        for standing, word in (
            (Standing.NEW, "new"),
            (Standing.REGRESSED, "regressed"),
            (Standing.KNOWN, "known"),
            (Standing.FIXED, "fixed"),
            (Standing.PENDING, "not reduced"),
        )
        if (found := night.of(standing))
    ]
    return ", ".join(counts) or "nothing found"


def _lines(night: Night) -> Iterator[str]:
    yield f"# {_cell(f'meshfuzz {night.name}: {title(night)}')}"
    yield ""
    if night.environment:
        yield f"**The environment failed:** {_cell(night.environment, 500)}"
        yield ""
    settings, speed = night.settings, night.cases / night.seconds if night.seconds else 0.0
    yield from _table(
        ("target", "cases", "time", "cases/s", "seed"),
        [(str(settings.target), str(night.cases), clock(night.seconds), f"{speed:.1f}", str(settings.seed))],
    )
    order = [*map(str, Verdict), SKIPPED]
    yield from _table(("verdict", "cases"), [(name, str(night.counts[name])) for name in order if night.counts[name]])
    for heading, standing in (
        ("New findings", Standing.NEW),
        ("Regressions", Standing.REGRESSED),
        ("Fixed", Standing.FIXED),
        ("Known", Standing.KNOWN),
        ("Not reduced: the time was up", Standing.PENDING),
    ):
        yield from _findings(heading, night.of(standing))
    if len(night.past) > 1:
        yield "## Nights"
        yield ""
        columns = ("night", "cases", "cases/s", *map(str, FAILS), str(Standing.FIXED), "environment")
        yield from _table(
            columns,
            [
                (
                    past.name,
                    str(past.cases),
                    f"{past.throughput:.1f}",
                    *(str(past.standings.get(standing, 0)) for standing in (*FAILS, Standing.FIXED)),
                    past.environment or "right",
                )
                for past in reversed(night.past[-NIGHTS:])
            ],
        )
    versions = ", ".join(f"{name} {version}" for name, version in night.versions.items())
    yield _cell(f"Versions: {versions or 'unknown'}.", 500)


def _findings(heading: str, subjects: Sequence[Subject]) -> Iterator[str]:
    if not subjects:
        return
    yield f"## {heading}"
    yield ""
    yield from _table(
        ("id", "verdict", "stage", "ops", "what happens", "cases", "since", "note"),
        [_row(subject) for subject in subjects[:ROWS]],
    )
    if len(subjects) > ROWS:
        yield f"And {plural(len(subjects) - ROWS, 'more finding')}: see the report."
        yield ""


def _row(subject: Subject) -> tuple[str, ...]:
    finding = subject.finding
    outcome = finding.outcome
    told = (finding.id, str(outcome.verdict), outcome.stage, ops(finding.case), headline(finding))
    return (*told, str(finding.count), subject.nights.first, subject.detail)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"
    yield ""


def _cell(text: str, limit: int = CELL) -> str:
    """Text that stands for itself in a table, whatever a compiler put into it."""
    line = " ".join(printable(text).split())
    short = line if len(line) <= limit else f"{line[: limit - 3]}..."
    return short.translate(SPECIAL)
