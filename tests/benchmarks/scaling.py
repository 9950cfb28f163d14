# SPDX-License-Identifier: Apache-2.0
"""How far one driver carries: real cases, campaign loop and store, on 1 to 64 workers that only take their time.

    python tests/benchmarks/scaling.py [--seconds 15] [--workers 1,2,4,8,16,32,64] [--engines threads,ray] [--round 32]

A worker waits as long as a case of the TT compiler takes, and then says that the case passes. So the workers cost this
machine nothing, and what is measured is what remains with the driver:

- `threads`: as on one large machine. The driver draws every case, in a thread per worker.
- `ray`: as on a cluster. Actors of this machine stand for those of others. They send back trials that were made before,
  because drawing belongs to their machines; so the curve says what the driver can take, not what 64 machines do.

`busy` is the share of the workers' time that was spent on cases: 1 is perfect scaling. `driver` is the CPU time of this
process per case, `own` the part of it that asks for a case and records it, which holds the interpreter; the rest are
mostly Ray's threads, which do not. `draw` and `store` are parts of `own`. Python runs one thread at a time, so 1/own is
the most cases per second that any number of workers can get, and `limit` the number of workers that it feeds. Where
`busy` is low far below `limit`, workers wait for rounds: early in a campaign few rounds are open at once.
`--round 1024` takes that away and leaves the driver.
"""

import argparse
import functools
import os
import pickle
import resource
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from fuzz import actors, campaign, cluster, store
from fuzz.case import Case, Mesh
from fuzz.engine import Plan, Trial, attempt
from fuzz.settings import Budget, Settings
from fuzz.station import this_machine
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig

MESH = Mesh.parse("2x2")
SETTINGS = Settings(TargetConfig("tt", MESH), Space((MESH, Mesh.parse("1x4"))), seed=1)
# Seconds per case at the quantiles 0, 5 .. 100 %: the fastest 99.5 % of 858 cases of a campaign of ten minutes on
# 2026-11-23 (`meshfuzz run --target tt --mock 2x2 --workers 2`, jax-tt-plugin 0.1.3, 2 cores), from its database.
LATENCIES = (
    0.006,
    0.029,
    0.034,
    0.047,
    0.055,
    0.062,
    0.067,
    0.073,
    0.078,
    0.086,
    0.092,
    0.098,
    0.104,
    0.113,
    0.125,
    0.137,
    0.16,
    0.2,
    0.302,
    0.562,
    1.933,
)
STAGES = {"shlo": "right", "shlo_compiler": "right", "ttir": "right", "ttnn": "right"}
REPEAT = 4096  # cases after which latencies begin again
TRIALS = 256  # made before, for actors to send back


def latency(number: int) -> float:
    """Seconds that a case takes, the same in every run: the quantiles in a fixed disorder."""
    share = (number % REPEAT * 0.6180339887498949) % 1.0 * (len(LATENCIES) - 1)
    low = int(share)
    return LATENCIES[low] + (share - low) * (LATENCIES[low + 1] - LATENCIES[low])


def passed(number: int, _: Case) -> Outcome:
    """After its time."""
    time.sleep(latency(number))
    return Outcome(Verdict.PASS, seconds={"compile": latency(number)}, stages=STAGES)


class Threads:
    """An engine without processes."""

    def __init__(self, workers: int) -> None:
        self.parallel = workers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def trial(self, plan: Plan, number: int) -> Trial:
        """Drawn here."""
        return attempt(plan, number, sample, passed)


class Made:
    """A trial that becomes one only where it is read, so that an actor needs none of our modules."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self.data,)


def station(trials: list[bytes], latencies: tuple[float, ...]) -> type:
    """An actor's class without a module of its own, which actors could not import."""

    class Sleeper:
        def __init__(self) -> None:
            self.end = threading.Event()

        def start(self, machine: Any, *_: Any) -> Any:
            return machine

        def hold(self) -> None:
            self.end.wait()

        def close(self) -> None:
            self.end.set()

        def ask(self, method: str, key: int, plan: Any, number: int) -> Any:
            time.sleep(latencies[number % len(latencies)])
            return Made(trials[number % len(trials)])

    return Sleeper


class Remote(cluster.Cluster):
    """The engine of a cluster, with actors that sleep."""

    def __init__(self, workers: int, made: list[bytes]) -> None:
        super().__init__(replace(SETTINGS, workers=workers, engine="ray"), sample, ())
        self._actors._start = (Made(pickle.dumps(this_machine(SETTINGS.target))),)
        actors.actor_class = lambda: station(made, tuple(map(latency, range(REPEAT))))

    def __enter__(self) -> Self:
        """With all actors: how fast Ray starts them here says nothing about machines of their own."""
        super().__enter__()
        while any(seat.state is not actors.State.WORKING for seat in self._actors._seats):
            time.sleep(0.1)
        return self

    def trial(self, plan: Plan, number: int) -> Trial:
        """With the number that was asked for."""
        return replace(super().trial(plan, number), number=number)


def measure(engine: Any, seconds: float) -> dict[str, float]:
    """Figures of a campaign of so many seconds."""
    spent = {"ask": 0.0, "record": 0.0, "draw": 0.0, "worked": 0.0, "ready": 0.0}
    lock = threading.Lock()
    record, trial = store.Store.record, engine.trial

    @functools.wraps(record)
    def recording(self: Any, *arguments: Any) -> None:
        began = time.thread_time()
        record(self, *arguments)
        with lock:
            spent["record"] += time.thread_time() - began

    def trying(plan: Plan, number: int) -> Trial:
        with lock:
            if not spent["ready"]:
                spent["ready"], spent["cpu"] = time.monotonic(), cpu_seconds()
        began = time.thread_time()
        found: Trial = trial(plan, number)
        with lock:
            spent["ask"] += time.thread_time() - began
            spent["draw"] += found.generation
            spent["worked"] += latency(number)
        return found

    engine.trial = trying
    store.Store.record = recording
    campaign.open_engine = lambda *_: engine
    try:
        with tempfile.TemporaryDirectory() as folder:
            tools = campaign.Tools(sample, None, None)  # nothing fails: nothing is reduced or published
            summary = campaign.run_campaign(Path(folder), SETTINGS, Budget(seconds=seconds), tools)
    finally:
        store.Store.record = record
    wall, cpu = time.monotonic() - spent["ready"], cpu_seconds() - spent["cpu"]
    own, each = spent["ask"] + spent["record"], 1000 / summary.run
    return {
        "cases/s": summary.run / wall,
        "busy": spent["worked"] / (engine.parallel * wall),
        "driver ms": cpu * each,
        "own ms": own * each,
        "draw ms": (spent["draw"] if isinstance(engine, Threads) else 0.0) * each,
        "store ms": spent["record"] * each,
        "limit": spent["worked"] / own,
    }


def cpu_seconds() -> float:
    """Of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def trials() -> list[bytes]:
    """As an actor would have made them."""
    plan = Plan(SETTINGS.space, SETTINGS.seed, SETTINGS.revisit)
    quick = lambda number, case: Outcome(Verdict.PASS, seconds={"compile": latency(number)}, stages=STAGES)  # noqa: E731
    return [pickle.dumps(attempt(plan, number, sample, quick)) for number in range(TRIALS)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--workers", default="1,2,4,8,16,32,64")
    parser.add_argument("--engines", default="threads,ray")
    parser.add_argument("--round", type=int, default=campaign.ROUND, help="cases of a round")
    options = parser.parse_args()
    campaign.ROUND = options.round
    made = trials()
    for kind in options.engines.split(","):
        table = Table("workers", title=f"{kind}: {options.seconds:g} s each, {os.cpu_count()} cores")
        for workers in map(int, options.workers.split(",")):
            engine = Threads(workers) if kind == "threads" else Remote(workers, made)
            figures = measure(engine, options.seconds)
            if not table.columns[1:]:
                for name in figures:
                    table.add_column(name, justify="right")
            digits = {"cases/s": 1, "busy": 2, "limit": 0}
            table.add_row(str(workers), *(f"{value:.{digits.get(name, 2)}f}" for name, value in figures.items()))
        Console().print(table)


if __name__ == "__main__":
    main()
