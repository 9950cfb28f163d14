# SPDX-License-Identifier: Apache-2.0
"""What all nights found, in one SQLite file that outlives the nights' own folders.

Of each bucket the last finding is kept as a whole, so that it can be replayed and shown when its night is gone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from fuzz.case import MeshfuzzError
from fuzz.report.night import Past, Sightings, Standing, Subject
from fuzz.store import Finding

DATABASE = "history.db"
FORMAT = 1

_SCHEMA = """
CREATE TABLE format (value INTEGER NOT NULL);
CREATE TABLE nights (name TEXT PRIMARY KEY, began TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE buckets (id TEXT PRIMARY KEY, body TEXT NOT NULL, texts TEXT NOT NULL);
CREATE TABLE seen (
    night TEXT NOT NULL,
    bucket TEXT NOT NULL,
    standing TEXT NOT NULL,
    failed INTEGER NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (night, bucket)
);
CREATE TABLE replays (night TEXT NOT NULL, entry TEXT NOT NULL, verdict TEXT NOT NULL, PRIMARY KEY (night, entry));
"""


class HistoryError(MeshfuzzError):
    """The file is not a history, or one of another version."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is known of one bucket before a night."""

    finding: Finding
    texts: Mapping[str, str]  # scripts and issue text, by name
    standing: Standing  # the last one; that it once could not be reduced says nothing against what is known
    nights: Sightings  # on which nights it was what


class History:
    """Reads and writes the file. One process writes, under the lock of the nights' folder."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The history of a folder of nights; an empty one if there is none. Raises HistoryError."""
        path = folder / DATABASE
        database = sqlite3.connect(path, timeout=30)
        try:
            if not database.execute("SELECT name FROM sqlite_master WHERE name = 'format'").fetchone():
                with database:  # all or nothing, however this process ends
                    for statement in _SCHEMA.strip().split(";\n"):
                        database.execute(statement)
                    database.execute("INSERT INTO format VALUES (?)", (FORMAT,))
            (found,) = database.execute("SELECT value FROM format").fetchone()
        except sqlite3.DatabaseError as error:
            database.close()
            raise HistoryError(f"{path} cannot be read ({error}): move it away to begin a new history") from error
        if found != FORMAT:
            database.close()
            raise HistoryError(f"{path} has format {found}, this version reads {FORMAT}: choose another folder")
        return cls(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def buckets(self, before: str) -> dict[str, Bucket]:
        """By id: what the nights before the named one say."""
        began = self._began(before)
        rows = self._database.execute(
            "SELECT bucket, night, standing, failed FROM seen JOIN nights ON name = night"
            " WHERE night != ? AND (? IS NULL OR began < ?) ORDER BY began, night",
            (before, began, began),
        )
        seen: dict[str, list[tuple[str, Standing, bool]]] = {}
        for bucket, night, standing, failed in rows:
            seen.setdefault(bucket, []).append((night, Standing(standing), bool(failed)))
        found = {}
        for name, nights in seen.items():
            body, texts = self._database.execute("SELECT body, texts FROM buckets WHERE id = ?", (name,)).fetchone()
            finding = Finding.from_plain(json.loads(body))
            settled = [standing for _, standing, _ in nights if standing is not Standing.PENDING]
            last = settled[-1] if settled else Standing.PENDING
            found[name] = Bucket(finding, json.loads(texts), last, sightings(nights))
        return found

    def last_verdicts(self, before: str) -> dict[str, str]:
        """Per entry of the corpus: what came of its last replay in a night before the named one."""
        rows = self._database.execute(
            "SELECT entry, verdict FROM replays JOIN nights ON name = night WHERE night != ? ORDER BY began, night",
            (before,),
        )
        return dict(rows)

    def past(self) -> tuple[Past, ...]:
        """All nights, the first one first."""
        rows = self._database.execute("SELECT name, began, body FROM nights ORDER BY began, name").fetchall()
        counts: dict[str, dict[Standing, int]] = {}
        for night, standing, count in self._database.execute(
            "SELECT night, standing, count(*) FROM seen GROUP BY night, standing"
        ):
            counts.setdefault(night, {})[Standing(standing)] = count
        return tuple(replace(_past(name, json.loads(body)), standings=counts.get(name, {})) for name, _, body in rows)

    def _began(self, night: str) -> str | None:
        row = self._database.execute("SELECT began FROM nights WHERE name = ?", (night,)).fetchone()
        return None if row is None else row[0]

    # --- writing ------------------------------------------------------------------------------------------------------

    def record(self, past: Past, subjects: Iterable[Subject], replays: Mapping[str, str], began: str) -> None:
        """Write down a night; what was written of the same night before is replaced."""
        with self._database:
            for table, column in (("nights", "name"), ("seen", "night"), ("replays", "night")):
                self._database.execute(f"DELETE FROM {table} WHERE {column} = ?", (past.name,))
            self._database.execute("INSERT INTO nights VALUES (?, ?, ?)", (past.name, began, json.dumps(_plain(past))))
            for subject in subjects:
                finding = subject.finding
                keep = "IGNORE" if subject.standing is Standing.PENDING else "REPLACE"  # the reduced one, if any
                self._database.execute(
                    f"INSERT OR {keep} INTO buckets VALUES (?, ?, ?)",
                    (finding.id, json.dumps(finding.to_plain()), json.dumps(dict(subject.texts))),
                )
                self._database.execute(
                    "INSERT INTO seen VALUES (?, ?, ?, ?, ?)",
                    (past.name, finding.id, str(subject.standing), subject.failed, subject.detail),
                )
            self._database.executemany(
                "INSERT INTO replays VALUES (?, ?, ?)", [(past.name, *replay) for replay in replays.items()]
            )


def sightings(nights: Iterable[tuple[str, Standing, bool]]) -> Sightings:
    """When a bucket failed first and last, and when it was fixed and came back; nights in order."""
    nights = tuple(nights)
    failed = [night for night, _, fails in nights if fails]
    return Sightings(
        first=failed[0] if failed else "",
        last=failed[-1] if failed else "",
        fixed=tuple(night for night, standing, _ in nights if standing is Standing.FIXED),
        regressed=tuple(night for night, standing, _ in nights if standing is Standing.REGRESSED),
    )


def _plain(past: Past) -> dict[str, Any]:
    return {
        "cases": past.cases,
        "seconds": past.seconds,
        "counts": dict(past.counts),
        "versions": dict(past.versions),
        "environment": past.environment,
    }


def _past(name: str, data: Mapping[str, Any]) -> Past:
    return Past(name, data["cases"], data["seconds"], data["counts"], data["versions"], data["environment"])
