# SPDX-License-Identifier: Apache-2.0
"""One worker on one machine of a cluster, and what belongs to it there: its folder, its versions.

Each Ray actor of `fuzz.actors` has one. A compiler that takes its process along is observed from outside, so the actor
runs no case itself: it has a worker process, as a campaign on one machine does.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fuzz import lock
from fuzz.case import Case, to_plain
from fuzz.engine import OneMachine, Plan, Sample, Trial
from fuzz.pool import PoolClosed
from fuzz.settings import Settings
from fuzz.worker_process import WORKER
from oracles.explanation import Explanation
from oracles.localisation import Localisation
from oracles.outcome import Outcome
from oracles.targets.config import TargetConfig, TargetUnavailable
from oracles.targets.environment import file_digest, locked, prepare, versions

PLANS = 128  # kept: more than there are rounds that run at once


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a station is, and what it runs cases with."""

    name: str
    versions: Mapping[str, str]

    def differs(self, other: Machine) -> str:
        """One line that names both where their cases or verdicts could differ; empty if they cannot."""
        names = sorted(self.versions.keys() | other.versions.keys())
        pairs = [(name, self.versions.get(name, "none"), other.versions.get(name, "none")) for name in names]
        return ", ".join(
            f"{name} {mine} on {self.name} and {theirs} on {other.name}"
            for name, mine, theirs in pairs
            if mine != theirs
        )


def this_machine(config: TargetConfig) -> Machine:
    """What runs here: versions, and a hash of the code, which says more than the version of a checkout."""
    found = versions() | {"code": _code_digest()}
    if config.plugin is not None and Path(config.plugin).is_file():
        found["plugin"] = file_digest(Path(config.plugin))
    return Machine(socket.gethostname(), found)


def _code_digest() -> str:
    """Of what draws cases and judges them."""
    total = hashlib.sha256()
    for package in ("fuzz", "oracles"):
        spec = importlib.util.find_spec(package)
        folders = [] if spec is None else spec.submodule_search_locations or []
        for path in sorted(path for folder in folders for path in Path(folder).rglob("*.py")):
            total.update(path.read_bytes())
    return total.hexdigest()[:12]


class Station:
    """Draws cases and runs them on a worker process of its own. Called by several threads, one case at a time."""

    def __init__(self) -> None:
        """Nothing that can fail: what goes wrong at the start is to be told, not to end the process."""
        self._plans: dict[int, Plan] = {}
        self._own = ExitStack()
        self._folder: Path | None = None
        self._engine: OneMachine | None = None
        self._closed = threading.Event()

    def start(self, settings: Settings, sample: Sample, command: Sequence[str] | None) -> Machine:
        """Start the worker, again if there was one. `command`: of the worker; None: that of this machine's meshfuzz.

        Raises TargetUnavailable, and OSError if it cannot have a folder.
        """
        if self._engine is not None:
            self._engine.close()
        if command is None:
            prepare(settings.target)
        if self._folder is None:
            self._folder = self._own.enter_context(_folder())
        engine = OneMachine(replace(settings, workers=1), self._folder, sample, command or WORKER, self._note)
        self._engine = engine
        if self._closed.is_set():
            raise PoolClosed("the station was closed")
        engine.__enter__()
        return this_machine(settings.target)

    def close(self) -> None:
        """End the worker, even a busy one, and remove what belongs to it."""
        self._closed.set()
        if self._engine is not None:
            self._engine.close()
        self._own.close()

    def trial(self, key: int, plan: Sequence[Any], number: int) -> Trial:
        """A case of a round. `plan`: a list of one reference, fetched for the first case that comes with the key."""
        if key not in self._plans:
            import ray

            self._plans[key] = ray.get(plan[0])
            for old in sorted(self._plans)[:-PLANS]:
                del self._plans[old]
        try:
            return self._running().trial(self._plans[key], number)
        finally:
            self._running_path(number).unlink(missing_ok=True)

    def run(self, case: Case) -> Outcome:
        return self._running().run(case)

    def explain(self, case: Case) -> Explanation:
        return self._running().explain(case)

    def export(self, case: Case) -> dict[str, Any]:
        return self._running().export(case)

    def localise(self, case: Case) -> Localisation:
        return self._running().localise(case)

    def _running(self) -> OneMachine:
        if self._engine is None:
            raise TargetUnavailable("the station has no worker")
        return self._engine

    def _note(self, number: int, case: Case) -> None:
        """On this machine's disk before it runs: if the machine dies of it, it says so afterwards."""
        self._running_path(number).write_text(json.dumps(to_plain(case), indent=1), encoding="utf-8")

    def _running_path(self, number: int) -> Path:
        if self._folder is None:
            raise TargetUnavailable("the station has no folder")
        return self._folder / "cases" / f"running-{number:07}.yaml"


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder of this process alone; removed at the end, or by the next station here if the process was killed."""
    parent = Path(tempfile.gettempdir()) / f"meshfuzz-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    if parent.lstat().st_uid != os.getuid() or parent.is_symlink():
        raise TargetUnavailable(f"{parent} on {socket.gethostname()} belongs to someone else: set TMPDIR there")
    with ExitStack() as held:
        with locked(parent / "lock"):
            _sweep(parent)
            own = Path(tempfile.mkdtemp(prefix="station-", dir=parent))
            held.enter_context(lock.locked(own))
        (own / "cases").mkdir()
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove what killed stations left, except for the cases that they ran when they died."""
    for folder in parent.glob("station-*"):
        with contextlib.suppress(lock.FolderBusy, OSError), lock.locked(folder):
            if any((folder / "cases").glob("running-*")):
                shutil.rmtree(folder / "tmp", ignore_errors=True)
            else:
                shutil.rmtree(folder, ignore_errors=True)
