# SPDX-License-Identifier: Apache-2.0
"""The first version that changed what a case does, whether it broke it or fixed it.

A version that cannot run, or does something else than both ends, is neither old nor new and is passed over; if such
versions lie where the change is, the answer is a range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fuzz.case import MeshfuzzError
from fuzz.grid import LOUD, Cell, alike
from oracles.outcome import Verdict

CONFIRMING = 2  # runs of each side of the border, in fresh processes


class BisectionError(MeshfuzzError):
    """There is no border to look for: an end is not what it was said to be, or is not always."""


class Side(StrEnum):
    """Of the change that is looked for."""

    OLD = "old"
    NEW = "new"
    NEITHER = "skip"


@dataclass(frozen=True, slots=True)
class Criterion:
    """What tells the sides apart, and what people call them.

    Good passes; bad fails in the bucket, or at all if there is none. With `ends` the sides are what the ends do.
    """

    old: str  # good, bad or old
    new: str  # bad, good or new
    bucket: str = ""
    ends: tuple[Cell, Cell] | None = None

    def side(self, cell: Cell) -> Side:
        if self.ends is not None:
            sides = [side for side, end in zip((Side.OLD, Side.NEW), self.ends, strict=True) if alike(cell, end)]
            return sides[0] if len(sides) == 1 else Side.NEITHER
        if cell.verdict is Verdict.PASS:
            return self._called("good")
        return self._called("bad") if self._bad(cell) else Side.NEITHER

    def _called(self, name: str) -> Side:
        return Side.OLD if self.old == name else Side.NEW

    def _bad(self, cell: Cell) -> bool:
        if not cell.verdict.failing:
            return False
        if not self.bucket or cell.says == self.bucket:
            return True
        # It fails where the bucket does and does not say why: nothing speaks against it.
        return cell.bare and cell.verdict in LOUD and self.bucket.startswith(f"{cell.verdict} {cell.stage}:")

    def word(self, side: Side) -> str:
        """What people call the side."""
        return {Side.OLD: self.old, Side.NEW: self.new}.get(side, str(side))


@dataclass(frozen=True, slots=True)
class Probe:
    """One version, judged."""

    revision: str
    side: Side
    said: str  # what the case does on it, or why nothing was learned

    @classmethod
    def of(cls, revision: str, cell: Cell, criterion: Criterion) -> Probe:
        said = cell.message if cell.verdict is Verdict.ENV else cell.says
        return cls(revision, criterion.side(cell), str(cell.verdict) if cell.verdict is Verdict.PASS else said)

    def to_plain(self) -> dict[str, str]:
        return {"revision": self.revision, "side": str(self.side), "said": self.said}


@dataclass(frozen=True, slots=True)
class Answer:
    """Where the change is: in `suspects`, which is one version unless others next to it could not be judged."""

    criterion: Criterion
    probes: tuple[Probe, ...]  # in the order they were made
    before: str  # the last version of the old side
    suspects: tuple[str, ...]  # oldest first; the last is the first that is known to be of the new side

    def to_plain(self) -> dict[str, Any]:
        return {
            "old": self.criterion.old,
            "new": self.criterion.new,
            "probes": [probe.to_plain() for probe in self.probes],
            "before": self.before,
            "suspects": list(self.suspects),
        }

    def __str__(self) -> str:
        width = max(len(probe.revision) for probe in self.probes)
        names = max(len(self.criterion.word(probe.side)) for probe in self.probes)
        lines = [f"{p.revision:{width}}  {self.criterion.word(p.side):{names}}  {p.said}" for p in self.probes]
        new, old = self.criterion.new, self.criterion.old
        if len(self.suspects) == 1:
            lines.append(f"first {new}: {self.suspects[0]}; last {old}: {self.before}")
        else:
            lines.append(f"first {new}: one of {', '.join(self.suspects)}; last {old}: {self.before}")
            lines.append(f"{', '.join(self.suspects[:-1])} could not be judged")
        lines.append(f"both sides of the border did the same in {CONFIRMING} fresh processes")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Border:
    """Between two neighbours, or between two that have only versions between them that cannot be judged."""

    old: int
    new: int


def border(count: int, side: Callable[[int], Side]) -> Border:
    """Where `count` versions, of which the first is old and the last is new, change sides.

    Asks for the side of at most log2(count), rounded up, that are old or new, and of no version twice.
    """
    old, new = 0, count - 1
    unknown = list(range(1, new))
    while unknown:
        middle = unknown.pop(len(unknown) // 2)
        match side(middle):
            case Side.OLD:
                old, unknown = middle, [other for other in unknown if other > middle]
            case Side.NEW:
                new, unknown = middle, [other for other in unknown if other < middle]
            case Side.NEITHER:
                pass
    return Border(old, new)


def check_ends(revisions: tuple[str, str], cells: tuple[Cell, Cell], criterion: Criterion) -> Criterion:
    """The criterion, if both ends are what they were said to be. Raises BisectionError saying what they are.

    One whose sides are old and new is made from the ends.
    """
    for revision, cell in zip(revisions, cells, strict=True):
        if cell.verdict is Verdict.ENV:
            raise BisectionError(f"{revision} cannot run the case: {cell.message}")
    if criterion.old == Side.OLD:
        if alike(*cells):
            raise BisectionError(f"{revisions[0]} and {revisions[1]} do the same: {cells[1].says}")
        return Criterion(criterion.old, criterion.new, ends=cells)
    for revision, cell, wanted in zip(revisions, cells, (Side.OLD, Side.NEW), strict=True):
        if criterion.side(cell) is not wanted:
            word = criterion.word(wanted)
            bad = f"to fail as {criterion.bucket}" if criterion.bucket else "to fail"
            meant = "to pass" if word == "good" else bad
            raise BisectionError(
                f"{revision} is not {word}, which is {meant}: {cell.says}; "
                "--old and --new ask where what the ends do changes, whatever it is"
            )
    return criterion


def bisect(revisions: Sequence[str], run: Callable[[str], Cell], criterion: Criterion) -> Answer:
    """The first of the revisions, given oldest first, that is of the new side. Each `run` is in a fresh process.

    Raises BisectionError if an end is not what it was said to be, or a side of the border not a second time.
    """
    cells = {0: run(revisions[0]), len(revisions) - 1: run(revisions[-1])}
    old, new = cells.values()
    criterion = check_ends((revisions[0], revisions[-1]), (old, new), criterion)

    def side(number: int) -> Side:
        cells[number] = run(revisions[number])
        return criterion.side(cells[number])

    found = border(len(revisions), side)
    for number in (found.old, found.new):
        for _ in range(CONFIRMING - 1):
            again = run(revisions[number])
            if criterion.side(again) is not criterion.side(cells[number]):
                raise BisectionError(
                    f"{revisions[number]} does not do the same every time: {cells[number].says}, then {again.says}"
                )
    probes = tuple(Probe.of(revisions[number], cell, criterion) for number, cell in cells.items())
    return Answer(criterion, probes, revisions[found.old], tuple(revisions[found.old + 1 : found.new + 1]))
