# SPDX-License-Identifier: Apache-2.0
"""Many machines: an engine whose workers are Ray actors, on whatever nodes the cluster has.

Nodes may join, die and come back. Only actors that are ready are given cases; one that is lost with its node is made
anew, and what it had in hand runs elsewhere: a lost node is no verdict of the target. How many machines there are does
not decide which cases run, so it does not decide what is found.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fuzz.actors import Actors
from fuzz.case import Case
from fuzz.disk import FolderUnwritable
from fuzz.engine import Before, Engine, OneMachine, Plan, Sample, Trial, attempt
from fuzz.pool import ExportFailed, PoolClosed
from fuzz.settings import Settings
from fuzz.station import PLANS, this_machine
from fuzz.worker_process import WORKER
from oracles.explanation import Explanation
from oracles.localisation import Localisation
from oracles.outcome import UNEXPLAINED, Outcome, Verdict
from oracles.targets.config import TargetUnavailable

LOSSES = 3  # actors lost with the same case in hand, after which it is not tried again: it may be what ends machines


def open_engine(settings: Settings, directory: Path, sample: Sample, command: Sequence[str], before: Before) -> Engine:
    """The engine that the settings ask for, to be entered. Raises TargetUnavailable if there is no such cluster."""
    if settings.engine == "ray":
        return Cluster(settings, sample, command)
    return OneMachine(settings, directory, sample, command, before)


class Lost(Exception):
    """Actors were lost with a request in hand, one after the other."""


class Cluster:
    """An engine of Ray actors. A context manager; its methods may be called from many threads."""

    def __init__(self, settings: Settings, sample: Sample, command: Sequence[str]) -> None:
        """Connects to the cluster, or starts Ray here. Raises TargetUnavailable.

        As many actors as the settings say workers; 0: as many as the cluster has CPUs now.
        """
        self._sample = sample
        # Another machine has its Python elsewhere.
        start = (settings, sample, None if tuple(command) == WORKER else tuple(command))
        self._actors = Actors(settings.workers, this_machine(settings.target), start)
        self.parallel = self._actors.wanted
        self._lock = threading.Lock()
        self._plans: list[tuple[Plan, int, list[Any]]] = []
        self._planned = 0

    def __enter__(self) -> Self:
        """Wait for the first actor that works. Raises TargetUnavailable."""
        try:
            self._actors.open()
        except BaseException:
            self._actors.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._actors.close()

    def trial(self, plan: Plan, number: int) -> Trial:
        """Draw a case, and run it unless the plan skips it. Raises TargetUnavailable, PoolClosed."""
        key, reference = self._shared(plan)
        try:
            found: Trial = self._asked("trial", key, reference, number)
        except Lost as error:
            return attempt(plan, number, self._sample, lambda *_, said=str(error): Outcome(Verdict.ENV, "", said))
        return found

    def run(self, case: Case) -> Outcome:
        """Judge a case on any machine. Raises what `trial` raises."""
        try:
            outcome: Outcome = self._asked("run", case)
        except Lost as error:
            return Outcome(Verdict.ENV, "", str(error))
        return outcome

    def explain(self, case: Case) -> Explanation:
        """See `Pool.explain`."""
        try:
            explanation: Explanation = self._asked("explain", case)
        except Lost as error:
            return Explanation(f"{UNEXPLAINED}: {error}")
        return explanation

    def export(self, case: Case) -> dict[str, Any]:
        """See `Pool.export`."""
        try:
            module: dict[str, Any] = self._asked("export", case)
        except Lost as error:
            raise ExportFailed(f"the case has no module: {error}") from error
        return module

    def localise(self, case: Case) -> Localisation:
        """See `Pool.localise`."""
        try:
            found: Localisation = self._asked("localise", case)
        except Lost as error:
            return Localisation(Verdict.ENV, unknown=str(error))
        return found

    def _shared(self, plan: Plan) -> tuple[int, list[Any]]:
        """A plan put where every node can fetch it, once: with many findings it is large."""
        with self._lock:
            for known, key, reference in self._plans:
                if known is plan:
                    return key, reference
            self._planned += 1
            reference = [self._actors.ray.put(plan)]
            self._plans = [*self._plans, (plan, self._planned, reference)][-PLANS:]
            return self._planned, reference

    def _asked(self, method: str, *arguments: Any) -> Any:
        """The answer of any actor that works. Raises Lost."""
        from ray.exceptions import RayError, RayTaskError

        said = ""
        for _ in range(LOSSES):
            while True:
                seat = self._actors.take()
                try:
                    return self._actors.ray.get(seat.actor.ask.remote(method, *arguments))
                except RayTaskError as error:
                    if self._actors.closed:
                        raise PoolClosed("the cluster was closed") from error
                    if not isinstance(error.cause, TargetUnavailable | FolderUnwritable | OSError):
                        raise error.cause from None
                    self._actors.retire(seat, str(error.cause))
                except RayError as error:
                    if self._actors.closed:
                        raise PoolClosed("the cluster was closed") from error
                    said = type(error).__name__
                    self._actors.replace(seat)
                    break
                finally:
                    self._actors.give_back(seat)
        raise Lost(f"{LOSSES} machines in a row were lost while they had it: {said}")
