# SPDX-License-Identifier: Apache-2.0
"""A grid of cases and versions as text: for a terminal of 80 columns, and as Markdown."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fuzz.document import printable
from fuzz.grid import Cell, Change, Column, Grid, Kind, Row
from fuzz.report import terminal
from fuzz.report.words import plural
from oracles.outcome import Verdict

# So that a column is as wide as a version, and failures stand out.
SHORT = {
    Verdict.PASS: "pass",
    Verdict.COMPILE_ERROR: "error",
    Verdict.SUSPECTED: "suspect",
    Verdict.NONDETERMINISTIC: "FLAKY",
    Verdict.UNSUPPORTED: "refused",
    Verdict.NOT_JUDGED: "unjudged",
    Verdict.INVALID: "invalid",
}
CANNOT = "-"
LISTED = frozenset({Kind.REWORDED})  # kinds of which the names are enough


def grid_text(grid: Grid) -> Group:
    """The grid, what its words mean, why a version has no verdicts, and what changed."""
    name, heads = _heads(grid.columns)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("case", overflow="fold", ratio=1)
    for head in heads:
        table.add_column(head, no_wrap=len(head) < 12, overflow="fold")
    for row in grid.rows:
        table.add_row(*map(terminal.said, (row.name, *_words(row, grid.columns))))
    counts = [_counts(grid, number) for number in range(len(grid.columns))]
    parts: list[RenderableType] = [terminal.said(f"{name} on {grid.target}" if name else grid.target), table]
    parts += [terminal.said(f"{head}: {said}") for head, said in zip(heads, counts, strict=True)]
    parts.append(terminal.said(_legend(grid)))
    parts += [Padding(terminal.said(line), (0, 0, 0, 2 * depth)) for depth, line in _changes(grid)]
    return Group(*(part for part in parts if not isinstance(part, Text) or part.plain))


def grid_markdown(grid: Grid) -> str:
    """The grid with whole verdicts, and below it what changed."""
    name, heads = _heads(grid.columns)
    lines = [f"# {name or 'Plugins'} on {grid.target}", ""]
    lines += [_row(("case", *heads)), _row("---" for _ in range(len(heads) + 1))]
    for row in grid.rows:
        verdicts = (_verdict(cell, column) for cell, column in zip(row.cells, grid.columns, strict=True))
        lines.append(_row((f"`{row.name}`", *verdicts)))
    lines += [""]
    lines += [f"- {head}: {_escaped(_counts(grid, number))}" for number, head in enumerate(heads)]
    for depth, line in _changes(grid):
        lines += [f"{'    ' * (depth - 1)}- {_escaped(line)}"] if depth else ["", f"## {_escaped(line)}", ""]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str] | Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    for sign in "\\`*_<|":
        text = text.replace(sign, f"\\{sign}")
    return text


def _heads(columns: Sequence[Column]) -> tuple[str, list[str]]:
    """The plugin's name if it is one, and what stands above each column."""
    names = {column.name.partition("==")[0] for column in columns}
    if len(names) == 1:
        return names.pop(), [column.name.partition("==")[2] for column in columns]
    return "", [column.name for column in columns]


def _words(row: Row, columns: Sequence[Column]) -> list[str]:
    pairs = zip(row.cells, columns, strict=True)
    return [CANNOT if column.cannot else "" if cell is None else _short(cell.verdict) for cell, column in pairs]


def _short(verdict: Verdict) -> str:
    return SHORT.get(verdict, str(verdict))


def _verdict(cell: Cell | None, column: Column) -> str:
    if column.cannot:
        return "cannot run"
    if cell is None:
        return "not run yet"
    return f"{cell.verdict} {cell.stage}" if cell.stage and cell.verdict is not Verdict.PASS else str(cell.verdict)


def _counts(grid: Grid, number: int) -> str:
    """How many of each verdict a version has, or why none."""
    if grid.columns[number].cannot:
        return f"cannot run: {printable(grid.columns[number].cannot)}"
    cells = [row.cells[number] for row in grid.rows]
    found = Counter(cell.verdict for cell in cells if cell is not None)
    said = ", ".join(f"{found[verdict]} {_short(verdict)}" for verdict in Verdict if found[verdict])
    left = sum(cell is None for cell in cells)
    return ", ".join(filter(None, (said, f"{left} not run yet" if left else "")))


def _legend(grid: Grid) -> str:
    """What the short words stand for, of those that occur."""
    found = {cell.verdict for row in grid.rows for cell in row.cells if cell is not None}
    said = [f"{SHORT[verdict]} {verdict}" for verdict in Verdict if verdict in found and verdict in SHORT]
    changed = [word for word in said if word.split()[0] != word.split()[1].lower()]
    return f"words: {', '.join(changed)}" if changed else ""


def _changes(grid: Grid) -> Iterator[tuple[int, str]]:
    """Lines and their depth: a heading per step, below it what kind of change, and below that the cases."""
    steps = list(grid.steps())
    if not steps:
        yield 0, "Nothing to compare: fewer than two versions run."
    for old, new, changes in steps:
        (_, (before, after)) = _heads((old, new))
        yield 0, f"{before} -> {after}: {plural(len(changes), 'change') if changes else 'nothing changed'}"
        for kind, group in itertools.groupby(changes, key=lambda change: change.kind):
            members = list(group)
            yield 1, f"{kind} ({len(members)})"
            if kind in LISTED:
                yield 2, ", ".join(change.case for change in members)
            else:
                yield from ((2, f"{change.case}: {_difference(change)}") for change in members)


def _difference(change: Change) -> str:
    return " -> ".join(
        str(cell.verdict) if cell.verdict is Verdict.PASS else printable(cell.says)
        for cell in (change.before, change.after)
    )
