# SPDX-License-Identifier: Apache-2.0
"""Test-case reduction: the search for the simplest case that still fails in the same way.

Passes propose simpler cases, `fails` decides, and this module keeps the best. It knows neither targets nor buckets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fuzz.case import Case
from fuzz.reduce.identity import experiment, is_defined
from fuzz.reduce.passes import PASSES, Pass


@dataclass(frozen=True, slots=True)
class Reduction:
    """The simplest case found, and what finding it cost."""

    case: Case  # fails in the same bucket as the case it was reduced from
    runs: int  # of the target
    seconds: float
    minimal: bool  # no single step of any pass still fails; False where the budget ended first


class _BudgetSpent(Exception):
    """Leaves the search from wherever it is; the best case so far stands."""


@dataclass
class _Search:
    """The best case so far, what was tried, and what may still be spent."""

    best: Case
    fails: Callable[[Case], bool]
    improved: Callable[[Case, int], None]
    max_runs: int
    out_of_time: Callable[[], bool]
    runs: int = 0
    failed: set[str] = field(default_factory=set)  # experiments known to fail
    passed: set[str] = field(default_factory=set)  # and those that do not, or are none

    def sweep(self) -> bool:
        """Run every pass once. Returns whether the best case became simpler."""
        before = self.best
        for simplify in PASSES:
            self.apply(simplify)
        return self.best is not before

    def apply(self, simplify: Pass) -> None:
        """Follow one pass to its end. After a success it goes on with the new best case from the same step.

        The steps before it failed on a case hardly different; the sweep after the last success tries them again.
        """
        step = 0
        progress = True
        while progress:
            progress = False
            for number, candidate in enumerate(simplify(self.best)):
                if number >= step and self.still_fails(candidate):
                    self.best, step, progress = candidate, number, True
                    self.improved(candidate, self.runs)
                    break

    def still_fails(self, candidate: Case) -> bool:
        known = experiment(candidate)
        if known in self.failed or known in self.passed:
            return known in self.failed
        if not is_defined(candidate):
            self.passed.add(known)
            return False
        if self.runs >= self.max_runs or self.out_of_time():
            raise _BudgetSpent
        self.runs += 1
        fails = self.fails(candidate)
        (self.failed if fails else self.passed).add(known)
        return fails


def reduce(
    case: Case,
    fails: Callable[[Case], bool],
    *,
    max_runs: int = 150,
    max_seconds: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
    improved: Callable[[Case, int], None] = lambda case, runs: None,
) -> Reduction:
    """The simplest case reachable from a failing one by steps that still fail.

    `fails` runs a candidate on the target and says whether it fails in the same bucket. It is called at most once per
    experiment (a candidate that only writes the same numbers in another way needs no run), at most `max_runs` times,
    and not after `max_seconds` (a run in progress is not interrupted). What it raises propagates, Ctrl-C included; a
    caller that wants the best case even then gets every improvement, with the runs used so far, through `improved`.
    Raises CaseError for a case whose graph torch rejects.
    """
    start = clock()
    search = _Search(case, fails, improved, max_runs, lambda: clock() - start >= max_seconds)
    search.failed.add(experiment(case))
    try:
        while search.sweep():
            pass
        minimal = True
    except _BudgetSpent:
        minimal = False
    return Reduction(search.best, search.runs, clock() - start, minimal)
