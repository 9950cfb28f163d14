# SPDX-License-Identifier: Apache-2.0
"""A fuzzing campaign: rounds of cases on a worker pool, and the findings they lead to.

A round draws a fixed number of cases, runs them in parallel, and then investigates its failures in the order of their
indices. Decisions about round n use only what rounds before n recorded, and failures of different signatures cannot
influence each other; so the same seed gives the same cases and the same buckets whatever the timing, and a campaign
that was killed goes on as if it had not been.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fuzz.account import EXPLAINED, Snapshot, Summary
from fuzz.case import Case, CaseError, dump
from fuzz.corpus import Entry
from fuzz.coverage import features
from fuzz.elsewhere import Elsewhere, other_targets
from fuzz.examination import examined
from fuzz.investigation import Reduce, Run, Start, investigate, merged, starting_point, unreduced
from fuzz.known import as_known, known_findings, numbered
from fuzz.localisation import localised
from fuzz.pool import Pool
from fuzz.settings import Budget, Settings
from fuzz.store import SKIPPED, Finding, Record, Script, State, Store, StoreError, locked
from fuzz.strategies.space import Space
from fuzz.triage import matches
from fuzz.worker_process import WORKER
from oracles.outcome import MISMATCHING, Outcome, Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable

ROUND = 32  # cases: enough to keep workers busy, few enough that known buckets are avoided soon
# A pattern whose cases mostly pass is too broad to be avoided; it takes this many of them to tell.
EVIDENCE = 4
# Reductions of one error message: each adds a pattern to avoid.
WITNESSES = 5


# Writes a finding's repro scripts into the folder and proves them; the last argument exports a case's module.
Publish = Callable[[Finding, Path, TargetConfig, Callable[[Case], dict[str, Any]]], tuple[Script, ...]]


@dataclass(frozen=True, slots=True)
class Tools:
    """What a campaign calls below it."""

    sample: Callable[[Space, int, int], Case]
    reduce: Reduce
    publish: Publish
    command: Sequence[str] = WORKER


Display = Callable[[Callable[[], Snapshot]], Any]  # a context manager that shows snapshots while it is open


def run_campaign(
    directory: Path,
    settings: Settings,
    budget: Budget,
    tools: Tools,
    *,
    corpus: Sequence[Entry] = (),
    resume: bool = False,
    display: Display | None = None,
) -> Summary:
    """Run until the budget is spent or Ctrl-C. With `resume`, the folder's campaign goes on with these settings.

    The corpus runs first: what fails in it as it is known to is no news, and is not investigated.

    Raises FolderBusy, StoreError, and TargetUnavailable if no worker ever starts.
    """
    with locked(directory):
        shutil.rmtree(directory / "tmp", ignore_errors=True)  # of a driver that was killed; ours alone under the lock
        plain = {"settings": settings.to_plain(), "budget": budget.to_plain()}
        store = Store.open(directory) if resume else Store.create(directory, plain)
        with store, ThreadPoolExecutor(settings.workers, "case") as executor:
            pool = Pool(
                settings.target,
                directory,
                workers=settings.workers,
                deadline=settings.deadline,
                memory_limit=settings.memory_limit,
                command=tools.command,
            )
            elsewhere = Elsewhere(
                other_targets(settings.target), directory / "elsewhere", open_pool=_opener(settings, tools)
            )
            campaign = Campaign(settings, budget, store, pool, elsewhere.runs, executor, tools, corpus)
            unavailable = ""
            try:
                with pool, elsewhere, (display or _no_display)(campaign.snapshot):
                    ended = campaign.run()
            except KeyboardInterrupt:
                ended = "interrupted"
            except TargetUnavailable as error:
                if not store.recorded():
                    raise
                ended, unavailable = "the target went away", str(error)
            finally:
                executor.shutdown(wait=False, cancel_futures=True)
        with Store.open(directory) as store:
            summary = campaign.summary(store, ended, unavailable)
            store.spent(summary.elapsed)
            return summary


def _opener(settings: Settings, tools: Tools) -> Callable[[TargetConfig, Path], Pool]:
    """How another target is started: for a control now and then."""
    return lambda config, folder: Pool(
        config, folder, workers=1, deadline=settings.deadline, memory_limit=settings.memory_limit, command=tools.command
    )


@contextmanager
def _no_display(_: Callable[[], Snapshot]) -> Iterator[None]:
    yield


class Campaign:
    """The state of one run: what is known, and how much of the budget is spent."""

    def __init__(
        self,
        settings: Settings,
        budget: Budget,
        store: Store,
        pool: Pool,
        others: Mapping[str, Run],
        executor: ThreadPoolExecutor,
        tools: Tools,
        corpus: Sequence[Entry],
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._store = store
        self._pool = pool
        self._others = others
        self._executor = executor
        self._tools = tools
        self._corpus = numbered(corpus, settings.target)
        self._began = time.monotonic()
        self._lock = threading.Lock()
        store.reopen()
        self._counts = store.counts()
        self._findings = {finding.key: finding for finding in store.findings()}
        self._run = 0
        self._new = 0
        self._active: Counter[str] = Counter()  # work in hand, by what it is
        self._generation = 0.0

    def run(self) -> str:
        """Rounds until the budget is spent. Returns why it ended."""
        # The first start on a machine builds kernels for minutes; a time budget is for cases.
        self._began = time.monotonic()
        for finding in self._known():
            if finding.state is State.REDUCED and not finding.scripts:
                self._publish(finding)
        self._replay_corpus()
        recorded = self._store.recorded()
        first = next(index for index in range(len(recorded) + 1) if index not in recorded) // ROUND * ROUND
        if recorded.isdisjoint(range(first, first + ROUND)):
            # Stopped while investigating. Otherwise the round is finished first: its failures are judged together.
            self._investigate_pending()
        while True:
            if self._time_is_up():
                return "the time is up"
            if self._budget.cases is not None and first >= self._budget.cases:
                return "all cases are drawn"
            if self._budget.findings is not None and self._new >= self._budget.findings:
                return "enough findings"
            self._round([index for index in range(first, first + ROUND) if index not in recorded])
            first += ROUND

    def snapshot(self) -> Snapshot:
        """Where the campaign stands now. May be called from any thread."""
        elapsed = time.monotonic() - self._began
        left = None if self._budget.seconds is None else max(0.0, self._budget.seconds - elapsed)
        with self._lock:
            return Snapshot(
                elapsed,
                left,
                Counter(self._counts),
                self._run,
                len(self._findings),
                self._active["reducing"],
                self._active["proving"],
            )

    def summary(self, store: Store, ended: str, unavailable: str) -> Summary:
        """The account of the run, read back from the store."""
        return Summary(
            ended=ended,
            unavailable=unavailable,
            findings=tuple(store.findings()),
            new=self._new,
            fixed=tuple(
                entry.name
                for number, entry in self._corpus.items()
                if entry.is_regression and store.verdict(number) == Verdict.PASS
            ),
            pending=len(store.pending()),
            counts=store.counts(),
            messages={str(verdict): said for verdict in EXPLAINED if (said := store.messages(verdict))},
            run=self._run,
            elapsed=time.monotonic() - self._began,
            generation=self._generation,
        )

    def _time_is_up(self) -> bool:
        return self._budget.seconds is not None and time.monotonic() - self._began >= self._budget.seconds

    def _replay_corpus(self) -> None:
        """Run what is kept and was not run yet. What fails otherwise than it is known to stays pending."""
        recorded = self._store.recorded()
        todo = [(number, entry.case) for number, entry in self._corpus.items() if number not in recorded]
        for future in [self._executor.submit(self._run_case, number, case) for number, case in todo]:
            future.result()
        for finding in known_findings(self._store.pending(), self._corpus):
            self._add(finding, news=False)
        # Seeds come down to regressions: after them.
        for record in self._store.pending():
            entry = self._corpus.get(record.number)
            if entry is not None and as_known(entry, record) and entry.about.bucket in self._findings:
                self._store.assign(record.number, entry.about.bucket, absorbed=True)

    # --- running cases ------------------------------------------------------------------------------------------------

    def _round(self, indices: Sequence[int]) -> None:
        reduced = [f for f in self._findings.values() if f.state in (State.KNOWN, State.REDUCED, State.PROVEN)]
        tried = self._store.tried(indices[0] if indices else 0)
        avoided = {f.id for f in reduced if _worth_avoiding(f, *tried.get(f.id, (0, 0)))}
        futures: list[Future[None]] = []
        for index in indices:
            if self._time_is_up() or (self._budget.cases is not None and index >= self._budget.cases):
                break
            case = self._draw(index)
            if case is None:
                continue
            patterns = tuple(sorted(finding.id for finding in reduced if _looks_like(finding, case)))
            if avoided.intersection(patterns) and not self._revisited(index):
                self._store.record_skipped(index, case.digest, patterns)
                self._count(SKIPPED)
            else:
                futures.append(self._executor.submit(self._run_case, index, case, patterns))
        for future in futures:
            future.result()
        self._investigate_pending()

    def _draw(self, index: int) -> Case | None:
        began = time.monotonic()
        try:
            return self._tools.sample(self._settings.space, self._settings.seed, index)
        except CaseError as error:
            # A fault of a strategy. It is counted and shown, and must not end a campaign of a night.
            self._store.record(index, "", Outcome(Verdict.INVALID, "generate", str(error)))
            self._count(Verdict.INVALID)
            return None
        finally:
            self._generation += time.monotonic() - began

    def _revisited(self, index: int) -> bool:
        """Whether a case runs although it has a known pattern: a fixed share, chosen by seed and index."""
        digest = hashlib.sha256(f"{self._settings.seed}:{index}".encode()).digest()
        return int.from_bytes(digest[:4], "big") < self._settings.revisit * (1 << 32)

    def _run_case(self, index: int, case: Case, patterns: tuple[str, ...] = ()) -> None:
        if self._time_is_up():
            return
        self._store.running(index, case)
        outcome = self._pool.run(case)
        ran = outcome.verdict not in (Verdict.ENV, Verdict.INVALID)
        self._store.record(index, case.digest, outcome, patterns, features(case) if ran else ())
        self._count(outcome.verdict)

    def _count(self, verdict: str) -> None:
        with self._lock:
            self._counts[str(verdict)] += 1
            self._run += verdict != SKIPPED

    # --- investigating failures ---------------------------------------------------------------------------------------

    def _investigate_pending(self) -> None:
        """Put every failing case into a bucket. Signatures in parallel; what they found is merged by index."""
        groups: dict[str, list[Start]] = {}
        for start in self._executor.map(self._start, self._store.pending()):
            groups.setdefault(start.signature, []).append(start)
        settled = list(self._executor.map(self._settle, groups.values()))
        changed = {
            key
            for finding in sorted((finding for group in settled for finding in group), key=lambda f: f.first)
            if (key := self._add(finding)) is not None
        }
        list(self._executor.map(self._publish, [self._findings[key] for key in sorted(changed)]))

    def _start(self, record: Record) -> Start:
        if (entry := self._corpus.get(record.number)) is not None:
            case = entry.case
        else:
            case = self._tools.sample(self._settings.space, self._settings.seed, record.number)
        if case.digest != record.digest:
            raise StoreError(
                f"case {record.number} is not what it was when {self._store.directory} recorded it: the strategies "
                "have changed since; start a new campaign in another --dir"
            )
        return starting_point(record.number, case, record.outcome, self._pool.run)

    def _settle(self, starts: Sequence[Start]) -> list[Finding]:
        """Failures of one signature: each joins a bucket that explains it, or is investigated."""
        before = self._known()
        found: list[Finding] = []
        for start in starts:
            match = next((finding for finding in (*before, *found) if _explains(finding, start)), None)
            if match is not None:
                self._store.assign(start.number, match.key, absorbed=True)
            else:
                found.append(unreduced(start) if self._time_is_up() else self._investigated(start))
        return found

    def _known(self) -> list[Finding]:
        with self._lock:
            return list(self._findings.values())

    def _investigated(self, start: Start) -> Finding:
        with self._busy("reducing"):
            return investigate(start, self._pool.run, self._tools.reduce, self._pool.explain)

    @contextmanager
    def _busy(self, activity: str) -> Iterator[None]:
        """Count an activity for the progress display."""
        with self._lock:
            self._active[activity] += 1
        try:
            yield
        finally:
            with self._lock:
                self._active[activity] -= 1

    def _add(self, finding: Finding, *, news: bool = True) -> str | None:
        """Take a finding in. Returns its key if the case that speaks for the bucket is a new one."""
        known = self._findings.get(finding.key)
        both = finding if known is None else merged(known, finding)
        with self._lock:
            self._findings[finding.key] = both
            self._new += known is None and news
        self._store.put_finding(both, counted=finding.first)
        return None if known is not None and both.reduced == known.reduced else finding.key

    def _publish(self, finding: Finding) -> None:
        """Write the case of a finding, and if it is reduced find the guilty pass, examine it and write its scripts."""
        if finding.state in (State.NEW, State.KNOWN):
            return
        path = self._store.directory / "cases" / f"{finding.id}.yaml"
        path.write_text(dump(finding.case), encoding="utf-8")
        if finding.state is not State.REDUCED:
            return
        with self._busy("proving"):
            finding = localised(finding, self._settings.target, self._pool.localise)
            finding = examined(finding, self._settings.target, self._pool.run, self._others)
            scripts = self._tools.publish(finding, self._store.directory, self._settings.target, self._pool.export)
        state = State.PROVEN if any(script.proven for script in scripts) else State.REDUCED
        finding = replace(finding, scripts=scripts, state=state)
        self._store.put_finding(finding)
        with self._lock:
            self._findings[finding.key] = finding


def _looks_like(finding: Finding, case: Case) -> bool:
    return any(matches(witness.pattern, case) for witness in finding.witnesses)


def _explains(finding: Finding, start: Start) -> bool:
    """Whether a failure is one of a known bucket, as far as can be told without reducing it.

    An error message names its bucket; of what is known, and after a few reductions, more of them only cost time.
    """
    ways = [witness for witness in finding.witnesses if witness.signature == start.signature]
    enough = 1 if finding.state is State.KNOWN else WITNESSES
    if start.outcome.verdict not in MISMATCHING and len(ways) >= enough:
        return True
    return any(matches(witness.pattern, start.case) for witness in ways)


def _worth_avoiding(finding: Finding, runs: int, failures: int) -> bool:
    """A pattern that this campaign reduced a failure to is taken to fail, one from the corpus has to show it."""
    if runs < EVIDENCE:
        return finding.state is not State.KNOWN
    return failures * 2 >= runs
