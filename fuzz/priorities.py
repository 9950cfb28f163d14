# SPDX-License-Identifier: Apache-2.0
"""Threads that take what is most urgent first."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from types import TracebackType
from typing import Any, Self, TypeVar

Result = TypeVar("Result")
END = sys.maxsize  # priority: after everything else


class PriorityExecutor:
    """A fixed number of threads, as of `ThreadPoolExecutor`, that serve a queue in order of priority.

    A context manager: leaving it cancels what has not begun, and does not wait for what has.
    """

    def __init__(self, threads: int, name: str) -> None:
        # Of two tasks with one priority the older comes first; the number also keeps tasks from being compared.
        self._queue: queue.PriorityQueue[tuple[int, int, Future[Any], Callable[[], Any]]] = queue.PriorityQueue()
        self._number = count()
        self._closed = threading.Event()
        self._threads = threads
        for number in range(threads):
            # Daemons: the interpreter must be able to end while one of them waits for a worker that hangs.
            threading.Thread(target=self._serve, name=f"{name}-{number}", daemon=True).start()

    def submit(self, priority: int, work: Callable[[], Result]) -> Future[Result]:
        """Do it on one of the threads, those with the lowest number first."""
        future: Future[Result] = Future()
        self._queue.put((priority, next(self._number), future, work))
        return future

    def _serve(self) -> None:
        while True:
            priority, _, future, work = self._queue.get()
            if priority == END:
                return
            if self._closed.is_set():
                future.cancel()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
                future.set_exception(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        for _ in range(self._threads):
            self._queue.put((END, next(self._number), Future(), lambda: None))
