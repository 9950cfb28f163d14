# SPDX-License-Identifier: Apache-2.0
"""What narrows the blame for a finding, as plain data: boundaries between passing and failing, controls, neighbours;
and what a case exercises."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fuzz.case import Case, to_plain
from fuzz.case_file import from_plain
from fuzz.document import joined, mapping, text
from fuzz.plain import read
from oracles.outcome import Verdict

DIVISORS = (2, 4, 8, 16, 32)  # shards, lanes, tiles


@dataclass(frozen=True, slots=True)
class Boundary:
    """One number of a reduced case, varied while all others stay."""

    what: str  # for example: dim 0 of x0, largest index in x1, devices along x
    samples: tuple[tuple[int, bool], ...]  # (value, whether the case fails as the finding does), by value
    neither: tuple[int, ...] = ()  # values that were run and neither passed nor failed so: rejected, or another failure

    @property
    def monotone(self) -> bool:
        """Whether every larger value fails once one does."""
        failing = [fails for _, fails in self.samples]
        return failing == sorted(failing)

    @property
    def smallest_failing(self) -> int | None:
        return next((value for value, fails in self.samples if fails), None)

    @property
    def largest_passing(self) -> int | None:
        return next((value for value, fails in reversed(self.samples) if not fails), None)

    @property
    def divisor(self) -> int | None:
        """Of the values that pass and that fail, one kind are the multiples of this number; None if neither is."""
        for divisor in DIVISORS:
            sides = [
                {fails for value, fails in self.samples if (value % divisor == 0) is even} for even in (True, False)
            ]
            counts = [sum((value % divisor == 0) is even for value, _ in self.samples) for even in (True, False)]
            if all(len(side) == 1 for side in sides) and sides[0] != sides[1] and min(counts) > 1:
                return divisor
        return None

    def __str__(self) -> str:
        return f"{self.what}: {self._said()}" + (f"; neither at {_runs_of(self.neither)}" if self.neither else "")

    def _said(self) -> str:
        values = [value for value, _ in self.samples]
        failing = [value for value, fails in self.samples if fails]
        passing = [value for value, fails in self.samples if not fails]
        if not failing:
            return f"passes up to {values[-1] if values else 0}"
        if not passing:
            return f"fails at every value tried, {failing[0]} to {failing[-1]}"
        if self.monotone:
            tried = "" if failing[-1] == failing[0] else f" (tried to {failing[-1]})"
            return f"fails from {failing[0]}{tried}; passes to {passing[-1]}"
        if failing[-1] < passing[0] and len(failing) > 1:
            return f"fails to {failing[-1]}; passes from {passing[0]}"
        if not any(failing[0] < value < failing[-1] for value in passing):
            where = f"at {failing[0]}" if len(failing) == 1 else f"from {failing[0]} to {failing[-1]}"
            return f"fails only {where}; passes at {_runs_of(passing)}"
        if (divisor := self.divisor) is not None:
            multiples = f"{'' if failing[0] % divisor == 0 else 'not '}multiples of {divisor}"
            return f"fails at values that are {multiples}: {_runs_of(failing)}; passes at {_runs_of(passing)}"
        return f"first fails at {failing[0]}, not monotone: {self._points()}"

    def _points(self) -> str:
        """Runs of neighbouring samples with one answer."""
        groups = [
            (fails, [value for value, _ in group])
            for fails, group in itertools.groupby(self.samples, key=lambda sample: sample[1])
        ]
        return ", ".join(f"{'fails' if fails else 'passes'} at {_runs_of(values)}" for fails, values in groups)

    def to_plain(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "samples": [list(sample) for sample in self.samples],
            "neither": list(self.neither),
        }

    @classmethod
    def from_plain(cls, data: object, place: str = "") -> Boundary:
        """Raises DocumentError."""
        return read(cls, data, place)


def _runs_of(values: Sequence[int]) -> str:
    """Few values one by one, of many the first and the last: all of them are in the data."""
    return ", ".join(map(str, values)) if len(values) < 4 else f"{values[0]}, {values[1]} .. {values[-1]}"


@dataclass(frozen=True, slots=True)
class Control:
    """The same computation in another setting; one that passes shows what the failure needs."""

    name: str  # for example: unsharded, as one_hot, optimization_level 1, on cpu
    verdict: Verdict
    detail: str = ""  # why it is not a pass, or could not run, in one line

    def __str__(self) -> str:
        return f"{self.name} {self.verdict}" + (f" ({self.detail})" if self.detail else "")

    def to_plain(self) -> dict[str, Any]:
        return {"name": self.name, "verdict": str(self.verdict), "detail": self.detail}

    @classmethod
    def from_plain(cls, data: object, place: str = "") -> Control:
        """Raises DocumentError."""
        return read(cls, data, place)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A case like a reduced one that fails as it does: a fix of the one may leave the other."""

    why: str  # what is different, for example: dim 0 of x0 = 8, or: as it was found
    case: Case

    def to_plain(self) -> dict[str, Any]:
        return {"why": self.why, "case": to_plain(self.case)}

    @classmethod
    def from_plain(cls, data: object, place: str = "") -> Neighbour:
        """Raises DocumentError, CaseError."""
        fields = mapping(data, place, {"why", "case"})
        return cls(text(fields["why"], joined(place, "why")), from_plain(fields["case"], joined(place, "case")))


class Feature(NamedTuple):
    """One op of a case, as far as coverage goes."""

    op: str
    dtype: str  # of the data it works on
    sharding: str  # how that data lies on the mesh, seen from the op, and whether the other operands are split
    boundary: int  # the largest boundary (`fuzz.coverage`) that its elements reach; 0: none
