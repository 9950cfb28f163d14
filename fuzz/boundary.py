# SPDX-License-Identifier: Apache-2.0
"""Where a failure begins: one number of a reduced case at a time, searched for neighbours of which one fails.

What can be varied is in `fuzz.vary`; here is which values are tried, in how few runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from fuzz.case import Case
from fuzz.evidence import Boundary, Neighbour
from fuzz.vary import Variation, reach, variations

MAX_RUNS = 60
LEAST_RUNS = 4  # per number, as long as there are any
NEAR = 8  # how far from a value that no case has others are tried: dims split over 8 devices
TIMED = 1024  # elements from which on the time of a run says something about larger ones
NOISE = 0.5  # seconds that a run may take longer for reasons of its machine
PATIENCE = 20.0  # seconds a run may be expected to take
NEIGHBOURS = 6  # kept: each costs a run whenever a fix is verified
GIVE_UP = 3  # values between two neighbours that neither pass nor fail
# Below this, any number that grows with the case looks like a limit of its own.
TELLING_REACH = 64


@dataclass
class _Runs:
    """What was run, so that no case runs twice, and what may still be run."""

    fails: Callable[[Case], bool | None]
    left: int
    clock: Callable[[], float]
    seen: dict[str, bool | None]
    slowest: dict[int, float] = field(default_factory=dict)  # seconds, by elements of all inputs
    fastest: float = math.inf
    cases: list[tuple[Case, bool]] = field(default_factory=list)

    def known(self, case: Case) -> bool:
        return case.digest in self.seen

    def ask(self, case: Case) -> bool | None:
        if not self.known(case):
            self.left -= 1
            start = self.clock()
            self.seen[case.digest] = answer = self.fails(case)
            seconds = self.clock() - start
            self.fastest = min(self.fastest, seconds)
            self.slowest[_elements(case)] = max(seconds, self.slowest.get(_elements(case), 0.0))
            if answer is not None:
                self.cases.append((case, answer))
        return self.seen[case.digest]

    def bearable(self, case: Case) -> bool:
        """Whether the case would take seconds, not minutes, if the time grows with the square of its size."""
        size = _elements(case)
        return all(
            (seconds - self.fastest - NOISE) * (size / smaller) ** 2 <= PATIENCE
            for smaller, seconds in self.slowest.items()
            if TIMED <= smaller < size
        )


def boundaries(
    case: Case,
    fails: Callable[[Case], bool | None],
    *,
    devices: int = 8,
    max_runs: int = MAX_RUNS,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Boundary, ...]:
    """Numbers of a reduced case with the values at which it was seen to fail and to pass, telling ones first.

    `fails` runs a case: True where it fails as the finding does, False where it passes, None where neither can be
    said. It is called at most `max_runs` times, never for the case itself, which fails. `devices`: how many a mesh may
    have. Deterministic but for sizes that are left out because smaller ones took long. Raises CaseError for a graph
    torch rejects; what `fails` raises propagates.
    """
    case = case.live()
    runs = _Runs(fails, max_runs, clock, {case.digest: True}, cases=[(case, True)])
    todo = list(variations(case, devices))
    found = []
    for number, variation in enumerate(todo):
        share = max(LEAST_RUNS, runs.left // (len(todo) - number))
        boundary = _search(variation, runs, min(share, runs.left))
        if len(boundary.samples) > 1:
            found.append(boundary)
    if (derived := _reach(runs.cases, found)) is not None:
        found.insert(0, derived)
    # Stable: what separates passing from failing first.
    return tuple(sorted(found, key=lambda boundary: boundary.largest_passing is None))


def failing_neighbours(case: Case, found: Iterable[Boundary], *, devices: int = 8) -> tuple[Neighbour, ...]:
    """Cases that failed when these boundaries of a case were searched, the farthest and the nearest of each number."""
    known = {boundary.what: boundary for boundary in found}
    near: list[Neighbour] = []
    far: list[Neighbour] = []
    for variation in variations(case.live(), devices):
        boundary = known.get(variation.what)
        failing = [] if boundary is None else [value for value, fails in boundary.samples if fails]
        values = sorted(set(failing) - {variation.value}, key=lambda value: abs(value - variation.value))
        for kept, chosen in ((far, values[-1:]), (near, values[:-1][:1])):
            kept += [Neighbour(f"{variation.what} = {v}", other) for v in chosen if (other := variation.at(v))]
    return tuple((far + near)[:NEIGHBOURS])


def _elements(case: Case) -> int:
    return sum(value.spec.elements for value in case.inputs)


def _reach(cases: Sequence[tuple[Case, bool]], found: Sequence[Boundary]) -> Boundary | None:
    """All runs by the largest flat index they use, if that alone tells which fail; a number that needs no runs."""
    samples: dict[int, bool] = {}
    words = set()
    for case, fails in cases:
        what = reach(case)
        if what is None or samples.setdefault(what.number, fails) != fails:
            return None
        words.add(what.words)
    if len(words) != 1:
        return None
    boundary = Boundary(words.pop(), tuple(sorted(samples.items())))
    passing, failing = boundary.largest_passing, boundary.smallest_failing
    if not boundary.monotone or passing is None or passing < TELLING_REACH:
        return None
    known = {(other.largest_passing, other.smallest_failing) for other in found}
    return None if (passing, failing) in known else boundary


def _search(variation: Variation, runs: _Runs, budget: int) -> Boundary:
    """Neighbours that differ first, then values ever farther away."""
    search = _Samples(variation, {variation.value: True})
    until = runs.left - budget
    while (found := search.next(runs, affordable=runs.left > until)) is not None:
        value, case = found
        answer = runs.ask(case)
        if answer is None:
            search.neither.add(value)
        else:
            search.answers[value] = answer
    return Boundary(variation.what, tuple(sorted(search.answers.items())), tuple(sorted(search.neither)))


@dataclass
class _Samples:
    """What is known along one number."""

    variation: Variation
    answers: dict[int, bool]
    neither: set[int] = field(default_factory=set)
    absent: set[int] = field(default_factory=set)  # no case has this value
    last: int | None = None  # the largest value tried, once it is known

    def next(self, runs: _Runs, *, affordable: bool) -> tuple[int, Case] | None:
        """The next value to try and its case; only one that was run before if no run is affordable."""
        for value in self._few() if self.variation.only else (*self._between(), *self._around()):
            if value in self.answers or value in self.neither or value in self.absent:
                continue
            case = self.variation.at(value)
            if case is None or not (runs.known(case) or runs.bearable(case)):
                self.absent.add(value)
            elif affordable or runs.known(case):
                return value, case
        return None

    def _between(self) -> Iterator[int]:
        """Values between two neighbours of which one fails, from the middle outwards, closest neighbours first."""
        known = sorted(self.answers)
        pairs = [(low, high) for low, high in pairwise(known) if self.answers[low] != self.answers[high]]
        for low, high in sorted(pairs, key=lambda pair: pair[1] - pair[0]):
            if sum(low < value < high for value in self.neither) < GIVE_UP:
                middle = (low + high) // 2
                around = (middle + side * distance for distance in range(NEAR + 1) for side in (-1, 1))
                yield from (value for value in around if low < value < high)

    def _exists(self, value: int) -> bool:
        return self.variation.least <= value <= self.variation.most and self.variation.at(value) is not None

    def _few(self) -> Iterator[int]:
        yield from sorted(self.variation.only, key=lambda value: (abs(value - self.variation.value), value))

    def _around(self) -> Iterator[int]:
        """Values on both sides: near ones, the ends of the range, then ever farther ones."""
        at, least, most = self.variation.value, self.variation.least, self.variation.most
        doubled = [max(at, 1) << bits for bits in range(1, most.bit_length()) if max(at, 1) << bits <= most]
        if self.last is None:
            self.last = next((value for value in reversed(doubled) if self.variation.at(value) is not None), at)
        # Upwards in large steps: where time grows with the square of a size, the next one may be too far.
        far = (value for value in doubled[3::4] if value < self.last)
        # What is split must divide: the nearest values that there are.
        below = next((value for value in range(at - 1, at - 1 - NEAR, -1) if self._exists(value)), at)
        above = next((value for value in range(at + 1, at + 1 + NEAR) if self._exists(value)), at)
        values = (below, least, above, 2 * at, *far, self.last, 2 * at + 1, 3 * at)
        yield from (value for value in values if least <= value <= most)
