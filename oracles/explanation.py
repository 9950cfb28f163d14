# SPDX-License-Identifier: Apache-2.0
"""What is known about a wrong output, as plain data: where each wrong element comes from, and the rule behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

FRESH = 3  # inputs other than the case's, whose outputs a fault model must predict before it is believed
RIGHT_CELL = "."
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
    def from_plain(cls, data: Mapping[str, Any]) -> Explanation:
        return cls(**{**data, "decoded": tuple(_decoded(plain) for plain in data["decoded"])})


def _decoded(data: Mapping[str, Any]) -> Decoded:
    elements = tuple(Element(**{**plain, "at": tuple(plain["at"])}) for plain in data["elements"])
    parts = tuple(
        Part(plain["device"], tuple(plain["start"]), tuple(plain["shape"]), plain["cells"]) for plain in data["parts"]
    )
    return Decoded(**{**data, "shape": tuple(data["shape"]), "elements": elements, "parts": parts})
