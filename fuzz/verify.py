# SPDX-License-Identifier: Apache-2.0
"""Is it fixed? Findings and regressions again, each run in a fresh process.

Three passes of the minimal case make a fix, and a pass of every case near it that failed too: fixes get narrowed, and
what was narrowed away shows in a neighbour. What cannot run here is neither fixed nor failing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from fuzz.case import Case, to_plain
from fuzz.corpus import Entry
from fuzz.evidence import Neighbour
from fuzz.finding import Finding, State
from fuzz.replay import Replay, Runner, replaying
from fuzz.signature import signature
from fuzz.triage import bucket_id
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig

PASSES = 3
# A failure that comes in one run of four is missed by three runs in two of five verifications, by ten in one of
# eighteen.
FLAKY_PASSES = 10
NOT_RUN = frozenset({Verdict.ENV, Verdict.INVALID, Verdict.NOT_JUDGED})

RunCase = Callable[[Case], Replay]


class Status(StrEnum):
    """What became of a failure."""

    FIXED = "FIXED"
    PARTLY_FIXED = "PARTLY FIXED"  # the minimal case passes, a neighbour does not
    STILL_FAILING = "STILL FAILING"
    CHANGED = "CHANGED"  # fails differently, or is refused now
    FLAKY = "FLAKY"
    NOT_RUN = "NOT RUN"


@dataclass(frozen=True, slots=True)
class Subject:
    """A failure to verify: a finding, a regression, or both in one."""

    key: str  # of the bucket
    case: Case
    neighbours: tuple[Neighbour, ...] = ()
    sources: tuple[str, ...] = ()  # finding, regression
    flaky: bool = False  # it was seen to pass and to fail
    injected: str = ""  # the fault that was planted when it failed
    found_on: str = ""  # kind of target, if it is known: a pass on another says nothing

    @property
    def id(self) -> str:
        return bucket_id(self.key)

    def to_plain(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "key": self.key,
            "case": to_plain(self.case),
            "neighbours": [neighbour.to_plain() for neighbour in self.neighbours],
            "sources": list(self.sources),
            "flaky": self.flaky,
            "injected": self.injected,
            "found_on": self.found_on,
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of one failure, and what that rests on."""

    subject: Subject
    status: Status
    detail: str  # how it fails now, which neighbour fails, or why nothing was learned
    runs: tuple[Replay, ...] = ()  # of the minimal case
    neighbours: int = 0  # that passed
    broken: bool = False  # NOT RUN because our side failed: to be repaired and repeated
    seconds: float = field(default=0.0, compare=False)

    def to_plain(self) -> dict[str, Any]:
        return {
            "id": self.subject.id,
            "was": self.subject.key,
            "status": str(self.status),
            "detail": self.detail,
            "sources": list(self.subject.sources),
            "runs": [run.to_plain() for run in self.runs],
            "neighbours": {"passed": self.neighbours, "of": len(self.subject.neighbours)},
            "broken": self.broken,
            "seconds": round(self.seconds, 3),
        }


# --- what there is to verify ------------------------------------------------------------------------------------------


def subjects(findings: Iterable[Finding], regressions: Iterable[Entry], found_on: str = "") -> list[Subject]:
    """Every failure once, those of the campaign first. Of a bucket that is in both, the regression speaks.

    `found_on`: the kind of target that the campaign tested.
    """
    known: dict[str, Subject] = {}
    for found in findings:
        case, outcome = found.case, found.outcome
        flaky = found.state is State.FLAKY
        known[found.id] = Subject(found.key, case, found.neighbours, ("finding",), flaky, outcome.injected, found_on)
    for entry in regressions:
        if key := entry.about.bucket:
            subject = Subject(key, entry.case, entry.about.neighbours, ("regression",))
            known[subject.id] = _joined(subject, known[subject.id]) if subject.id in known else subject
    return list(known.values())


def _joined(regression: Subject, finding: Subject) -> Subject:
    """One subject of two: the finding's case becomes a neighbour if it is another."""
    near = (*regression.neighbours, Neighbour("as the campaign reduced it", finding.case), *finding.neighbours)
    distinct: dict[str, Neighbour] = {}
    for neighbour in near:
        distinct.setdefault(neighbour.case.digest, neighbour)
    distinct.pop(regression.case.digest, None)
    neighbours = tuple(distinct.values())
    return replace(finding, case=regression.case, neighbours=neighbours, sources=(*finding.sources, "regression"))


# --- running ----------------------------------------------------------------------------------------------------------


def verify(wanted: Sequence[Subject], runner: Runner, workers: int) -> Iterator[Verification]:
    """What became of each, as soon as it is known; so many at once, each of their runs in a process of its own."""
    ended = threading.Event()
    with replaying(runner, workers) as replay:

        def run(case: Case) -> Replay:
            if ended.is_set():
                raise _Ended
            return replay(case)

        threads = ThreadPoolExecutor(workers, thread_name_prefix="verify")
        try:
            for done in as_completed([threads.submit(examine, subject, runner.config, run) for subject in wanted]):
                yield done.result()
        finally:
            # What is left is not begun; a run under way ends by itself, at its deadline at the latest.
            ended.set()
            threads.shutdown(cancel_futures=True)


class _Ended(Exception):
    """Nobody waits for the answer any more."""


def examine(subject: Subject, config: TargetConfig, run: RunCase) -> Verification:
    """What became of one failure."""
    began = time.monotonic()
    examination = _Examination(subject, config, run)
    status, detail = examination.status()
    seconds = time.monotonic() - began
    return Verification(
        subject, status, detail, tuple(examination.runs), examination.passed, examination.broken, seconds
    )


class _Examination:
    """The runs of one subject so far, and what they tell."""

    def __init__(self, subject: Subject, config: TargetConfig, run: RunCase) -> None:
        self._subject = subject
        self._config = config
        self._run = run
        self.runs: list[Replay] = []
        self.passed = 0  # neighbours
        self.broken = False

    def status(self) -> tuple[Status, str]:
        subject = self._subject
        if subject.injected:
            return Status.NOT_RUN, f"fails because of a planted fault, {subject.injected}: no compiler has it"
        if subject.found_on not in ("", self._config.kind):
            return Status.NOT_RUN, f"was found on another target: give --target {subject.found_on}"
        if reason := too_large(subject.case, self._config):
            return Status.NOT_RUN, reason
        told = self._minimal_case()
        return self._neighbours() if told is None else told

    def _minimal_case(self) -> tuple[Status, str] | None:
        """None if it passes as often as it has to."""
        wanted = FLAKY_PASSES if self._subject.flaky else PASSES
        while len(self.runs) < wanted:
            self.runs.append(self._observed(self._subject.case))
            first, last = self.runs[0], self.runs[-1]
            if last.outcome.verdict in NOT_RUN:
                return Status.NOT_RUN, said(last)
            if _kind(first) != _kind(last):
                return Status.FLAKY, f"{said(first)}; in run {len(self.runs)} {said(last)}"
            if self._as_before(last):
                return Status.STILL_FAILING, said(last)
            if not last.passed and len(self.runs) == 2:
                return Status.CHANGED, said(last)
        return None

    def _observed(self, case: Case) -> Replay:
        seen = self._run(case)
        self.broken |= seen.outcome.verdict is Verdict.ENV
        return seen

    def _as_before(self, run: Replay) -> bool:
        """Whether a run fails as the finding did. One that is flaky names no mechanism, so that any failure is it."""
        if not run.outcome.verdict.failing:
            return False
        return self._subject.flaky or self._subject.key in (run.bucket, signature(run.outcome))

    def _neighbours(self) -> tuple[Status, str]:
        unknown = ""
        for neighbour in self._subject.neighbours:
            reason = too_large(neighbour.case, self._config)
            if not reason:
                now = self._observed(neighbour.case)
                if now.passed:
                    self.passed += 1
                    continue
                if now.outcome.verdict not in NOT_RUN:
                    return Status.PARTLY_FIXED, f"passes, but not its neighbour ({neighbour.why}): {said(now)}"
                reason = said(now)
            unknown = unknown or f"passes, but a neighbour was not run ({neighbour.why}): {reason}"
        if unknown:
            return Status.NOT_RUN, unknown
        near = f" and {self.passed} of its neighbours" if self.passed else ""
        return Status.FIXED, f"{len(self.runs)} passes{near}"


def too_large(case: Case, config: TargetConfig) -> str:
    """Why the target has no mesh for the case; empty if it has."""
    if config.serves(case.mesh):
        return ""
    return f"needs mesh {case.mesh}, which does not fit {config.topology}: give another --mock"


def said(run: Replay) -> str:
    """What a run did, in one line."""
    outcome = run.outcome
    if run.bucket:
        return run.bucket
    message = " ".join(outcome.message.split())
    return f"{outcome.verdict} {message}".rstrip()


def _kind(run: Replay) -> str:
    """What two runs have in common that did the same."""
    return run.bucket or str(run.outcome.verdict)
