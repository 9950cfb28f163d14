# SPDX-License-Identifier: Apache-2.0
"""Other targets than the one under test, for controls: each is started when it is first asked, and kept."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from fuzz.case import Case, Mesh
from fuzz.pool import Pool
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable

KINDS = ("cpu", "torchxla")  # XLA with Shardy and XLA with GSPMD: they start wherever meshfuzz is installed
Run = Callable[[Case], Outcome]


class Opened(Protocol):
    """A pool, as far as it is used here."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def run(self, case: Case) -> Outcome: ...


def other_targets(config: TargetConfig, kinds: Iterable[str] = KINDS) -> tuple[TargetConfig, ...]:
    """The targets to compare with: of these kinds, on the same topology, without the one under test."""
    return tuple(TargetConfig(kind, config.topology, mock=False) for kind in kinds if kind != config.kind)


class Elsewhere:
    """Runs cases on other targets, one worker each. A context manager; `runs` may be used from many threads."""

    def __init__(
        self,
        configs: Iterable[TargetConfig],
        directory: Path,
        *,
        open_pool: Callable[[TargetConfig, Path], Opened] = lambda config, folder: Pool(config, folder, workers=1),
    ) -> None:
        """`directory`: for logs, a folder per target in it. Nothing starts yet."""
        self._targets = {config.kind: _Lazy(config, directory / config.kind, open_pool) for config in configs}

    @property
    def runs(self) -> Mapping[str, Run]:
        """By target: a function that judges a case there. A target that cannot start gives ENV and says why."""
        return {kind: target.run for kind, target in self._targets.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all that was started. Cases that are running raise PoolClosed."""
        for target in self._targets.values():
            target.close()


class _Lazy:
    """One target: not started, open, or found not to start."""

    def __init__(self, config: TargetConfig, folder: Path, open_pool: Callable[[TargetConfig, Path], Opened]) -> None:
        self._config = config
        self._folder = folder
        self._open_pool = open_pool
        self._opened = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._pool: Opened | None = None
        self._refusal = ""

    def run(self, case: Case) -> Outcome:
        try:
            pool = self._started()
            return pool.run(filling(case, self._config.topology.size) if self._config.kind == "torchxla" else case)
        except TargetUnavailable as error:
            self._refusal = str(error)
            return Outcome(Verdict.ENV, message=self._refusal)

    def _started(self) -> Opened:
        with self._lock:
            if self._refusal:
                raise TargetUnavailable(self._refusal)
            if self._pool is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._pool = self._opened.enter_context(self._open_pool(self._config, self._folder))
            return self._pool

    def close(self) -> None:
        with self._lock:
            self._opened.close()


def filling(case: Case, devices: int) -> Case:
    """The case on a mesh of exactly so many devices, of which what is sharded uses as many as before.

    The rest go along the first axis of size 1, or along a new one. A case that does not divide the devices stays.
    """
    mesh = case.mesh
    if devices == mesh.size or devices % mesh.size:
        return case
    more = devices // mesh.size
    free = [axis for axis, size in mesh.sizes.items() if size == 1 and axis not in case.used_axes]
    if free:
        return replace(case, mesh=Mesh(tuple((mesh.sizes | {free[0]: more}).values()), mesh.axes))
    return replace(case, mesh=Mesh((more, *mesh.shape), ("rest", *mesh.axes)))
