# SPDX-License-Identifier: Apache-2.0
"""What cases did on plugins, kept, so that an interrupted matrix goes on where it was.

A result is of one plugin file, one case, one setting, and one state of the code that judges: another of any of these
is another result.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import fuzz
import oracles
from fuzz.case import Case
from fuzz.confined import restrict
from fuzz.document import DocumentError
from fuzz.grid import Cell
from fuzz.plain import parse_json
from fuzz.replay import Runner
from oracles.outcome import Verdict
from oracles.targets.config import TargetUnavailable
from oracles.targets.environment import TT_PLUGINS, file_digest, versions

# A busy machine may be to blame for these.
_FLEETING = frozenset({Verdict.ENV, Verdict.HANG})
_PLUGINS = frozenset(distribution for _, _, distribution in TT_PLUGINS)
# What of this package decides what a case does and what its failure is called; of `oracles` everything does.
_JUDGING = frozenset(
    {
        "case.py",
        "document.py",
        "investigation.py",
        "mechanism.py",
        "neighbours.py",
        "ops",
        "payloads.py",
        "pool.py",
        "reduce",
        "replay.py",
        "signature.py",
        "worker.py",
    }
)


@dataclass(frozen=True, slots=True)
class Setting:
    """All but the case that a result depends on."""

    plugin: str  # digest of the plugin's file
    judge: str  # digest of the target, the installed packages and the code that judges

    @classmethod
    def of(cls, runner: Runner, pin: str = "") -> Self:
        """`pin`: what was installed beside the plugin. Raises OSError if the plugin cannot be read."""
        plugin = runner.config.plugin
        parts = {
            "config": replace(runner.config, plugin=None).to_plain(),
            "packages": {name: version for name, version in versions().items() if name not in _PLUGINS},
            "pin": pin,
            "code": _code_digest(),
        }
        text = json.dumps(parts, sort_keys=True)
        digest = file_digest(Path(plugin)) if plugin is not None else ""
        return cls(digest, hashlib.sha256(text.encode()).hexdigest()[:16])


def _code_digest() -> str:
    digest = hashlib.sha256()
    for package in (fuzz, oracles):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            if package is oracles or path.relative_to(root).parts[0] in _JUDGING:
                digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


class Results:
    """One SQLite file. Thread-safe, and several processes may write."""

    def __init__(self, path: Path) -> None:
        """Raises TargetUnavailable if the file cannot be written."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, check_same_thread=False, timeout=30)
            restrict(self._database)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS results"
                " (plugin TEXT, judge TEXT, digest TEXT, body TEXT NOT NULL, PRIMARY KEY (plugin, judge, digest))"
            )
        except (OSError, sqlite3.Error) as error:
            raise TargetUnavailable(
                f"cannot keep results in {path}: {error}; remove it, make it writable or set XDG_CACHE_HOME"
            ) from error
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def get(self, setting: Setting, case: Case) -> Cell | None:
        with self._lock:
            row = self._database.execute(
                "SELECT body FROM results WHERE plugin = ? AND judge = ? AND digest = ?",
                (setting.plugin, setting.judge, case.digest),
            ).fetchone()
        try:
            return None if row is None else Cell.from_plain(parse_json(row[0]))
        except DocumentError as error:
            raise TargetUnavailable(f"{self._path}: {error}; remove it") from error

    def any(self, setting: Setting) -> bool:
        """Whether any case has run so."""
        with self._lock:
            row = self._database.execute(
                "SELECT 1 FROM results WHERE plugin = ? AND judge = ? LIMIT 1", (setting.plugin, setting.judge)
            ).fetchone()
        return row is not None

    def put(self, setting: Setting, case: Case, cell: Cell) -> None:
        """Keep a result, unless it may be due to a busy machine."""
        if cell.verdict in _FLEETING:
            return
        body = json.dumps(cell.to_plain())
        with self._lock, self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)",
                (setting.plugin, setting.judge, case.digest, body),
            )
