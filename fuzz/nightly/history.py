# SPDX-License-Identifier: Apache-2.0
"""What all nights found, in one SQLite file that outlives the nights' own folders.

Of each bucket the last finding is kept as a whole, so that it can be replayed and shown when its night is gone.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from fuzz.case import CaseError, MeshfuzzError
from fuzz.confined import ConfinedError, open_database
from fuzz.document import DocumentError, shown, text
from fuzz.finding import Finding
from fuzz.plain import parse_json, read
from fuzz.report.night import Past, Sightings, Standing, Subject

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


def _create(path: Path) -> None:
    """An empty history, all or nothing, however this process ends."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    database = sqlite3.connect(unfinished)
    database.execute("PRAGMA journal_mode = WAL")  # see `fuzz.confined`
    database.executescript(_SCHEMA)
    database.execute("INSERT INTO format VALUES (?)", (FORMAT,))
    database.commit()
    database.close()
    unfinished.rename(path)


class History:
    """Reads and writes the file. One process writes, under the lock of the nights' folder."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The history of a folder of nights; an empty one if there is none. Raises HistoryError."""
        path = folder / DATABASE
        try:
            if not path.exists():
                _create(path)
            database = open_database(path, _SCHEMA)
            database.execute("PRAGMA journal_mode = WAL")  # of a history that an older version began
            (found,) = database.execute("SELECT value FROM format").fetchone() or (None,)
        except ConfinedError as error:
            raise HistoryError(str(error)) from error
        except sqlite3.DatabaseError as error:
            raise HistoryError(f"{path} cannot be read ({error}): move it away to begin a new history") from error
        if found != FORMAT:
            database.close()
            raise HistoryError(f"{path} has format {shown(found)}, this version reads {FORMAT}: choose another folder")
        return cls(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def buckets(self, before: str) -> dict[str, Bucket]:
        """By id: what the nights before the named one say."""
        with _reading():
            return self._buckets(before)

    def _buckets(self, before: str) -> dict[str, Bucket]:
        began = self._began(before)
        rows = self._database.execute(
            "SELECT bucket, night, standing, failed FROM seen JOIN nights ON name = night"
            " WHERE night != ? AND (? IS NULL OR began < ?) ORDER BY began, night",
            (before, began, began),
        )
        seen: dict[str, list[tuple[str, Standing, bool]]] = {}
        for row in rows:
            each = read(_Seen, dict(zip(("bucket", "night", "standing", "failed"), row, strict=True)))
            seen.setdefault(each.bucket, []).append((each.night, each.standing, bool(each.failed)))
        found = {}
        for name, nights in seen.items():
            row = self._database.execute("SELECT body, texts FROM buckets WHERE id = ?", (name,)).fetchone()
            if row is None:
                raise DocumentError(f"nothing is known of bucket {shown(name)}")
            body, texts = row
            finding = Finding.from_plain(parse_json(body))
            settled = [standing for _, standing, _ in nights if standing is not Standing.PENDING]
            last = settled[-1] if settled else Standing.PENDING
            if finding.id != name:
                raise DocumentError(f"bucket {shown(name)} is not the one that its finding has")
            told = read(_Texts, {"texts": parse_json(texts)}).texts
            found[name] = Bucket(finding, told, last, sightings(nights))
        return found

    def last_verdicts(self, before: str) -> dict[str, str]:
        """Per entry of the corpus: what came of its last replay in a night before the named one."""
        rows = self._database.execute(
            "SELECT entry, verdict FROM replays JOIN nights ON name = night WHERE night != ? ORDER BY began, night",
            (before,),
        )
        with _reading():
            return {text(entry, ""): text(verdict, "") for entry, verdict in rows}

    def past(self) -> tuple[Past, ...]:
        """All nights, the first one first."""
        with _reading():
            return self._past()

    def _past(self) -> tuple[Past, ...]:
        rows = self._database.execute("SELECT name, began, body FROM nights ORDER BY began, name").fetchall()
        counts: dict[str, dict[Standing, int]] = {}
        for night, standing, count in self._database.execute(
            "SELECT night, standing, count(*) FROM seen GROUP BY night, standing"
        ):
            standing = read(_Seen, {"bucket": "", "night": night, "standing": standing, "failed": 0}).standing
            counts.setdefault(night, {})[standing] = count
        return tuple(replace(_past(name, parse_json(body)), standings=counts.get(name, {})) for name, _, body in rows)

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


def _past(name: object, data: object) -> Past:
    told = read(_PlainPast, data)
    if not math.isfinite(told.seconds):
        raise DocumentError("expected a finite number", "seconds")
    return Past(text(name, ""), told.cases, told.seconds, told.counts, told.versions, told.environment)


@dataclass(frozen=True, slots=True)
class _PlainPast:
    cases: int
    seconds: float
    counts: dict[str, int]
    versions: dict[str, str]
    environment: str


@dataclass(frozen=True, slots=True)
class _Texts:
    texts: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Seen:
    bucket: str
    night: str
    standing: Standing
    failed: int


@contextmanager
def _reading() -> Iterator[None]:
    """What is read may be written by anyone."""
    try:
        yield
    except (DocumentError, CaseError, sqlite3.DatabaseError) as error:
        raise HistoryError(f"{DATABASE}: {error}: move it away to begin a new history") from error
