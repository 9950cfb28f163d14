# SPDX-License-Identifier: Apache-2.0
"""What a campaign runs its cases on, and what becomes of one case of a round.

An engine is one machine (`OneMachine`) or many (`fuzz.cluster`). A case is drawn where it runs, from a number and a
plan that are the same everywhere, so which cases run does not depend on the engine.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from fuzz.case import Case, CaseError
from fuzz.coverage import features
from fuzz.evidence import Feature
from fuzz.pool import Pool
from fuzz.settings import Settings
from fuzz.strategies.space import Space
from fuzz.triage import Pattern, pattern
from oracles.explanation import Explanation
from oracles.localisation import Localisation
from oracles.outcome import Outcome, Verdict

Sample = Callable[[Space, int, int], Case]
Before = Callable[[int, Case], object]  # called when a case is about to run: `Store.running`


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides about the cases of one round."""

    space: Space
    seed: int
    revisit: float  # share of the cases with an avoided pattern that run all the same
    known: tuple[tuple[str, tuple[Pattern, ...]], ...] = ()  # findings that were reduced: id, and their patterns
    avoided: frozenset[str] = frozenset()  # ids: a case with a pattern of theirs is not run

    def to_plain(self) -> dict[str, Any]:
        """What is known; the rest is in the settings of the campaign."""
        known = {name: [pattern.to_plain() for pattern in ways] for name, ways in self.known}
        return {"known": known, "avoided": sorted(self.avoided)}

    @classmethod
    def from_plain(cls, data: dict[str, Any], space: Space, seed: int, revisit: float) -> Self:
        known = tuple((name, tuple(map(Pattern.from_plain, ways))) for name, ways in data["known"].items())
        return cls(space, seed, revisit, known, frozenset(data["avoided"]))

    def patterns(self, case: Case) -> tuple[str, ...]:
        """Ids of the findings that the case looks like."""
        seen = pattern(case)
        return tuple(sorted(name for name, ways in self.known if any(way.covers(seen) for way in ways)))

    def skips(self, number: int, patterns: tuple[str, ...]) -> bool:
        """Whether a case is not run: it looks like what is known, and is not in the share that runs all the same."""
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        return not self.avoided.isdisjoint(patterns) and int.from_bytes(digest[:4], "big") >= self.revisit * (1 << 32)


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one case of a round."""

    number: int
    digest: str  # empty if it could not be drawn
    outcome: Outcome | None  # None: skipped
    patterns: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()
    generation: float = 0.0  # seconds


class Engine(Protocol):
    """Runs cases. A context manager; may be asked by `parallel` threads at once.

    What is asked of it raises TargetUnavailable when no worker can start, and PoolClosed once it is closed.
    """

    @property
    def parallel(self) -> int:
        """Cases that can run at once."""

    def __enter__(self) -> Self:
        """Raises TargetUnavailable if no worker starts."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def trial(self, plan: Plan, number: int) -> Trial:
        """Draw a case, and run it unless the plan skips it."""

    def run(self, case: Case) -> Outcome: ...

    def explain(self, case: Case) -> Explanation: ...

    def export(self, case: Case) -> dict[str, Any]: ...

    def localise(self, case: Case) -> Localisation: ...


def attempt(plan: Plan, number: int, sample: Sample, run: Callable[[int, Case], Outcome]) -> Trial:
    """One case of a round, on whatever `run` runs it."""
    began = time.thread_time()
    try:
        case = sample(plan.space, plan.seed, number)
        patterns = plan.patterns(case)
    except CaseError as error:
        # A fault of a strategy. It is counted and shown, and must not end a campaign of a night.
        return Trial(number, "", Outcome(Verdict.INVALID, "generate", str(error)))
    generation = time.thread_time() - began
    if plan.skips(number, patterns):
        return Trial(number, case.digest, None, patterns, (), generation)
    outcome = run(number, case)
    return Trial(number, case.digest, outcome, patterns, exercised(case, outcome), generation)


def exercised(case: Case, outcome: Outcome) -> tuple[Feature, ...]:
    """What a case that ran covers."""
    return () if outcome.verdict in (Verdict.ENV, Verdict.INVALID) else tuple(features(case))


class OneMachine(Pool):
    """The workers of this machine. A case is drawn in the driver, and on disk before it runs."""

    def __init__(
        self, settings: Settings, directory: Path, sample: Sample, command: Sequence[str], before: Before
    ) -> None:
        super().__init__(
            settings.target,
            directory,
            workers=settings.workers,
            deadline=settings.deadline,
            memory_limit=settings.memory_limit,
            command=command,
        )
        self._sample = sample
        self._before = before
        self.parallel = settings.workers

    def trial(self, plan: Plan, number: int) -> Trial:
        """Draw a case, and run it unless the plan skips it. Raises what `run` raises."""
        return attempt(plan, number, self._sample, self._run_noted)

    def _run_noted(self, number: int, case: Case) -> Outcome:
        self._before(number, case)
        return self.run(case)
