# SPDX-License-Identifier: Apache-2.0
"""The findings of a campaign while it runs: what is known of each, and how they are published beside the rounds."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fuzz.account import Activities
from fuzz.case import Case
from fuzz.case_file import dump
from fuzz.disk import FolderUnwritable, writing
from fuzz.engine import Engine
from fuzz.examination import examined
from fuzz.finding import Finding, Script, State
from fuzz.investigation import Run, merged
from fuzz.localisation import localised
from fuzz.pool import PoolClosed
from fuzz.store import Store, StoreError
from oracles.targets.config import TargetConfig, TargetUnavailable

# What ends a campaign: nothing can run, or nothing can be written down.
FATAL = (PoolClosed, TargetUnavailable, StoreError, FolderUnwritable, OSError)

# Writes a finding's repro scripts into the folder and proves them; the last argument exports a case's module.
Publish = Callable[[Finding, Path, TargetConfig, Callable[[Case], dict[str, Any]]], tuple[Script, ...]]


def fault(directory: Path, what: str, error: Exception) -> Script:
    """In place of scripts: what went wrong, whose details are in the log of the driver."""
    with (directory / "logs" / "driver.log").open("a", encoding="utf-8") as stream:
        stream.write(f"{what}:\n{''.join(traceback.format_exception(error))}\n")
    return Script("none", "", False, f"a fault of meshfuzz, see logs/driver.log: {type(error).__name__}: {error}")


class Findings:
    """What is known now, by key. May be asked by many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known = {finding.key: finding for finding in store.findings()}
        self.new = 0  # since this object was made, regressions of the corpus not counted

    def all(self) -> list[Finding]:
        with self._lock:
            return list(self._known.values())

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Finding:
        return self._known[key]

    def add(self, finding: Finding) -> Finding:
        """Take a finding in. Returns what is known of its bucket then."""
        with self._lock:
            known = self._known.get(finding.key)
            both = finding if known is None else merged(known, finding)
            self._known[finding.key] = both
            self.new += known is None and finding.state is not State.KNOWN
            return both

    def put(self, published: Finding) -> bool:
        """Write down what publishing a finding added to it; False if it is another by now."""
        with self._lock:
            latest = self._known[published.key]
            if latest.reduced != published.reduced:
                return False
            self._known[published.key] = replace(published, witnesses=latest.witnesses, first=latest.first)
            self._store.put_finding(self._known[published.key])
            return True


class Publisher:
    """Examines findings and writes their scripts, each on one thread at a time."""

    def __init__(
        self,
        findings: Findings,
        store: Store,
        target: TargetConfig,
        engine: Engine,
        others: Mapping[str, Run],
        publish: Publish,
        activities: Activities,
        submit: Callable[[Callable[[], None]], Future[None]],
    ) -> None:
        """`others` runs cases on other targets, by name; `submit` does work on another thread."""
        self._findings = findings
        self._store = store
        self._target = target
        self._engine = engine
        self._others = others
        self._write = publish
        self._activities = activities
        self._submit = submit
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[None]] = {}  # by key of the finding

    def publish(self, key: str) -> None:
        """Publish a finding; one that is being published, again if it is another by then."""
        with self._lock:
            if key not in self._under_way:
                self._under_way[key] = self._submit(partial(self._publish_latest, key))

    def wait(self) -> None:
        """Until all are published. Raises what one of them raised, of what ends a campaign."""
        while left := list(self._under_way.values()):
            for future in left:
                future.result()

    def _publish_latest(self, key: str) -> None:
        while True:
            published = self._published(self._findings[key])
            with self._lock:
                if self._findings.put(published):
                    del self._under_way[key]
                    return

    def _published(self, finding: Finding) -> Finding:
        """Write the case of a finding, and if it is reduced find the guilty pass, examine it and write its scripts."""
        if finding.state in (State.NEW, State.KNOWN):
            return finding
        directory = self._store.directory
        with writing(directory):
            (directory / "cases" / f"{finding.id}.yaml").write_text(dump(finding.case), encoding="utf-8")
        if finding.state is not State.REDUCED:
            return finding
        with self._activities.doing("proving"):
            try:
                finding = localised(finding, self._target, self._engine.localise)
                finding = examined(finding, self._target, self._engine.run, self._others)
                scripts = self._write(finding, directory, self._target, self._engine.export)
            except FATAL:
                raise
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end a campaign of a night
                scripts = (fault(directory, f"finding {finding.id}", error),)
        state = State.PROVEN if any(script.proven for script in scripts) else State.REDUCED
        return replace(finding, scripts=scripts, state=state)
