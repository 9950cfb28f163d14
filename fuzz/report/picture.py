# SPDX-License-Identifier: Apache-2.0
"""What the picture of a wrong output shows: cells, the devices' parts over them, and what had to be left out.

Nothing here knows pixels, see `fuzz.report.drawing`. An output becomes one picture per copy that disagrees with the
others, a picture one panel per pair of its last dims, and a panel a grid of bands: equal neighbours of a long dim are
one band, so that a row of 4096 elements with one border in it needs a few cells. What does not fit even so is cut off,
and the picture says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fuzz.case import Mesh
from fuzz.report.words import place, plural, where
from oracles.explanation import RIGHT_CELL, Decoded, Part

NOTHING = " "  # a position that no device of the picture holds
LONG = 24  # rows or columns; a longer dim has its equal neighbours merged
WINDOW = 40  # rows or columns that are drawn
PANELS = 12  # per picture
COPIES = 4  # pictures of one output

Band = tuple[int, int]  # first and last index, along one dim of the output


@dataclass(frozen=True, slots=True)
class Tile:
    """Where one part lies in a panel, in bands: rows and columns, the last ones included."""

    label: tuple[str, ...]  # mesh coordinates of the devices that hold it, one line per axis
    rows: Band
    columns: Band


@dataclass(frozen=True, slots=True)
class Panel:
    """Two dims of an output; `cells` holds one letter per pair of bands."""

    title: str  # for example v0[0, :, :]; empty if the output has no other dims
    rows: tuple[Band, ...]
    columns: tuple[Band, ...]
    cells: tuple[str, ...]
    tiles: tuple[Tile, ...]
    dims: int  # of the output that it shows: 2 unless the output has fewer
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """One copy of an output, or all copies if they agree."""

    title: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pictures:
    """All there is to see of one wrong output."""

    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()  # sentences about what is not drawn, and why


@dataclass(slots=True)
class _Held:
    """One region of the output as one or more agreeing devices hold it."""

    part: Part
    devices: list[int] = field(default_factory=list)


def pictures(decoded: Decoded, mesh: Mesh) -> Pictures:
    """The pictures of one output."""
    parts = [part for part in decoded.parts if all(part.shape)]
    empty = [part.device for part in decoded.parts if not all(part.shape)]
    notes = [f"{where(mesh, empty)} holds nothing."] if empty else []
    if not parts:
        return Pictures(notes=("There is no picture: what each device holds is not known.", *notes))
    if not all(part.cells for part in parts):
        size = " x ".join(map(str, decoded.shape))
        return Pictures(notes=(f"There is no picture: the output is too large ({size}).", *notes))
    copies = _copies(parts)
    if len(copies) > COPIES:
        notes.append(f"{len(copies) - COPIES} more copies, which differ from these, are left out.")
    drawn = tuple(_picture(decoded, mesh, copy, len(copies)) for copy in copies[:COPIES])
    return Pictures(drawn, tuple(notes))


def _copies(parts: Sequence[Part]) -> list[list[_Held]]:
    """The output as often as its replicas disagree, each time all of it that is held."""
    regions: dict[tuple[tuple[int, ...], tuple[int, ...]], list[Part]] = {}
    for part in sorted(parts, key=lambda part: part.device):
        regions.setdefault((part.start, part.shape), []).append(part)
    found: dict[tuple[str, ...], list[_Held]] = {}
    # In order of devices: the n-th replicas of all regions lie at the same coordinate of the axes that replicate.
    for replicas in itertools.zip_longest(*regions.values()):
        seen = tuple(NOTHING if part is None else part.cells for part in replicas)
        held = [part for part in replicas if part is not None]
        copy = found.setdefault(seen, [_Held(part) for part in held])
        for region, part in zip(copy, held, strict=True):
            region.devices.append(part.device)
    return list(found.values())


def _picture(decoded: Decoded, mesh: Mesh, copy: Sequence[_Held], copies: int) -> Picture:
    title = ""
    if copies > 1:
        title = f"The copy at {where(mesh, [device for region in copy for device in region.devices])}"
    grid = np.full(decoded.shape, NOTHING)
    for region in copy:
        box = tuple(slice(s, s + size) for s, size in zip(region.part.start, region.part.shape, strict=True))
        grid[box] = np.array(list(region.part.cells)).reshape(region.part.shape)
    across = _across(decoded.shape)
    others = [dim for dim in range(len(decoded.shape)) if dim not in across]
    found: dict[Panel, list[str]] = {}  # alike -> their titles
    right = 0
    for leading in itertools.product(*(range(decoded.shape[dim]) for dim in others)):
        fixed = dict(zip(others, leading, strict=True))
        lines = _lines(grid[tuple(fixed.get(dim, slice(None)) for dim in range(grid.ndim))])
        if any(map(_is_wrong, lines)):
            index = ", ".join(str(fixed.get(dim, ":")) for dim in range(grid.ndim))
            panel = _bands(lines, _boxes(mesh, copy, across, fixed), len(across))
            found.setdefault(panel, []).append(f"{decoded.output}[{index}]")
        else:
            right += 1
    if not found:
        return Picture(title, (), ("Every element is right.",))
    notes = []
    if right:
        notes.append(f"{plural(right, 'panel')} without a wrong element {'is' if right == 1 else 'are'} left out.")
    if left := sum(len(titles) for titles in list(found.values())[PANELS:]):
        notes.append(f"{plural(left, 'more panel')} with wrong elements {'is' if left == 1 else 'are'} left out.")
    shown = [replace(panel, title=_title(titles) if others else "") for panel, titles in found.items()][:PANELS]
    return Picture(title, tuple(shown), tuple(notes))


def _across(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The two dims a panel shows: the last two, those of size 1 only if there are no others; fewer of a lower rank."""
    by_use = sorted(range(len(shape)), key=lambda dim: (shape[dim] == 1, -dim))
    return tuple(sorted(by_use[:2]))


def _lines(panel: np.ndarray) -> list[str]:
    """One string per row; of a single element or a single row, one."""
    return ["".join(row) for row in np.atleast_2d(panel).tolist()]


def _is_wrong(cells: Iterable[str]) -> bool:
    return bool(set(cells) - {RIGHT_CELL, NOTHING})


def _boxes(
    mesh: Mesh, copy: Sequence[_Held], across: tuple[int, ...], fixed: Mapping[int, int]
) -> list[tuple[tuple[str, ...], Band, Band]]:
    """The parts that a panel cuts: where they are on the mesh, their rows and their columns."""
    boxes = []
    for region in copy:
        spans = [(s, s + size - 1) for s, size in zip(region.part.start, region.part.shape, strict=True)]
        if all(spans[dim][0] <= at <= spans[dim][1] for dim, at in fixed.items()):
            rows, columns = ((0, 0), (0, 0), *(spans[dim] for dim in across))[-2:]
            boxes.append((place(mesh, region.devices), rows, columns))
    return boxes


def _title(titles: Sequence[str]) -> str:
    alike = len(titles) - 1
    return titles[0] + (f" and {plural(alike, 'panel')} like it" if alike else "")


def _bands(lines: list[str], boxes: list[tuple[tuple[str, ...], Band, Band]], dims: int) -> Panel:
    """The panel with what is equal merged and what does not fit cut off."""
    rows = _merged(lines, {top for _, (top, _), _ in boxes} | {bottom + 1 for _, (_, bottom), _ in boxes})
    lines = [lines[first] for first, _ in rows]
    turned = ["".join(column) for column in zip(*lines, strict=True)]
    columns = _merged(turned, {left for _, _, (left, _) in boxes} | {right + 1 for _, _, (_, right) in boxes})
    lines = ["".join(line[first] for first, _ in columns) for line in lines]
    notes = []
    if any(first != last for first, last in (*rows, *columns)):
        notes.append("Equal neighbours are drawn as one; the numbers at the edge say how many they are.")
    shown_rows = _window(rows, lambda number: lines[number])
    shown_columns = _window(columns, lambda number: [line[number] for line in lines])
    kept = [line[shown_columns.start : shown_columns.stop] for line in lines[shown_rows.start : shown_rows.stop]]
    if len(shown_rows) < len(rows) or len(shown_columns) < len(columns):
        seen = _wrong(kept, rows[shown_rows.start :], columns[shown_columns.start :])
        beyond = _wrong(lines, rows, columns) - seen
        where = [
            f"{name} {bands[shown.start][0]} to {bands[shown.stop - 1][1]} of {bands[-1][1] + 1}"
            for name, bands, shown in (("rows", rows, shown_rows), ("columns", columns, shown_columns))
            if len(shown) < len(bands)
        ]
        notes.append(f"Drawn: {' and '.join(where)}; {plural(beyond, 'wrong element')} beyond.")
    rows, columns = rows[shown_rows.start : shown_rows.stop], columns[shown_columns.start : shown_columns.stop]
    tiles = []
    for label, tall, wide in boxes:
        inside = _within(rows, tall), _within(columns, wide)
        if inside[0] is not None and inside[1] is not None:
            tiles.append(Tile(label, inside[0], inside[1]))
    return Panel("", tuple(rows), tuple(columns), tuple(kept), tuple(tiles), dims, tuple(notes))


def _merged(lines: Sequence[str], cuts: Iterable[int]) -> list[Band]:
    """Bands of one index each, or of equal neighbours if there are many; never across a border between parts."""
    cuts = set(cuts)
    bands: list[Band] = []
    for index, line in enumerate(lines):
        if len(lines) > LONG and bands and index not in cuts and line == lines[bands[-1][1]]:
            bands[-1] = (bands[-1][0], index)
        else:
            bands.append((index, index))
    return bands


def _window(bands: Sequence[Band], band_cells: Callable[[int], Iterable[str]]) -> range:
    """The bands that are drawn: all, or those around the first wrong one."""
    if len(bands) <= WINDOW:
        return range(len(bands))
    first = next(n for n in range(len(bands)) if _is_wrong(band_cells(n)))
    start = max(0, min(first - 1, len(bands) - WINDOW))
    return range(start, start + WINDOW)


def _wrong(lines: Sequence[str], rows: Sequence[Band], columns: Sequence[Band]) -> int:
    """Wrong elements of all bands together."""
    heights = [last - first + 1 for first, last in rows]
    widths = [last - first + 1 for first, last in columns]
    return sum(heights[i] * widths[j] for i, line in enumerate(lines) for j, cell in enumerate(line) if _is_wrong(cell))


def _within(bands: Sequence[Band], span: Band) -> Band | None:
    inside = [number for number, (first, last) in enumerate(bands) if span[0] <= first and last <= span[1]]
    return (inside[0], inside[-1]) if inside else None
