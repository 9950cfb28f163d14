# SPDX-License-Identifier: Apache-2.0
"""Where everything of a panel goes, in pixels; `templates/panel.svg.j2` writes it down.

Cells grow until the numbers and mesh coordinates beside them have room, so that no text meets another: nobody looks at
the page before the maintainer does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fuzz.report.picture import NOTHING, Band, Panel
from oracles.explanation import RIGHT_CELL

CELL = 24.0  # side of a cell that needs no more
GAP = 7.0  # between the parts of two devices
MARGIN = 3.0
# Of the monospace fonts that browsers bring along, none is wider than this part of its size.
ADVANCE = 0.62
TICK, LABEL = 10.0, 11.0  # font sizes
TICK_LINE, LABEL_LINE = 15.0, 14.0


@dataclass(frozen=True, slots=True)
class Written:
    """Text, and where: its left end, middle or right end, as the template says, on its base line."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """The border of a device's part."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Fill:
    """All cells with one letter."""

    letter: str  # RIGHT_CELL or a cause's
    path: str
    middles: tuple[tuple[float, float], ...]  # of the cells, for the letter


@dataclass(frozen=True, slots=True)
class Drawing:
    width: float
    height: float
    fills: tuple[Fill, ...]
    frames: tuple[Frame, ...]
    labels: tuple[Written, ...]  # mesh coordinates
    columns: tuple[Written, ...]  # indices above
    rows: tuple[Written, ...]  # indices to the left


def draw(panel: Panel) -> Drawing:
    """Lay a panel out."""
    ticks = [_numbers(band) if panel.dims else "" for band in panel.columns]
    beside = [_numbers(band) if panel.dims > 1 else "" for band in panel.rows]
    widths = [max(CELL, _text(tick, TICK) + 6) for tick in ticks]
    labels: Sequence[tuple[str, ...]] = [tile.label for tile in panel.tiles]
    in_one_line = [(" ".join(label),) for label in labels]
    if all(
        _text(label, LABEL) <= sum(widths[tile.columns[0] : tile.columns[1] + 1])
        for tile, (label,) in zip(panel.tiles, in_one_line, strict=True)
    ):
        labels = in_one_line
    for tile, label in zip(panel.tiles, labels, strict=True):
        first, last = tile.columns
        needed = max(_text(line, LABEL) for line in label) / (last - first + 1)
        widths[first : last + 1] = [max(width, needed) for width in widths[first : last + 1]]

    side = max((_text(tick, TICK) for tick in beside), default=0.0) + 6
    strip = max(len(label) for label in labels) * LABEL_LINE + 2 if labels else 0.0
    xs, right = _positions(widths, {tile.columns[0] for tile in panel.tiles}, MARGIN + side - GAP, GAP)
    heights = [CELL] * len(panel.rows)
    top = MARGIN + (TICK_LINE if panel.dims else 0.0)
    ys, bottom = _positions(heights, {tile.rows[0] for tile in panel.tiles}, top - GAP, GAP + strip)

    frames, written = [], []
    for tile, label in zip(panel.tiles, labels, strict=True):
        (up, down), (left, last) = tile.rows, tile.columns
        x, y = xs[left], ys[up]
        frames.append(Frame(x, y, xs[last] + widths[last] - x, ys[down] + heights[down] - y))
        written += [Written(x, y - strip + LABEL_LINE * (n + 1) - 3, line) for n, line in enumerate(label)]
    return Drawing(
        width=right + MARGIN,
        height=bottom + MARGIN,
        fills=tuple(_fills(panel, xs, ys, widths, heights)),
        frames=tuple(frames),
        labels=tuple(written),
        columns=tuple(
            Written(x + width / 2, top - 4, tick) for x, width, tick in zip(xs, widths, ticks, strict=True) if tick
        ),
        rows=tuple(
            Written(xs[0] - 5, y + height / 2 + TICK * 0.35, tick)
            for y, height, tick in zip(ys, heights, beside, strict=True)
            if tick
        ),
    )


def _numbers(band: Band) -> str:
    return str(band[0]) if band[0] == band[1] else f"{band[0]}..{band[1]}"


def _text(text: str, size: float) -> float:
    return len(text) * size * ADVANCE


def _positions(sizes: Sequence[float], borders: Iterable[int], start: float, gap: float) -> tuple[list[float], float]:
    """Where each band begins, with a gap before each border, and where the last one ends."""
    at, found = start, []
    borders = set(borders)
    for number, size in enumerate(sizes):
        at += gap if number in borders else 0.0
        found.append(at)
        at += size
    return found, at


def _fills(
    panel: Panel, xs: Sequence[float], ys: Sequence[float], widths: Sequence[float], heights: Sequence[float]
) -> Iterable[Fill]:
    cells: dict[str, list[tuple[int, int]]] = {}
    for row, line in enumerate(panel.cells):
        for column, letter in enumerate(line):
            cells.setdefault(letter, []).append((row, column))
    cells.pop(NOTHING, None)
    for letter, places in sorted(cells.items()):
        path = "".join(
            f"M{_short(xs[column])} {_short(ys[row])}h{_short(widths[column])}v{_short(heights[row])}"
            f"h-{_short(widths[column])}z"
            for row, column in places
        )
        middles = ((xs[column] + widths[column] / 2, ys[row] + heights[row] / 2) for row, column in places)
        yield Fill(letter, path, () if letter == RIGHT_CELL else tuple(middles))


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
