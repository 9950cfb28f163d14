# SPDX-License-Identifier: Apache-2.0
"""Nothing in a drawing lies over something else or outside, however narrow the parts are."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from made_findings import MESH, decoded, ordinary, ugly

from fuzz.report.drawing import ADVANCE, LABEL, TICK, Drawing, Frame, draw
from fuzz.report.picture import pictures

DRAWN = {
    name: finding
    for name, finding in {"ordinary": ordinary(), **ugly()}.items()
    if finding.explanation is not None and finding.explanation.decoded
}


def drawings(name: str) -> Iterator[Drawing]:
    finding = DRAWN[name]
    for seen in finding.explanation.decoded if finding.explanation is not None else ():
        for picture in pictures(seen, finding.case.mesh).pictures:
            yield from map(draw, picture.panels)


def boxes(drawing: Drawing) -> list[tuple[str, Frame]]:
    """Every text and every part, as rectangles."""
    found = [("part", frame) for frame in drawing.frames]
    for written, size, anchor in (
        (drawing.labels, LABEL, 0.0), (drawing.columns, TICK, 0.5), (drawing.rows, TICK, 1.0),
    ):  # fmt: skip
        for text in written:
            width = len(text.text) * size * ADVANCE
            found.append((text.text, Frame(text.x - anchor * width, text.y - size * 0.8, width, size)))
    return found


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_overlaps_a_text_or_a_part(name: str) -> None:
    for drawing in drawings(name):
        for (one, a), (other, b) in itertools.combinations(boxes(drawing), 2):
            apart = (
                a.x + a.width <= b.x + 0.01
                or b.x + b.width <= a.x + 0.01
                or a.y + a.height <= b.y + 0.01
                or b.y + b.height <= a.y + 0.01
            )
            assert apart, (one, other)


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_outside_of_the_drawing(name: str) -> None:
    for drawing in drawings(name):
        for what, box in boxes(drawing):
            inside = box.x >= 0 and box.y >= 0
            assert inside, what
            assert box.x + box.width <= drawing.width, what
            assert box.y + box.height <= drawing.height, what


def test_every_cell_is_filled_once_and_wrong_ones_carry_their_letter() -> None:
    (drawing,) = drawings("ordinary")
    corners = [corner for fill in drawing.fills for corner in re.findall(r"M[\d.]+ [\d.]+", fill.path)]
    assert len(set(corners)) == len(corners) == 64
    assert {fill.letter: len(fill.middles) for fill in drawing.fills} == {".": 0, "a": 4, "b": 14}


def test_a_part_is_bordered_where_its_cells_are() -> None:
    seen = decoded(MESH, (2, 2), (("x",), ("y",)), lambda d, at: "lost" if d == 3 else "")
    (picture,) = pictures(seen, MESH).pictures
    drawing = draw(picture.panels[0])
    (x, y) = next(fill for fill in drawing.fills if fill.letter == "a").middles[0]
    holding = [f for f in drawing.frames if f.x < x < f.x + f.width and f.y < y < f.y + f.height]
    assert holding == [drawing.frames[3]]
