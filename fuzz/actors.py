# SPDX-License-Identifier: Apache-2.0
"""The actors of a cluster: those that are ready, those that cannot work, and those that are lost and made anew.

Everything that depends on Ray's ways is here. Ray is imported when a cluster is wanted, not before.
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
from typing import Any

from fuzz.pool import START_DEADLINE, PoolClosed
from fuzz.station import Machine
from oracles.targets.config import TargetUnavailable

STILLBORN = 3  # actors per place that may die before any has worked
ALONE = START_DEADLINE + 60  # seconds without an actor that works, after which the cluster is given up
RETRY = 60.0  # seconds until an actor that could not work is asked again
CLOSING = 15.0  # seconds for actors to end their workers
STORE = 80 << 20  # bytes of shared memory where Ray is started here; what we put there are plans
POLL = 0.5  # seconds between looks at what has changed by itself: time
THREADS = 4  # of an actor: one works, one is held, the others start and close it


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


def actor_class() -> type:
    """What Ray makes actors of, on machines that may not even have meshfuzz.

    A class without a module goes there whole. One that cannot be imported would end its process without a word of why.
    """

    class StationActor:
        def __init__(self) -> None:
            import threading

            self.station: Any = None
            self.closed = threading.Event()

        def start(self, *arguments: Any) -> Any:
            from fuzz.station import Station

            self.station = self.station or Station()
            if self.closed.is_set():
                self.station.close()
            return self.station.start(*arguments)

        def ask(self, method: str, *arguments: Any) -> Any:
            return getattr(self.station, method)(*arguments)

        def hold(self) -> None:
            """Returns when the actor is closed: who waits for it learns at once that its machine is gone."""
            self.closed.wait()

        def close(self) -> None:
            self.closed.set()
            if self.station is not None:
                self.station.close()

    return StationActor


class Actors:
    """As many actors as are wanted, as far as there is room. Methods may be called from many threads."""

    def __init__(self, wanted: int, machine: Machine, start: tuple[Any, ...]) -> None:
        """Connects to the cluster, or starts Ray here. Raises TargetUnavailable.

        `wanted`: 0 for one per CPU that the cluster has now. `machine`: what those of the actors must be like. `start`:
        what `Station.start` is given.
        """
        self.ray, self._connected = connect(wanted)
        self.wanted = wanted or self._room()
        self._machine = machine
        self._start = start
        self._changed = threading.Condition()
        self._seats: list[Seat] = []
        self._free: list[Seat] = []
        self._busy = 0
        self.closed = False
        self._unavailable = ""
        self._why = ""  # the last actor that could not work gave this reason
        self._worked = False
        self._stillborn = 0  # actors that were lost before they worked
        self._said: set[str] = set()
        self._supervisor = threading.Thread(target=self._supervise, name="cluster", daemon=True)

    def open(self) -> None:
        """Make the actors, and wait for the first that works. Raises TargetUnavailable."""
        kind = self.ray.remote(num_cpus=1, max_concurrency=THREADS, max_restarts=0)(actor_class())
        self._make = kind.remote
        self._seats = [self._new() for _ in range(self.wanted)]
        self._supervisor.start()
        self.give_back(self.take())

    def take(self) -> Seat:
        """An actor that is ready, waiting for one if need be. Raises TargetUnavailable, PoolClosed."""
        with self._changed:
            self._changed.wait_for(lambda: self._free or self.closed or self._unavailable)
            if self.closed:
                raise PoolClosed("the cluster was closed")
            if not self._free:
                raise TargetUnavailable(self._unavailable)
            self._busy += 1
            return self._free.pop()

    def give_back(self, seat: Seat) -> None:
        """What was taken, whatever has become of it."""
        with self._changed:
            self._busy -= 1
            if seat.state is State.WORKING and seat in self._seats:
                self._free.append(seat)
            self._changed.notify_all()

    def close(self) -> None:
        """End every actor and its worker, busy ones too: what runs there fails. Leave the cluster, or end our own."""
        with self._changed:
            if self.closed:
                return
            self.closed = True
            self._changed.notify_all()
            seats = list(self._seats)
        if self._supervisor.is_alive():
            self._supervisor.join()
        if seats:
            # An actor without room cannot be asked anything.
            placed, _ = self.ray.wait([seat.placed for seat in seats], num_returns=len(seats), timeout=0)
            actors = [seat.actor for seat in seats if seat.placed in placed]
            self._all_done([actor.close.remote() for actor in actors])
            # Torch removes its temporary files where a process ends, which one that is killed does not.
            self._all_done([actor.__ray_terminate__.remote() for actor in actors])
        for seat in seats:
            self.ray.kill(seat.actor)
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, CLOSING)
        if self._connected:
            self.ray.shutdown()

    def _all_done(self, references: Sequence[Any]) -> None:
        if references:
            self.ray.wait(list(references), num_returns=len(references), timeout=CLOSING)

    def _new(self) -> Seat:
        actor = self._make()
        return Seat(actor, actor.__ray_ready__.remote(), actor.start.remote(*self._start), actor.hold.remote())

    def _supervise(self) -> None:
        """Take in actors that are ready, make those anew that are lost, and notice when none works."""
        worked = time.monotonic()
        while not self.closed:
            watched = {s.started if s.state is State.STARTING else s.held: s for s in self._seats}
            done, _ = self.ray.wait(list(watched), timeout=POLL)
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
            answer = self.ray.get(reference)
        except RayTaskError as error:
            self.retire(seat, str(error.cause or error).strip().splitlines()[-1])
        except RayError:
            self.replace(seat)
        else:
            if isinstance(answer, Machine):
                self._take_in(seat, answer)

    def _take_in(self, seat: Seat, machine: Machine) -> None:
        if differs := machine.differs(self._machine):
            self.retire(seat, f"other versions: {differs}; install the same everywhere")
            return
        with self._changed:
            seat.state, seat.machine = State.WORKING, machine.name
            self._worked = True
            self._free.append(seat)
            self._changed.notify_all()

    def retire(self, seat: Seat, why: str) -> None:
        """Give an actor no cases for a while. It keeps its place, so that no other is put on its machine."""
        with self._changed:
            seat.state, seat.again = State.UNFIT, time.monotonic() + RETRY
            self._why = why
        self._say(f"a machine of the cluster cannot work: {why}")

    def replace(self, seat: Seat) -> None:
        """Make an actor that is lost anew, wherever there is room."""
        self.ray.kill(seat.actor)
        with self._changed:
            if self.closed or seat not in self._seats:
                return
            self._seats.remove(seat)
            self._free = [free for free in self._free if free is not seat]
            self._seats.append(self._new())
            if not seat.machine:
                self._stillborn += 1
                self._why = "its actors die before they start: the logs of Ray on the machines may say why"
        if seat.machine:
            self._say(f"a worker on {seat.machine} was lost; what it had in hand runs elsewhere")

    def _judge(self, idle: float) -> None:
        """Whether there is any hope, `idle` seconds after an actor last worked."""
        with self._changed:
            unfit = sum(seat.state is State.UNFIT for seat in self._seats)
            room = min(self.wanted, self._room())
            if not self._worked and (unfit >= room or self._stillborn >= STILLBORN * room):
                self._unavailable = self._why
            elif idle > ALONE:
                self._unavailable = self._why or f"no machine of the cluster was ready for {ALONE:.0f} s"
            else:
                self._unavailable = ""
            self._changed.notify_all()

    def _room(self) -> int:
        """Actors that the cluster can have now, busy or not."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 0)))

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            print(f"meshfuzz: {message}", file=sys.stderr, flush=True)


def connect(workers: int) -> tuple[Any, bool]:
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
