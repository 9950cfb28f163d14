# SPDX-License-Identifier: Apache-2.0
"""The campaign of `fake_campaign` as a program that SIGKILLs itself on the way, and what must be true after it.

python killed_campaign.py DIR SEED CASES PHASE COUNT [resume]

PHASE is one of PHASES; the driver dies when it comes there for the COUNT-th time. With PHASE `never` it does not.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_campaign

from fuzz.processes import marked
from fuzz.store import Store

SEED, CASES = 7, 96
# When the driver dies: before or after a step of its own, or in the middle of a transaction.
PHASES = (
    "drawing",
    "before a case runs",
    "while a case runs",
    "before a result is written",
    "in a transaction",
    "after a result is written",
    "reducing",
    "before a round is settled",
    "after a round is settled",
    "publishing",
    "before a finding is written",
)
GONE = 5.0  # seconds for workers to end after their driver


class _Death:
    def __init__(self, phase: str, count: int) -> None:
        self._phase, self._left = phase, count

    def at(self, phase: str) -> None:
        if phase == self._phase:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, before: str, work: Callable[..., Any], after: str = "") -> Callable[..., Any]:
        def mortal(*given: Any, **named: Any) -> Any:
            self.at(before)
            result = work(*given, **named)
            self.at(after)
            return result

        return mortal


class _Database:
    """A connection whose transactions can be cut off before they are committed."""

    def __init__(self, database: sqlite3.Connection, death: _Death) -> None:
        self._database, self._death = database, death

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def __enter__(self) -> Any:
        return self._database.__enter__()

    def __exit__(self, *error: Any) -> Any:
        self._death.at("in a transaction")
        return self._database.__exit__(*error)


def main(arguments: Sequence[str]) -> None:
    folder, seed, cases, phase, count, *rest = arguments
    death = _Death(phase, int(count))
    begun = Store.__init__

    def begin(store: Store, directory: Path, database: sqlite3.Connection) -> None:
        begun(store, directory, _Database(database, death))  # type: ignore[arg-type]  # stands in for a connection

    Store.__init__ = begin  # type: ignore[method-assign]  # the point of this program
    patched: dict[str, tuple[str, str]] = {
        "running": ("before a case runs", "while a case runs"),
        "record": ("before a result is written", "after a result is written"),
        "settle": ("before a round is settled", "after a round is settled"),
        "put_finding": ("before a finding is written", ""),
    }
    for name, (before, after) in patched.items():
        setattr(Store, name, death.around(before, getattr(Store, name), after))
    tools = replace(
        fake_campaign.TOOLS,
        sample=death.around("drawing", fake_campaign.sample),
        reduce=death.around("reducing", fake_campaign.reduce),
        publish=death.around("publishing", fake_campaign.publish),
    )
    fake_campaign.campaign(Path(folder), int(seed), int(cases), resume=rest == ["resume"], tools=tools)


# --- the other side: kill, look, resume -------------------------------------------------------------------------------


def start(folder: Path, phase: str, count: int = 1) -> subprocess.Popen[bytes]:
    """Start the campaign, or go on with it."""
    command = [sys.executable, __file__, str(folder), str(SEED), str(CASES), phase, str(count)]
    resume = ["resume"] if (folder / "campaign.db").exists() else []
    return subprocess.Popen([*command, *resume], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def complaints_after_kill(folder: Path) -> list[str]:
    """What is not as it must be a moment after a driver was killed."""
    until = time.monotonic() + GONE
    while (left := marked(folder.resolve())) and time.monotonic() < until:
        time.sleep(0.02)
    found = [f"worker process {pid} lives without its driver" for pid in left]
    path = folder / "campaign.db"
    if not path.exists():
        return found
    # A copy: looking must not tidy up what the next run has to cope with.
    copy = folder.with_name(f"{folder.name}.copy")
    copy.mkdir(exist_ok=True)
    for part in folder.glob("campaign.db*"):
        shutil.copy(part, copy / part.name)
    with sqlite3.connect(copy / "campaign.db") as database:
        (said,) = database.execute("PRAGMA integrity_check").fetchone()
        if said != "ok":
            found.append(f"the database says {said}")
        twice = database.execute("SELECT number FROM cases GROUP BY number HAVING count(*) > 1").fetchall()
        found += [f"case {number} is recorded twice" for (number,) in twice]
        buckets = (
            "SELECT DISTINCT bucket FROM cases WHERE bucket IS NOT NULL AND bucket NOT IN (SELECT key FROM findings)"
        )
        found += [f"a case is counted in finding {key!r}, which is not there" for (key,) in database.execute(buckets)]
    database.close()
    shutil.rmtree(copy)
    return found


def recorded(folder: Path) -> set[int]:
    """Numbers of the cases that are written down."""
    if not (folder / "campaign.db").exists():
        return set()
    with Store.open(folder) as store:
        return store.recorded()


def result(folder: Path) -> object:
    """Everything that a campaign found, but for times and the addresses in logs."""
    with Store.open(folder) as store:
        bare = [replace(one, outcome=replace(one.outcome, seconds={}, log="")) for one in store.findings()]
        rows = store._query("SELECT number, digest, verdict, stage, signature, bucket FROM cases ORDER BY number")
        return rows, [finding.to_plain() for finding in bare], store.coverage()


def complaints_at_end(folder: Path, whole: Path) -> list[str]:
    """What is not as it must be when a campaign that was killed has come to its end."""
    found = [] if result(folder) == result(whole) else ["the result is not that of a campaign that nobody killed"]
    found += [f"{path} was left" for path in (*folder.glob("cases/running-*"), *folder.glob("tmp")) if path.exists()]
    return found + [f"process {pid} of a worker lives" for pid in marked(folder.resolve())]


if __name__ == "__main__":
    main(sys.argv[1:])
