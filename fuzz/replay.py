# SPDX-License-Identifier: Apache-2.0
"""A case again, in a process of its own: what it does now, named as findings are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fuzz.case import Case
from fuzz.investigation import observed
from fuzz.mechanism import mechanism
from fuzz.pool import Pool
from fuzz.worker_process import WORKER
from oracles.outcome import MISMATCHING, Outcome, Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable


@dataclass(frozen=True, slots=True)
class Runner:
    """What runs a case: a target, and the Python that has it."""

    config: TargetConfig
    command: Sequence[str] = WORKER
    deadline: float = 60.0  # seconds per case


@dataclass(frozen=True, slots=True)
class Replay:
    """What a case does now."""

    outcome: Outcome
    bucket: str = ""  # of a failing case: the key of the finding that it would be, unreduced

    @property
    def passed(self) -> bool:
        return self.outcome.verdict is Verdict.PASS

    def to_plain(self) -> dict[str, Any]:
        return {"verdict": str(self.outcome.verdict), "bucket": self.bucket, "message": self.outcome.message}


class Replayer:
    """Runs cases, each in a fresh process, some at once; a context manager. `replay` may be called from many threads.

    The processes are forked from ones that have imported everything and opened nothing, which saves most of the time.
    """

    def __init__(self, runner: Runner, workers: int = 1) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="meshfuzz-replay-")
        self._pool = Pool(
            runner.config,
            Path(self._folder.name),
            workers=workers,
            deadline=runner.deadline,
            command=runner.command,
            fresh=True,
        )

    def __enter__(self) -> Self:
        """Raises TargetUnavailable if the target's packages are not there; what else it lacks, a case will say."""
        try:
            self._pool.__enter__()
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()
        self._folder.cleanup()

    def replay(self, case: Case) -> Replay:
        """Run a case once. What cannot start is an outcome ENV, not an error. Raises PoolClosed."""
        try:
            return named(self._pool, case)
        except TargetUnavailable as error:
            return unavailable(error)


def named(pool: Pool, case: Case) -> Replay:
    """Run a case, and name what fails. Raises what `Pool.run` raises."""
    outcome = observed(pool.run, case)
    if not outcome.verdict.failing:
        return Replay(outcome)
    explanation = pool.explain(case) if outcome.verdict in MISMATCHING else None
    return Replay(outcome, mechanism(case, outcome, explanation))


@contextmanager
def replaying(runner: Runner, workers: int = 1) -> Iterator[Callable[[Case], Replay]]:
    """Runs cases as a Replayer does; where the target's packages are missing, each of them says so."""
    with ExitStack() as opened:
        try:
            run = opened.enter_context(Replayer(runner, workers)).replay
        except TargetUnavailable as error:
            nothing = unavailable(error)
            run = lambda case: nothing  # noqa: E731 - of the same kind as the other
        yield run


def replay(case: Case, runner: Runner) -> Replay:
    """Run one case once."""
    with replaying(runner) as run:
        return run(case)


def unavailable(error: TargetUnavailable) -> Replay:
    return Replay(Outcome(Verdict.ENV, "start", str(error)))


def why_not(runner: Runner) -> str:
    """Why no case can run, in one line: the target does not start. Empty if it does."""
    with tempfile.TemporaryDirectory(prefix="meshfuzz-replay-") as folder:
        try:
            with Pool(runner.config, Path(folder), workers=1, deadline=runner.deadline, command=runner.command):
                return ""
        except TargetUnavailable as error:
            return str(error)
