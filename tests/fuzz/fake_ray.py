# SPDX-License-Identifier: Apache-2.0
"""A cluster in this process: as much of Ray as `fuzz.cluster` uses, with actors that do what a test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from ray.exceptions import ActorDiedError, RayTaskError

Answer = Callable[..., Any]


@dataclass
class FakeActor:
    """Answers methods in threads. `lost` ends it as its machine would."""

    answers: dict[str, Answer]
    running: list[Future[Any]] = field(default_factory=list)

    def __getattr__(self, method: str) -> FakeMethod:
        return FakeMethod(self, method)

    def lost(self) -> None:
        for future in self.running:
            if not future.done():
                future.set_exception(ActorDiedError())


@dataclass
class FakeMethod:
    actor: FakeActor
    name: str

    def remote(self, *given: Any) -> Future[Any]:
        arguments = list(given)
        future: Future[Any] = Future()
        self.actor.running.append(future)
        if self.name == "hold":
            return future
        if self.name == "ask":
            self.name, *arguments = arguments
        answer = self.actor.answers.get(self.name, lambda *_: None)

        def work() -> None:
            try:
                said = answer(*arguments)
            except Exception as error:  # noqa: BLE001 - as Ray does
                said = error
            if not future.done():
                if isinstance(said, Exception):
                    future.set_exception(RayTaskError(self.name, "", said))
                else:
                    future.set_result(said)

        threading.Thread(target=work, daemon=True).start()
        return future


@dataclass
class FakeRay:
    """`actors` are handed out in turn; when there are no more, actors find no room: they never answer."""

    actors: list[FakeActor]
    cpus: int = 2
    made: list[FakeActor] = field(default_factory=list)

    def remote(self, **_: Any) -> Callable[[type], FakeRay]:
        return lambda _: _Class(self)

    def put(self, value: object) -> object:
        return value

    def get(self, future: Future[Any]) -> Any:
        return future.result()

    def wait(
        self, futures: Sequence[Future[Any]], num_returns: int = 1, timeout: float = 0.0
    ) -> tuple[list[Future[Any]], list[Future[Any]]]:
        until = time.monotonic() + min(timeout, 0.5)
        while True:
            done = [future for future in futures if future.done()][:num_returns]
            if len(done) >= num_returns or time.monotonic() >= until:
                return done, [future for future in futures if future not in done]
            time.sleep(0.005)

    def kill(self, actor: FakeActor) -> None:
        actor.lost()

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cpus)}


@dataclass
class _Class:
    ray: FakeRay

    def remote(self) -> FakeActor:
        room = len(self.ray.made) < len(self.ray.actors)
        actor = self.ray.actors[len(self.ray.made)] if room else FakeActor({"start": _for_ever})
        self.ray.made.append(actor)
        return actor


def _for_ever(*_: Any) -> None:
    threading.Event().wait()
