# SPDX-License-Identifier: Apache-2.0
"""What is known about a wrong output, as plain data: where each wrong element comes from, and the rule behind it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from fuzz.case import MAX_DEVICES, MAX_RANK
from fuzz.document import DocumentError, joined, shown
from fuzz.plain import read

FRESH = 3  # inputs other than the case's, whose outputs a fault model must predict before it is believed
RIGHT_CELL = "."
MAX_CAUSES = 1024  # of one output
MAX_DRAWN = 1 << 20  # elements of an output with cells
# Fault models in which parts of a tensor are put together wrongly: the op has no part in it.
RESHARDINGS = frozenset(
    {
        "parts in minor-axis-first order",
        "parts in reverse order",
        "the next device's part",
        "the previous device's part",
        "own part for all",
        "first part for all",
        "zeros for all parts but the first",
    }
)


@dataclass(frozen=True, slots=True)
class Element:
    """One wrong element of an output."""

    at: tuple[int, ...]  # position in the whole output
    device: int  # that holds it
    cause: str  # one of the causes of `oracles.decode`
    wanted: str  # where the right value comes from, for example x0[3, 1]
    got: str  # what it is, for example x0[1, 1]


@dataclass(frozen=True, slots=True)
class Part:
    """What one device holds of an output, element by element."""

    device: int
    start: tuple[int, ...]  # position in the whole output
    shape: tuple[int, ...]
    # Row-major, one letter per element: RIGHT_CELL, or a for the output's first cause, b for the second and so on.
    cells: str  # empty if there are too many elements for a picture


@dataclass(frozen=True, slots=True)
class Decoded:
    """One wrong output, element by element."""

    output: str
    shape: tuple[int, ...]
    wrong: int  # elements, on all devices together
    causes: dict[str, int]  # wrong elements per cause
    elements: tuple[Element, ...]  # examples: some for each cause and device
    parts: tuple[Part, ...]  # of all devices


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a case gives wrong numbers."""

    sentence: str  # in words; begins with UNEXPLAINED where no fault model fits
    model: str = ""  # the fault model that predicts every element, right and wrong; empty if none does
    confirmed: int = 0  # other inputs whose outputs the model predicted: FRESH, or all that the case has
    decoded: tuple[Decoded, ...] = ()

    @property
    def confirmation(self) -> str:
        """How much the model has been put to the test."""
        few = " (the case has no more)" if self.confirmed < FRESH else ""
        return f"predicted the outputs of {self.confirmed} fresh input{'s' * (self.confirmed != 1)}{few}"

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, data: object, place: str = "") -> Explanation:
        """Raises DocumentError."""
        explanation = read(cls, data, place)
        for number, decoded in enumerate(explanation.decoded):
            _check_decoded(decoded, joined(place, f"decoded[{number}]"))
        return explanation


def _check_decoded(decoded: Decoded, place: str) -> None:
    """What a picture is drawn from must be consistent, and no larger than it can be. Raises DocumentError."""
    rank, drawn = len(decoded.shape), any(part.cells for part in decoded.parts)
    if rank > MAX_RANK or any(size < 0 for size in decoded.shape) or len(decoded.causes) > MAX_CAUSES:
        raise DocumentError(f"no output has shape {shown(list(decoded.shape))}", joined(place, "shape"))
    if drawn and math.prod(decoded.shape) > MAX_DRAWN:
        raise DocumentError("an output that is too large for a picture", joined(place, "shape"))
    letters = {RIGHT_CELL, *(chr(ord("a") + number) for number in range(len(decoded.causes)))}
    for number, part in enumerate(decoded.parts):
        inside = len(part.start) == len(part.shape) == rank and all(
            start >= 0 and size >= 0 and start + size <= whole
            for start, size, whole in zip(part.start, part.shape, decoded.shape, strict=True)
        )
        told = len(part.cells) in (0, math.prod(part.shape)) and set(part.cells) <= letters
        if not inside or not told or not 0 <= part.device < MAX_DEVICES:
            raise DocumentError("a part that is no part of the output", joined(place, f"parts[{number}]"))
    for number, element in enumerate(decoded.elements):
        if len(element.at) != rank or not 0 <= element.device < MAX_DEVICES:
            raise DocumentError("an element that is none of the output", joined(place, f"elements[{number}]"))
