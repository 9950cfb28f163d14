# SPDX-License-Identifier: Apache-2.0
"""A fuzzing campaign: rounds of cases, and the findings they lead to.

A round is a fixed number of cases under one plan, which says what is known and therefore not run again. Its failures
are investigated when all its cases are done, round after round, while cases of later rounds run: the plan of a round is
made as soon as a certain earlier round is settled, and from nothing later. Failures of different signatures cannot
influence each other. So the same seed gives the same cases and the same buckets whatever the timing and the number of
workers, and a campaign that was killed goes on as if it had not been.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fuzz.account import EXPLAINED, Activities, Snapshot, Summary
from fuzz.case import Case
from fuzz.cluster import open_engine
from fuzz.corpus import Entry
from fuzz.disk import FolderUnwritable, clear
from fuzz.elsewhere import Elsewhere, other_targets
from fuzz.engine import Engine, Plan, Sample, Trial, exercised
from fuzz.finding import Finding, State
from fuzz.investigation import Reduce, Run, Start, investigate, starting_point, unreduced
from fuzz.known import as_known, known_findings, numbered
from fuzz.lock import locked
from fuzz.pool import Pool
from fuzz.priorities import PriorityExecutor
from fuzz.publisher import FATAL, Findings, Publish, Publisher, fault
from fuzz.settings import Budget, Settings
from fuzz.settlement import settle, united
from fuzz.station import this_machine
from fuzz.store import DATABASE, SKIPPED, Record, Store, StoreError
from fuzz.worker_process import WORKER
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable

ROUND = 32  # cases: enough to keep workers busy, few enough that known buckets are avoided soon
# A pattern whose cases mostly pass is too broad to be avoided; it takes this many of them to tell.
EVIDENCE = 4
# What is done first when there is a choice: later rounds wait for settled ones, and findings are shown early.
INVESTIGATE, PUBLISH, RUN = range(3)

TIME_IS_UP = "the time is up"

Given = TypeVar("Given")
Result = TypeVar("Result")


def planned_after(settled: int, base: int = 0) -> list[int]:
    """The rounds whose plans are made when this one is settled, and know nothing later; base - 1: before the first.

    The more rounds lie between, the more workers stay busy during long investigations, and the more cases run that a
    new finding would have told to avoid. So they become more with the campaign, in which new findings become rare.
    """
    settled -= base
    later = range(settled + 1, 2 * settled + 6)
    return [base + number for number in later if max(-1, number - 4 - number // 8) == settled]


@dataclass(frozen=True, slots=True)
class Tools:
    """What a campaign calls below it."""

    sample: Sample
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
    corpus: Callable[[], Sequence[Entry]] = tuple,
    resume: bool = False,
    display: Display | None = None,
) -> Summary:
    """Run until the budget is spent or Ctrl-C. With `resume`, the folder's campaign goes on with these settings.

    The corpus runs first: what fails in it as it is known to is no news, and is not investigated. It is read while the
    target starts.

    Raises FolderBusy, FolderUnwritable, StoreError, what `corpus` raises, and TargetUnavailable if no worker ever
    starts.
    """
    with locked(directory):
        clear(directory)  # of a driver that was killed; ours alone under the lock
        made_with = dict(this_machine(settings.target).versions)
        plain = {"settings": settings.to_plain(), "budget": budget.to_plain(), "versions": made_with}
        store = Store.open(directory) if resume else Store.create(directory, plain)
        engine = open_engine(settings, directory, tools.sample, tools.command, store.running)
        elsewhere = Elsewhere(
            other_targets(settings.target), directory / "elsewhere", open_pool=_opener(settings, tools)
        )
        with store, PriorityExecutor(engine.parallel, "campaign") as executor:
            reading = executor.submit(RUN, corpus)
            campaign = Campaign(settings, budget, store, engine, elsewhere.runs, executor, tools, reading)
            unavailable = ""
            try:
                with engine, elsewhere, (display or _no_display)(campaign.snapshot):
                    ended = campaign.run()
            except KeyboardInterrupt:
                ended = "interrupted"
            except TargetUnavailable as error:
                if not store.recorded():
                    raise
                ended, unavailable = "the target went away", str(error)
        if not (directory / DATABASE).is_file():
            raise FolderUnwritable(f"{directory} was removed while a campaign ran in it: what was recorded is gone")
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
        engine: Engine,
        others: Mapping[str, Run],
        executor: PriorityExecutor,
        tools: Tools,
        corpus: Future[Sequence[Entry]],
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._store = store
        self._engine = engine
        self._executor = executor
        self._tools = tools
        self._reading = corpus
        self._corpus: Mapping[int, Entry] = {}
        self._began = time.monotonic()
        self._end = sys.maxsize if budget.cases is None else settings.first + budget.cases  # of the numbers of cases
        self._ended = False
        self._lock = threading.Lock()
        store.reopen()
        self._counts = store.counts()
        self._findings = Findings(store)
        self._recorded = frozenset(store.recorded())  # before this run
        self._tried: Counter[tuple[str, bool]] = Counter()  # in settled rounds, see `Store.tried`
        self._rounds: dict[int, list[Future[None]]] = {}  # begun and not settled: their cases
        self._run = 0
        self._activities = Activities()
        self._publisher = Publisher(
            self._findings,
            store,
            settings.target,
            engine,
            others,
            tools.publish,
            self._activities,
            partial(executor.submit, PUBLISH),
        )
        self._generation = 0.0

    def run(self) -> str:
        """Rounds until the budget is spent. Returns why it ended."""
        # The first start on a machine builds kernels for minutes; a time budget is for cases.
        self._began = time.monotonic()
        self._corpus = numbered(self._reading.result(), self._settings.target)
        for finding in self._findings.all():
            if finding.state is State.REDUCED and not finding.scripts:
                self._publisher.publish(finding.key)
        self._replay_corpus()
        rounds = self._store.rounds()
        base = self._settings.first // ROUND
        first = min(rounds, default=base)
        self._tried = self._store.tried(0, first * ROUND)
        # What failed in the corpus, and what was not investigated to its end.
        self._settle(self._store.pending(first * ROUND), plans=[] if rounds else planned_after(base - 1, base))
        for number, plan in rounds.items():
            self._begin(number, self._plan_from(plan))
        ended = self._settle_rounds(first)
        self._ended = True
        self._wait(future for futures in self._rounds.values() for future in futures)
        if ended == TIME_IS_UP:
            self._settle(self._store.pending())
        self._publisher.wait()
        return ended

    def _settle_rounds(self, number: int) -> str:
        """Settle one round after the other until the budget is spent, and say which part of it was."""
        while True:
            self._wait(self._rounds[number])
            if self._time_is_up():
                return TIME_IS_UP
            end = (number + 1) * ROUND
            if end > self._end:
                self._settle(self._store.pending(end))  # not the last word on this round: a resumed campaign goes on
                return "all cases are drawn"
            self._settle(self._store.pending(end), number, planned_after(number, self._settings.first // ROUND))
            if self._budget.findings is not None and self._findings.new >= self._budget.findings:
                return "enough findings"
            number += 1

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
                self._activities.now["reducing"],
                self._activities.now["proving"],
            )

    def summary(self, store: Store, ended: str, unavailable: str) -> Summary:
        """The account of the run, read back from the store."""
        return Summary(
            ended=ended,
            unavailable=unavailable,
            findings=tuple(store.findings()),
            new=self._findings.new,
            fixed=tuple(
                entry.name
                for number, entry in self._corpus.items()
                if entry.is_regression
                and entry.about.target in ("", self._settings.target.kind)
                and store.verdict(number) == Verdict.PASS
            ),
            pending=len(store.pending()),
            counts=store.counts(),
            messages={str(verdict): said for verdict in EXPLAINED if (said := store.messages(verdict))},
            run=self._run,
            elapsed=time.monotonic() - self._began,
            generation=self._generation,
            spent=self._spent(),
        )

    def _spent(self) -> dict[str, float]:
        total = self._engine.parallel * (time.monotonic() - self._began)
        return {activity: seconds / total for activity, seconds in sorted(self._activities.seconds.items())}

    def _time_is_up(self) -> bool:
        spent = self._budget.seconds is not None and time.monotonic() - self._began >= self._budget.seconds
        return spent or self._ended

    def _wait(self, futures: Iterable[Future[Result]]) -> list[Result]:
        return [future.result() for future in futures]

    def _all(self, work: Callable[[Given], Result], given: Iterable[Given]) -> list[Result]:
        """Do it for each of them, at once, before anything else that waits."""

        def reduce(one: Given) -> Result:
            with self._activities.doing("reducing"):
                return work(one)

        return self._wait([self._executor.submit(INVESTIGATE, partial(reduce, one)) for one in given])

    # --- running cases ------------------------------------------------------------------------------------------------

    def _replay_corpus(self) -> None:
        """Run what is kept and was not run yet. What fails otherwise than it is known to stays pending."""
        todo = [(number, entry.case) for number, entry in self._corpus.items() if number not in self._recorded]
        self._wait([self._executor.submit(RUN, partial(self._run_entry, number, case)) for number, case in todo])
        known = [self._findings.add(finding) for finding in known_findings(self._store.pending(0), self._corpus)]
        self._store.settle((), [(finding.first, finding) for finding in known])
        # Seeds come down to regressions: after them.
        pending = [(record, self._corpus.get(record.number)) for record in self._store.pending(0)]
        self._store.settle(
            [
                (record.number, entry.about.bucket)
                for record, entry in pending
                if entry is not None and as_known(entry, record) and entry.about.bucket in self._findings
            ],
            (),
        )

    def _run_entry(self, number: int, case: Case) -> None:
        if not self._time_is_up():
            self._store.running(number, case)
            with self._activities.doing("running"):
                outcome = self._engine.run(case)
            self._record(Trial(number, case.digest, outcome, (), exercised(case, outcome)))

    def _plan(self) -> Plan:
        """What is known now, for a round to come."""
        reduced = [f for f in self._findings.all() if f.state in (State.KNOWN, State.REDUCED, State.PROVEN)]
        ways = tuple((f.id, tuple(witness.pattern for witness in f.witnesses)) for f in reduced)
        avoided = frozenset(f.id for f in reduced if self._worth_avoiding(f))
        return Plan(self._settings.space, self._settings.seed, self._settings.revisit, ways, avoided)

    def _plan_from(self, plain: dict[str, Any]) -> Plan:
        return Plan.from_plain(plain, self._settings.space, self._settings.seed, self._settings.revisit)

    def _worth_avoiding(self, finding: Finding) -> bool:
        """A pattern that this campaign reduced a failure to is taken to fail, one from the corpus has to show it."""
        failures, passes = (self._tried[finding.id, failed] for failed in (True, False))
        if failures + passes < EVIDENCE:
            return finding.state is not State.KNOWN
        return failures >= passes

    def _begin(self, number: int, plan: Plan) -> None:
        """Let the cases of a round run, after those of the rounds before."""
        numbers = range(number * ROUND, (number + 1) * ROUND)
        self._rounds[number] = [
            self._executor.submit(RUN + number, partial(self._trial, plan, case))
            for case in numbers
            if case not in self._recorded and self._settings.first <= case < self._end
        ]

    def _trial(self, plan: Plan, number: int) -> None:
        if not self._time_is_up():
            with self._activities.doing("running"):
                self._record(self._engine.trial(plan, number))

    def _record(self, trial: Trial) -> None:
        self._store.record(trial.number, trial.digest, trial.outcome, trial.patterns, trial.features)
        with self._lock:
            self._counts[SKIPPED if trial.outcome is None else str(trial.outcome.verdict)] += 1
            self._run += trial.outcome is not None
            self._generation += trial.generation

    # --- investigating failures ---------------------------------------------------------------------------------------

    def _settle(self, pending: Sequence[Record], settled: int | None = None, plans: Iterable[int] = ()) -> None:
        """Put failing cases into buckets, and write down in one step what they are and which rounds begin with it."""
        groups: dict[str, list[Start]] = {}
        for start in self._all(self._start, pending):
            groups.setdefault(start.signature, []).append(start)
        known = {finding.key: finding for finding in self._findings.all()}
        result = united(
            self._all(
                lambda starts: settle(starts, known.values(), partial(self._investigated, known), self._time_is_up),
                groups.values(),
            )
        )
        findings = [(finding.first, self._findings.add(finding)) for finding in result.found]
        if not result.complete:
            settled, plans = None, ()
        if settled is not None:
            self._tried += self._store.tried(settled * ROUND, (settled + 1) * ROUND)
            del self._rounds[settled]
        planned = {number: self._plan() for number in plans}
        plain = {number: plan.to_plain() for number, plan in planned.items()}
        self._store.settle(result.joined, findings, settled, plain)
        for number, plan in planned.items():
            self._begin(number, plan)
        for key in sorted({finding.key for _, finding in findings}):
            if key not in known or self._findings[key].reduced != known[key].reduced:
                self._publisher.publish(key)

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
        return starting_point(record.number, case, record.outcome, self._engine.run)

    def _investigated(self, known: Mapping[str, Finding], start: Start) -> Finding:
        try:
            return investigate(start, self._engine.run, self._tools.reduce, self._engine.explain, known)
        except FATAL:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end a campaign of a night
            return replace(unreduced(start), scripts=(fault(self._store.directory, f"case {start.number}", error),))
