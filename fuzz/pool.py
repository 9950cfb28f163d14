# SPDX-License-Identifier: Apache-2.0
"""Warm, isolated workers: which is free, which must be replaced, and how all of them end."""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from fuzz.case import Case, MeshfuzzError
from fuzz.disk import out_of_space, short_of_space
from fuzz.neighbours import neighbours
from fuzz.scratch import sweep
from fuzz.worker_process import EXPLAINING, GRACE, MEMORY_LIMIT, WORKER, Refused, WorkerProcess
from oracles.explanation import Explanation
from oracles.localisation import Localisation
from oracles.outcome import UNEXPLAINED, Outcome
from oracles.targets.config import TargetConfig, TargetUnavailable

START_DEADLINE = 240.0  # seconds; the first start on a topology builds kernels, up to 40 s on an idle machine
START_TRIES = 2

Result = TypeVar("Result")


class PoolClosed(MeshfuzzError):
    """The pool was closed while a case was waiting or running: there is no outcome."""


class ExportFailed(MeshfuzzError):
    """The case cannot be written as a module."""


class Pool:
    """Runs cases on a fixed number of worker processes. A context manager; `run` may be called from many threads."""

    def __init__(
        self,
        config: TargetConfig,
        directory: Path,
        *,
        workers: int = 2,
        deadline: float = 60.0,
        start_deadline: float = START_DEADLINE,
        memory_limit: int = MEMORY_LIMIT,
        command: Sequence[str] = WORKER,
        fresh: bool = False,
    ) -> None:
        """`deadline`: seconds per case. `memory_limit`: bytes a worker and its children may hold while a case runs.

        `directory`: for logs, and tmp while open.

        `fresh`: the target is opened anew for every request, in a process that ends with it.
        """
        self._config = config
        self._directory = directory.resolve()
        self._deadline = deadline
        self._start_deadline = start_deadline
        self._memory_limit = memory_limit
        self._command = tuple(command)
        self._fresh = fresh
        self._lock = threading.Lock()
        self._workers = workers
        self._closed = False
        self._alive: set[WorkerProcess] = set()
        self._localising = threading.Lock()
        self._localiser: WorkerProcess | None = None
        # Slots: a warm worker, or the number of one to start. Last in first out, so that few workers stay warm.
        self._idle: queue.LifoQueue[WorkerProcess | int] = queue.LifoQueue()
        for number in reversed(range(workers)):
            self._idle.put(number)

    def __enter__(self) -> Self:
        """Start the first worker, to fail early. Raises TargetUnavailable."""
        slot = self._idle.get()
        try:
            slot = self._started(slot)
        except BaseException:
            self._idle.put(slot)
            self.close()
            raise
        self._idle.put(slot)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, case: Case) -> Outcome:
        """Judge a case on a free worker, waiting for one if need be.

        Raises TargetUnavailable when a worker must be replaced and none can start, FolderUnwritable when the disk is
        full or the folder gone, PoolClosed after `close`.
        """
        return self._on_worker(lambda worker: worker.judge(case, self._deadline))

    def export(self, case: Case) -> dict[str, Any]:
        """The module the target compiles for a case, as `oracles.export` gives it.

        Raises what `run` raises, and ExportFailed.
        """
        try:
            return self._on_worker(lambda worker: worker.answer("export", (case,), self._deadline, _mapping))
        except Refused as error:
            raise ExportFailed(f"the case has no module: {error}") from error

    def explain(self, case: Case) -> Explanation:
        """Why a wrong case is wrong, as other inputs and other sizes tell. Raises what `run` raises."""
        cases = (case, *neighbours(case, self._config.topology))
        try:
            return self._on_worker(
                lambda worker: worker.answer("explain", cases, EXPLAINING * self._deadline, Explanation.from_plain)
            )
        except Refused as error:
            return Explanation(f"{UNEXPLAINED}: {error}")

    def localise(self, case: Case) -> Localisation:
        """The compiler pass in which a case's failure begins, as a second compile with all passes printed tells it.

        In a process for this alone, which is started when first needed and stays: printing takes time, and has crashed
        a compiler that only rejects the case. One case at a time. Raises what `run` raises.
        """
        with self._localising:
            worker = self._localiser or self._start(self._workers, replace(self._config, verbose=True))
            self._localiser = worker
            try:
                return worker.localise(case, self._deadline)
            finally:
                if worker.outgrown() or not worker.usable:
                    self._end_localiser()
                if self._closed:
                    raise PoolClosed("the worker pool was closed")

    def _end_localiser(self) -> None:
        if self._localiser is not None:
            self._end(self._localiser)
            self._localiser = None

    def _on_worker(self, work: Callable[[WorkerProcess], Result]) -> Result:
        slot = self._idle.get()
        try:
            worker = slot = self._started(slot)
            try:
                return work(worker)
            finally:
                if worker.outgrown() or not worker.usable:
                    slot = worker.number
                    self._end(worker)
                if self._closed:
                    raise PoolClosed("the worker pool was closed")
        finally:
            self._idle.put(slot)

    def close(self) -> None:
        """End every worker, busy ones too. Cases that are running raise PoolClosed."""
        with self._lock:
            self._closed = True
        slots = self._take_slots(0.0)
        if len(slots) < self._workers:
            self._signal_busy(slots, signal.SIGTERM)
            slots += self._take_slots(GRACE, self._workers - len(slots))
        if len(slots) < self._workers:
            self._signal_busy(slots, signal.SIGKILL)
            slots += self._take_slots(None, self._workers - len(slots))
        self._signal_busy(slots, signal.SIGKILL)  # the one that localises
        with self._localising:
            self._end_localiser()
        idle = [slot for slot in slots if isinstance(slot, WorkerProcess)]
        for worker in idle:
            worker.dismiss()
        for worker in idle:
            self._end(worker)
        sweep()  # one that was ended while it started
        for number in range(self._workers):
            self._idle.put(number)  # wakes the threads that wait for a worker; they find the pool closed
        with contextlib.suppress(OSError):  # another pool may share the directory
            (self._directory / "tmp").rmdir()

    def _take_slots(self, seconds: float | None, count: int = sys.maxsize) -> list[WorkerProcess | int]:
        """Up to `count` slots that are free, or become free in time; None waits as long as it takes."""
        until = None if seconds is None else time.monotonic() + seconds
        slots: list[WorkerProcess | int] = []
        while len(slots) < count:
            try:
                if until is None:
                    slots.append(self._idle.get())
                else:
                    left = until - time.monotonic()
                    slots.append(self._idle.get(timeout=left) if left > 0 else self._idle.get_nowait())
            except queue.Empty:
                break
        return slots

    def _signal_busy(self, idle: list[WorkerProcess | int], number: signal.Signals) -> None:
        with self._lock:
            busy = [worker for worker in self._alive if worker not in idle]
        for worker in busy:
            worker.signal_group(number)

    def _started(self, slot: WorkerProcess | int) -> WorkerProcess:
        if isinstance(slot, WorkerProcess):
            if slot.usable:
                return slot
            self._end(slot)
            slot = slot.number
        return self._start(slot, self._config)

    def _start(self, number: int, config: TargetConfig) -> WorkerProcess:
        message = ""
        for _ in range(START_TRIES):
            with self._lock:
                if self._closed:
                    raise PoolClosed("the worker pool was closed")
                worker = WorkerProcess(self._command, config, self._directory, number, self._fresh, self._memory_limit)
                self._alive.add(worker)
            try:
                message = worker.wait_until_ready(self._start_deadline)
            except BaseException:
                self._end(worker)
                raise
            if not message:
                return worker
            self._end(worker)
        if self._closed:
            raise PoolClosed("the worker pool was closed")
        if short_of_space(self._directory):
            raise out_of_space(self._directory)
        raise TargetUnavailable(f"target {config} does not start: {message}; see {worker.log}")

    def _end(self, worker: WorkerProcess) -> None:
        worker.end()
        with self._lock:
            self._alive.discard(worker)


def _mapping(plain: object) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise TypeError("no mapping")
    return plain
