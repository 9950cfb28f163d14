# SPDX-License-Identifier: Apache-2.0
"""Many machines: an engine whose workers are Ray actors (`fuzz.station`), on whatever nodes the cluster has.

Nodes may join, die and come back. Only actors that are ready are given cases; one that is lost with its node is made
anew, and what it had in hand runs elsewhere: a lost node is no verdict of the target. How many machines there are does
not decide which cases run, so it does not decide what is found.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fuzz.case import Case
from fuzz.disk import FolderUnwritable
from fuzz.engine import Before, Engine, OneMachine, Plan, Sample, Trial, attempt
from fuzz.pool import START_DEADLINE, ExportFailed, PoolClosed
from fuzz.settings import Settings
from fuzz.station import PLANS, Machine, Station, this_machine
from fuzz.worker_process import WORKER
from oracles.explanation import Explanation
from oracles.localisation import Localisation
from oracles.outcome import UNEXPLAINED, Outcome, Verdict
from oracles.targets.config import TargetUnavailable

LOSSES = 3  # actors lost with the same case in hand, after which it is not tried again: it may be what ends machines
ALONE = START_DEADLINE + 60  # seconds without an actor that works, after which the cluster is given up
RETRY = 60.0  # seconds until an actor that could not work is asked again
CLOSING = 15.0  # seconds for actors to end their workers
STORE = 80 << 20  # bytes of shared memory where Ray is started here; what we put there are plans
POLL = 0.5  # seconds between looks at what has changed by itself: time
THREADS = 4  # of an actor: one works, one is held, the others start and close it


def open_engine(settings: Settings, directory: Path, sample: Sample, command: Sequence[str], before: Before) -> Engine:
    """The engine that the settings ask for, to be entered. Raises TargetUnavailable if there is no such cluster."""
    if settings.engine == "ray":
        return Cluster(settings, sample, command)
    return OneMachine(settings, directory, sample, command, before)


class Lost(Exception):
    """Actors were lost with a request in hand, one after the other."""


class State(Enum):
    """What an actor is good for now."""

    STARTING = auto()  # or without room yet
    WORKING = auto()
    UNFIT = auto()  # its machine cannot start the target, or has other versions


@dataclass(eq=False, slots=True)
class Seat:
    """A place for one actor, with references to what its methods will return."""

    actor: Any
    placed: Any
    started: Any
    held: Any  # nothing while the actor lives
    state: State = State.STARTING
    machine: str = ""
    again: float = 0.0  # time.monotonic() from which an unfit actor is asked again


class Cluster:
    """An engine of Ray actors. A context manager; its methods may be called from many threads."""

    def __init__(self, settings: Settings, sample: Sample, command: Sequence[str]) -> None:
        """Connects to the cluster, or starts Ray here. Raises TargetUnavailable.

        As many actors as the settings say workers; 0: as many as the cluster has CPUs now.
        """
        self._sample = sample
        # Another machine has its Python elsewhere.
        self._start = (settings, sample, None if tuple(command) == WORKER else tuple(command))
        self._ray, self._connected = _connect(settings.workers)
        self.parallel = settings.workers or self._room()
        self._machine = this_machine(settings.target)
        self._changed = threading.Condition()
        self._seats: list[Seat] = []
        self._free: list[Seat] = []
        self._busy = 0
        self._closed = False
        self._unavailable = ""
        self._why = ""  # the last actor that could not work gave this reason
        self._worked = False
        self._said: set[str] = set()
        self._plans: list[tuple[Plan, int, list[Any]]] = []
        self._planned = 0
        self._supervisor = threading.Thread(target=self._supervise, name="cluster", daemon=True)

    def __enter__(self) -> Self:
        """Make the actors, and wait for the first that works. Raises TargetUnavailable."""
        try:
            station = self._ray.remote(num_cpus=1, max_concurrency=THREADS, max_restarts=0)(Station)
            self._make = station.remote
            self._seats = [self._new() for _ in range(self.parallel)]
            self._supervisor.start()
            self._give_back(self._take())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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

    def close(self) -> None:
        """End every actor and its worker, busy ones too. Requests that are running raise PoolClosed."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
            seats = list(self._seats)
        if self._supervisor.is_alive():
            self._supervisor.join()
        if seats:
            # An actor without room cannot be asked anything.
            placed, _ = self._ray.wait([seat.placed for seat in seats], num_returns=len(seats), timeout=0)
            actors = [seat.actor for seat in seats if seat.placed in placed]
            self._all_done([actor.close.remote() for actor in actors])
            # Torch removes its temporary files where a process ends, which one that is killed does not.
            self._all_done([actor.__ray_terminate__.remote() for actor in actors])
        for seat in seats:
            self._ray.kill(seat.actor)
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, CLOSING)
        if self._connected:
            self._ray.shutdown()

    def _all_done(self, references: Sequence[Any]) -> None:
        if references:
            self._ray.wait(list(references), num_returns=len(references), timeout=CLOSING)

    # --- requests -----------------------------------------------------------------------------------------------------

    def _shared(self, plan: Plan) -> tuple[int, list[Any]]:
        """A plan put where every node can fetch it, once: with many findings it is large."""
        with self._changed:
            for known, key, reference in self._plans:
                if known is plan:
                    return key, reference
            self._planned += 1
            reference = [self._ray.put(plan)]
            self._plans = [*self._plans, (plan, self._planned, reference)][-PLANS:]
            return self._planned, reference

    def _asked(self, method: str, *arguments: Any) -> Any:
        """The answer of any actor that works. Raises Lost."""
        from ray.exceptions import RayError, RayTaskError

        said = ""
        for _ in range(LOSSES):
            while True:
                seat = self._take()
                try:
                    return self._ray.get(getattr(seat.actor, method).remote(*arguments))
                except RayTaskError as error:
                    if self._closed:
                        raise PoolClosed("the cluster was closed") from error
                    if not isinstance(error.cause, TargetUnavailable | FolderUnwritable | OSError):
                        raise error.cause from None
                    self._retire(seat, str(error.cause))
                except RayError as error:
                    if self._closed:
                        raise PoolClosed("the cluster was closed") from error
                    said = type(error).__name__
                    self._replace(seat)
                    break
                finally:
                    self._give_back(seat)
        raise Lost(f"{LOSSES} machines in a row were lost while they had it: {said}")

    def _take(self) -> Seat:
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._closed or self._unavailable)
            if self._closed:
                raise PoolClosed("the cluster was closed")
            if not self._free:
                raise TargetUnavailable(self._unavailable)
            self._busy += 1
            return self._free.pop()

    def _give_back(self, seat: Seat) -> None:
        with self._changed:
            self._busy -= 1
            if seat.state is State.WORKING and seat in self._seats:
                self._free.append(seat)
            self._changed.notify_all()

    # --- actors -------------------------------------------------------------------------------------------------------

    def _new(self) -> Seat:
        actor = self._make()
        return Seat(actor, actor.__ray_ready__.remote(), actor.start.remote(*self._start), actor.hold.remote())

    def _supervise(self) -> None:
        """Take in actors that are ready, make those anew that are lost, and notice when none works."""
        worked = time.monotonic()
        while not self._closed:
            watched = {s.started if s.state is State.STARTING else s.held: s for s in self._seats if s.held is not None}
            done = []
            if watched:
                done, _ = self._ray.wait(list(watched), timeout=POLL)
            else:
                time.sleep(POLL)
            for reference in done:
                self._look_at(watched[reference], reference)
            now = time.monotonic()
            for seat in self._seats:
                if seat.state is State.UNFIT and now >= seat.again:
                    seat.started, seat.state = seat.actor.start.remote(*self._start), State.STARTING
            if any(seat.state is State.WORKING for seat in self._seats):
                worked = now
            self._judge(now - worked)

    def _look_at(self, seat: Seat, reference: Any) -> None:
        """An actor has started, or cannot; or its life has ended."""
        from ray.exceptions import RayError, RayTaskError

        try:
            answer = self._ray.get(reference)
        except RayTaskError as error:
            if reference is seat.held:
                seat.held = None  # the machine cannot even load it: nothing to wait for
            self._retire(seat, str(error.cause or error).strip().splitlines()[-1])
        except RayError:
            self._replace(seat)
        else:
            if isinstance(answer, Machine):
                self._take_in(seat, answer)

    def _take_in(self, seat: Seat, machine: Machine) -> None:
        if differs := machine.differs(self._machine):
            self._retire(seat, f"other versions: {differs}; install the same everywhere")
            return
        with self._changed:
            seat.state, seat.machine = State.WORKING, machine.name
            self._worked = True
            self._free.append(seat)
            self._changed.notify_all()

    def _retire(self, seat: Seat, why: str) -> None:
        """Give an actor no cases for a while. It keeps its place, so that no other is put on its machine."""
        with self._changed:
            seat.state, seat.again = State.UNFIT, time.monotonic() + RETRY
            self._why = why
        self._say(f"a machine of the cluster cannot work: {why}")

    def _replace(self, seat: Seat) -> None:
        """Make an actor that is lost anew, wherever there is room."""
        self._ray.kill(seat.actor)
        with self._changed:
            if self._closed or seat not in self._seats:
                return
            self._seats.remove(seat)
            self._free = [free for free in self._free if free is not seat]
            self._seats.append(self._new())
        if seat.machine:
            self._say(f"a worker on {seat.machine} was lost; what it had in hand runs elsewhere")

    def _judge(self, idle: float) -> None:
        """Whether there is any hope, `idle` seconds after an actor last worked."""
        with self._changed:
            unfit = sum(seat.state is State.UNFIT for seat in self._seats)
            if not self._worked and unfit >= min(self.parallel, self._room()):
                self._unavailable = self._why
            elif idle > ALONE:
                self._unavailable = self._why or f"no machine of the cluster was ready for {ALONE:.0f} s"
            else:
                self._unavailable = ""
            self._changed.notify_all()

    def _room(self) -> int:
        """Actors that the cluster can have now, busy or not."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            print(f"meshfuzz: {message}", file=sys.stderr, flush=True)


def _connect(workers: int) -> tuple[Any, bool]:
    """Ray, and whether it was connected here. Raises TargetUnavailable."""
    # Read when Ray is imported and when it starts.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray._private.worker as internals
    except ImportError as error:
        raise TargetUnavailable("Ray is not installed: pip install 'meshfuzz[ray]'") from error
    if ray.is_initialized():
        return ray, False
    # What nodes say when they die would go to stdout, which may be read as JSON; there is no option against it.
    internals.print_to_stdstream = lambda *_, **__: None
    address = os.environ.get("RAY_ADDRESS", "")
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    ending = signal.getsignal(signal.SIGTERM)
    try:
        try:
            ray.init("auto", **quiet)
        except ConnectionError:
            if address not in ("", "local"):
                raise
            own = {"num_cpus": workers or None, "include_dashboard": False, "object_store_memory": STORE}
            ray.init("local", **own, **quiet, _system_config={"worker_niceness": 0})
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise TargetUnavailable(
            f"no Ray cluster at {address or 'this machine'}: {str(error).splitlines()[0]}"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ending)  # Ray sets its own, which ends the process at once
    return ray, True
