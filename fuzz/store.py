# SPDX-License-Identifier: Apache-2.0
"""The memory of a campaign: one SQLite file and the case files of one folder.

Everything is written as it happens, so that killing the driver loses the cases in flight and nothing else; those are
on disk as `cases/running-*.yaml`.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar

from fuzz.case import Case, CaseError, MeshfuzzError, to_plain
from fuzz.confined import ConfinedError, check_folder, open_database
from fuzz.disk import is_of_disk, unwritable, writing
from fuzz.document import DocumentError, mapping, text
from fuzz.evidence import Feature
from fuzz.finding import Finding, State
from fuzz.plain import parse_json, read
from fuzz.signature import signature
from oracles.outcome import FAILING, Outcome, Verdict

DATABASE = "campaign.db"
FORMAT = 5
SKIPPED = "SKIPPED"  # in place of a verdict: the case was drawn, matched a known bucket's pattern and was not run

_SCHEMA = """
CREATE TABLE campaign (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE cases (
    number INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    verdict TEXT NOT NULL,
    stage TEXT NOT NULL,
    signature TEXT NOT NULL,
    message TEXT NOT NULL,
    seconds REAL NOT NULL,
    patterns TEXT NOT NULL,
    stages TEXT,
    outcome TEXT,
    bucket TEXT,
    absorbed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX cases_by_bucket ON cases (bucket);
CREATE TABLE coverage (
    op TEXT NOT NULL,
    dtype TEXT NOT NULL,
    sharding TEXT NOT NULL,
    boundary INTEGER NOT NULL,
    cases INTEGER NOT NULL,
    failing INTEGER NOT NULL,
    PRIMARY KEY (op, dtype, sharding, boundary)
);
CREATE TABLE rounds (
    number INTEGER PRIMARY KEY,
    plan TEXT NOT NULL
);
CREATE TABLE findings (
    key TEXT PRIMARY KEY,
    first INTEGER NOT NULL,
    body TEXT NOT NULL
);
"""


class StoreError(MeshfuzzError):
    """The folder holds no campaign, or not the one that was asked for."""


@dataclass(frozen=True, slots=True)
class Record:
    """A failing case that belongs to no bucket yet."""

    number: int
    digest: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Row:
    """Everything that is recorded about one case."""

    number: int
    digest: str
    verdict: str  # or SKIPPED
    stage: str
    signature: str
    message: str
    seconds: float
    patterns: str
    stages: str | None
    outcome: str | None
    bucket: str | None
    absorbed: int


class Store:
    """Reads and writes the database. Thread-safe; one process writes (see `fuzz.lock`), any may read."""

    def __init__(self, directory: Path, database: sqlite3.Connection) -> None:
        self.directory = directory
        self._database = database
        self._lock = threading.RLock()

    @classmethod
    def create(cls, directory: Path, settings: dict[str, Any]) -> Self:
        """Start an empty campaign. Raises StoreError if the folder holds one."""
        path = directory / DATABASE
        if directory.exists():
            check_folder(directory)
        if path.exists():
            raise StoreError(f"{directory} holds a campaign: go on with --resume or choose another --dir")
        with writing(directory):
            cls._begin(directory, settings)
        return cls.open(directory)

    @staticmethod
    def _begin(directory: Path, settings: dict[str, Any]) -> None:
        (directory / "cases").mkdir(parents=True, exist_ok=True)
        # Written beside and renamed: a kill in between must not leave a database without its settings.
        unfinished = directory / f"{DATABASE}.new"
        unfinished.unlink(missing_ok=True)
        database = sqlite3.connect(unfinished)
        # Before its name is known, so that no journal of another kind is ever beside it, see `fuzz.confined`.
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(_SCHEMA)
        rows = {"format": FORMAT, "settings": settings}
        database.executemany("INSERT INTO campaign VALUES (?, ?)", [(k, json.dumps(v)) for k, v in rows.items()])
        database.commit()
        database.close()
        unfinished.rename(directory / DATABASE)

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open an existing campaign. Raises StoreError."""
        path = directory / DATABASE
        if not path.is_file():
            raise StoreError(f"{directory} holds no campaign: start one with meshfuzz run")
        check_folder(directory)
        try:
            database = open_database(path, _SCHEMA)
            # WAL with NORMAL: a commit survives the death of the process at any moment; only a power cut can take the
            # last ones back, and costs no fsync per case.
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            store = cls(directory, database)
            found = store._setting("format")
        except ConfinedError as error:
            raise StoreError(str(error)) from error
        except sqlite3.DatabaseError as error:
            if is_of_disk(error):
                raise unwritable(directory, error) from error
            raise StoreError(f"{path} cannot be read ({error}): choose another --dir") from error
        if found != FORMAT:
            raise StoreError(f"{path} has format {found}, this version reads {FORMAT}: choose another --dir")
        return store

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction. Raises FolderUnwritable; then nothing of it was written."""
        with writing(self.directory), self._lock, self._database:
            yield

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def _setting(self, name: str) -> Any:
        rows = self._query("SELECT value FROM campaign WHERE name = ?", (name,))
        with self._reading(name):
            return parse_json(rows[0][0]) if rows else None

    @property
    def settings(self) -> dict[str, Any]:
        """What the campaign was started with."""
        with self._reading("settings"):
            return dict(mapping(self._setting("settings"), "", None))

    @property
    def elapsed(self) -> float:
        """Seconds that the campaign took, all its runs together; one that was killed counts nothing."""
        with self._reading("elapsed"):
            return read(_Elapsed, {"seconds": self._setting("elapsed") or 0.0}).seconds

    def spent(self, seconds: float) -> None:
        """Count the time of a run."""
        with self._writing():
            row = ("elapsed", json.dumps(self.elapsed + seconds))
            self._database.execute("INSERT OR REPLACE INTO campaign VALUES (?, ?)", row)

    # --- cases --------------------------------------------------------------------------------------------------------

    def running(self, number: int, case: Case) -> Path:
        """Put a case on disk before it runs; `record` removes the file."""
        path = self._running_path(number)
        # JSON is YAML too, and takes a fiftieth of the time.
        with writing(self.directory):
            path.write_text(json.dumps(to_plain(case), indent=1), encoding="utf-8")
        return path

    def _running_path(self, number: int) -> Path:
        return self.directory / "cases" / f"running-{number:07}.yaml"

    def record(
        self,
        number: int,
        digest: str,
        outcome: Outcome | None,
        patterns: tuple[str, ...] = (),
        features: Iterable[Feature] = (),
    ) -> None:
        """The result of one case, and what it exercised. Numbers below zero are cases of the corpus.

        `outcome`: None if it has the pattern of a known bucket and was not run. `patterns`: ids of the findings known
        when it was drawn whose pattern it has.
        """
        if outcome is None:
            self._record_skipped(number, digest, patterns)
            return
        kept = outcome.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED, Verdict.INVALID)
        row = (
            number,
            digest,
            str(outcome.verdict),
            outcome.stage,
            "" if outcome.verdict is Verdict.PASS else signature(outcome),
            outcome.message,
            sum(outcome.seconds.values()),
            " ".join(patterns),
            json.dumps(outcome.stages) if outcome.stages else None,
            json.dumps(outcome.to_plain()) if kept else None,
        )
        with self._writing():
            self._database.execute(
                "INSERT INTO cases"
                " (number, digest, verdict, stage, signature, message, seconds, patterns, stages, outcome)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            self._database.executemany(
                "INSERT INTO coverage VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT DO UPDATE"
                " SET cases = cases + 1, failing = failing + excluded.failing",
                [(*feature, outcome.verdict.failing) for feature in features],
            )
        with writing(self.directory):
            self._running_path(number).unlink(missing_ok=True)

    def _record_skipped(self, number: int, digest: str, patterns: tuple[str, ...]) -> None:
        with self._writing():
            self._database.execute(
                "INSERT INTO cases (number, digest, verdict, stage, signature, message, seconds, patterns)"
                " VALUES (?, ?, ?, '', '', '', 0, ?)",
                (number, digest, SKIPPED, " ".join(patterns)),
            )

    def recorded(self) -> set[int]:
        """Indices of all cases that are done."""
        return {number for (number,) in self._query("SELECT number FROM cases")}

    def pending(self, before: int = 1 << 62) -> list[Record]:
        """Failing cases in no bucket with a number below `before`, by number."""
        rows = self._query(
            f"SELECT number, digest, outcome FROM cases"
            f" WHERE bucket IS NULL AND verdict IN ({_FAILING}) AND number < ? ORDER BY number",
            (before,),
        )
        with self._reading("cases"):
            return [
                Record(number, text(digest, ""), Outcome.from_plain(parse_json(body))) for number, digest, body in rows
            ]

    def counts(self) -> Counter[str]:
        """Cases per verdict, skipped ones included."""
        rows = self._rows(_Count, "SELECT verdict, count(*) FROM cases GROUP BY verdict")
        return Counter({row.name: row.count for row in rows})

    def messages(self, verdict: Verdict) -> list[tuple[str, int]]:
        """What cases of a verdict said, most frequent first: (first full message, cases)."""
        rows = self._rows(
            _Count,
            "SELECT min(message), count(*) FROM cases WHERE verdict = ? GROUP BY signature ORDER BY 2 DESC, 1",
            (str(verdict),),
        )
        return [(row.name, row.count) for row in rows]

    def stages(self) -> dict[str, Counter[str]]:
        """Per executed stage, in the order of the compile: right, wrong, or not judged and why -> cases."""
        told: dict[str, Counter[str]] = {}
        for (body,) in self._query("SELECT stages FROM cases WHERE stages IS NOT NULL ORDER BY number"):
            with self._reading("cases"):
                stages = read(_Stages, {"stages": parse_json(body)}).stages
            for stage, said in stages.items():
                told.setdefault(stage, Counter())[said] += 1
        return told

    def coverage(self) -> dict[Feature, tuple[int, int]]:
        """What was exercised -> cases that did, and how many of them failed."""
        rows = self._rows(_Covered, "SELECT * FROM coverage ORDER BY op, dtype, sharding, boundary")
        return {Feature(each.op, each.dtype, each.sharding, each.boundary): (each.cases, each.failing) for each in rows}

    def verdict(self, number: int) -> str:
        """Of one recorded case; empty if it is not."""
        return self._word("SELECT verdict FROM cases WHERE number = ?", number)

    def bucket(self, number: int) -> str:
        """Key of the finding that one recorded case is counted in; empty if it is in none."""
        return self._word("SELECT coalesce(bucket, '') FROM cases WHERE number = ?", number)

    def tried(self, first: int, end: int) -> Counter[tuple[str, bool]]:
        """Of the cases from `first` to before `end` that ran: how many had the pattern of a finding, by its id and
        whether they failed."""
        rows = self._rows(
            _Tried,
            "SELECT patterns, verdict FROM cases WHERE patterns != '' AND verdict != ? AND number >= ? AND number < ?",
            (SKIPPED, first, end),
        )
        return Counter((name, row.verdict.failing) for row in rows for name in row.patterns.split())

    # --- whole campaigns ----------------------------------------------------------------------------------------------

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """What is read inside belongs together, whoever writes meanwhile."""
        with self._lock:
            self._database.execute("BEGIN")
            try:
                yield
            finally:
                self._database.rollback()

    def rows(self) -> list[Row]:
        """All cases, by number. Raises StoreError if one has a verdict or a bucket that does not exist."""
        rows = self._rows(Row, "SELECT * FROM cases ORDER BY number")
        keys = {key for (key,) in self._query("SELECT key FROM findings")}
        for row in rows:
            if row.verdict not in (SKIPPED, *Verdict) or (row.bucket is not None and row.bucket not in keys):
                raise StoreError(f"{self.directory / DATABASE}: case {row.number}: not written by this version")
        return rows

    def setting(self, name: str) -> Any:
        """Plain data stored under a name, None if there is none; whoever asks checks what it is."""
        return self._setting(name)

    def take_over(
        self,
        rows: Iterable[Row],
        findings: Iterable[Finding],
        coverage: Mapping[Feature, tuple[int, int]],
        settings: Mapping[str, Any],
    ) -> None:
        """Fill an empty campaign with what others recorded."""
        with self._writing():
            self._database.executemany(f"INSERT INTO cases VALUES ({', '.join('?' * 12)})", map(astuple, rows))
            for finding in findings:
                self._put(finding)
            self._database.executemany(
                "INSERT INTO coverage VALUES (?, ?, ?, ?, ?, ?)",
                [(*feature, *counted) for feature, counted in coverage.items()],
            )
            self._database.executemany(
                "INSERT INTO campaign VALUES (?, ?)", [(name, json.dumps(value)) for name, value in settings.items()]
            )

    # --- rounds -------------------------------------------------------------------------------------------------------

    def rounds(self) -> dict[int, dict[str, Any]]:
        """The rounds that are planned and not settled, with their plans."""
        with self._reading("rounds"):
            rows = self._query("SELECT * FROM rounds ORDER BY number")
            return {number: dict(mapping(parse_json(plan), "", None)) for number, plan in rows}

    def settle(
        self,
        joined: Iterable[tuple[int, str]],
        findings: Iterable[tuple[int, Finding]],
        settled: int | None = None,
        plans: Mapping[int, dict[str, Any]] = MappingProxyType({}),
    ) -> None:
        """What became of failures: cases that joined a finding, new findings or ones that changed with the case that
        counts in them. After a kill all of it is there, or nothing.

        `settled`: the round that is done with it. `plans`: of the rounds that can begin now.
        """
        with self._writing():
            for number, finding in findings:
                self._put(finding)
                self._database.execute("UPDATE cases SET bucket = ? WHERE number = ?", (finding.key, number))
            self._database.executemany(
                "UPDATE cases SET bucket = ?, absorbed = 1 WHERE number = ?", [(key, number) for number, key in joined]
            )
            self._database.execute("DELETE FROM rounds WHERE number = ?", (settled,))
            rows = [(number, json.dumps(plan)) for number, plan in plans.items()]
            self._database.executemany("INSERT INTO rounds VALUES (?, ?)", rows)

    # --- findings -----------------------------------------------------------------------------------------------------

    def put_finding(self, finding: Finding) -> None:
        """Write a finding, new or known."""
        with self._writing():
            self._put(finding)

    def _put(self, finding: Finding) -> None:
        values = (finding.key, finding.first, json.dumps(finding.to_plain()))
        self._database.execute("INSERT OR REPLACE INTO findings VALUES (?, ?, ?)", values)

    def reopen(self) -> None:
        """Take back the findings that were not reduced; their cases wait for investigation again."""
        unreduced = [(finding.key,) for finding in self.findings() if finding.state is State.NEW]
        with self._writing():
            self._database.executemany("UPDATE cases SET bucket = NULL, absorbed = 0 WHERE bucket = ?", unreduced)
            self._database.executemany("DELETE FROM findings WHERE key = ?", unreduced)

    def findings(self) -> list[Finding]:
        """All buckets, by the index of their first case."""
        rows = self._query(
            "SELECT body, (SELECT count(*) FROM cases WHERE bucket = key) FROM findings ORDER BY first, key"
        )
        with self._reading("findings"):
            return [replace(Finding.from_plain(parse_json(body)), count=count) for body, count in rows]

    def finding(self, name: str) -> Finding:
        """The finding whose id starts with `name`. Raises StoreError."""
        found = [finding for finding in self.findings() if finding.id.startswith(name)]
        if len(found) != 1:
            problem = "no finding" if not found else "more than one finding"
            raise StoreError(f"{problem} {name!r} in {self.directory}: meshfuzz show lists them")
        return found[0]

    def _query(self, statement: str, values: tuple[object, ...] = ()) -> list[Any]:
        try:
            with self._lock:
                return self._database.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.directory / DATABASE} cannot be read ({error}): choose another --dir") from error

    def _rows(self, kind: type[Columns], statement: str, values: tuple[object, ...] = ()) -> list[Columns]:
        """Rows with a column per field of a class, checked: SQLite stores any type in any column."""
        names = [field.name for field in fields(kind)]
        with self._reading("cases"):
            return [read(kind, dict(zip(names, row, strict=True))) for row in self._query(statement, values)]

    def _word(self, statement: str, number: int) -> str:
        """The only text that a statement finds; empty if there is none."""
        rows = self._query(statement, (number,))
        with self._reading("cases"):
            return text(rows[0][0], "") if rows else ""

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Says where it stands if what the database holds is not what we write."""
        try:
            yield
        except (DocumentError, CaseError) as error:
            where = f" {error.place}" if error.place and isinstance(error, DocumentError) else ""
            raise StoreError(
                f"{self.directory / DATABASE}: {what}{where}: {error}: not written by this version"
            ) from error


Columns = TypeVar("Columns", "_Count", "_Covered", "_Tried", Row)


@dataclass(frozen=True, slots=True)
class _Count:
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class _Covered:
    op: str
    dtype: str
    sharding: str
    boundary: int
    cases: int
    failing: int


@dataclass(frozen=True, slots=True)
class _Tried:
    patterns: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Stages:
    stages: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Elapsed:
    seconds: float


_FAILING = ", ".join(f"'{verdict}'" for verdict in sorted(FAILING))
