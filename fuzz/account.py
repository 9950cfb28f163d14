# SPDX-License-Identifier: Apache-2.0
"""What a campaign says about itself, while it runs and when it has ended."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fuzz.finding import Finding
from fuzz.store import SKIPPED
from oracles.outcome import Verdict

# Verdicts that say nothing about the target; what was said instead is counted and shown.
EXPLAINED = (Verdict.UNSUPPORTED, Verdict.NOT_JUDGED, Verdict.INVALID, Verdict.ENV)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a campaign stands, for the progress display."""

    elapsed: float  # seconds
    left: float | None  # seconds of the time budget
    counts: Counter[str]  # cases per verdict of the whole campaign
    run: int  # cases run since this process started
    findings: int
    reducing: int  # failures in work now
    proving: int  # findings whose scripts are being run now


class Activities:
    """What the threads of a campaign do, and for how long. May be used by many of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now: Counter[str] = Counter()  # threads that are at it
        self.seconds: defaultdict[str, float] = defaultdict(float)  # of all threads together

    @contextmanager
    def doing(self, activity: str) -> Iterator[None]:
        """Count what is done in the block."""
        with self._lock:
            self.now[activity] += 1
        began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self.now[activity] -= 1
                self.seconds[activity] += time.monotonic() - began


@dataclass(frozen=True, slots=True)
class Summary:
    """What a campaign found, and what it did not look at."""

    ended: str  # why it ended
    unavailable: str  # why the target went away; empty normally
    findings: tuple[Finding, ...]
    new: int  # findings of this run
    fixed: tuple[str, ...]  # regressions of the corpus that pass
    pending: int  # failing cases not investigated
    counts: Counter[str]
    messages: dict[str, list[tuple[str, int]]]  # per verdict of EXPLAINED: what was said, and how often
    run: int  # cases of this run
    elapsed: float  # seconds
    generation: float  # seconds spent drawing cases
    spent: Mapping[str, float]  # share of the time of all threads, by activity; what is missing to 1 was idle

    @property
    def judged(self) -> int:
        """Cases that say anything about the target."""
        return sum(n for verdict, n in self.counts.items() if verdict not in (SKIPPED, Verdict.ENV, Verdict.INVALID))

    def to_plain(self) -> dict[str, Any]:
        return {
            "ended": self.ended,
            "unavailable": self.unavailable,
            "findings": [finding.to_plain() for finding in self.findings],
            "new": self.new,
            "fixed": list(self.fixed),
            "pending": self.pending,
            "counts": dict(self.counts),
            "messages": self.messages,
            "run": self.run,
            "elapsed": round(self.elapsed, 3),
            "generation": round(self.generation, 3),
            "spent": {activity: round(share, 3) for activity, share in self.spent.items()},
        }
