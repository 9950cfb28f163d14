# SPDX-License-Identifier: Apache-2.0
"""One night: campaign with the corpus first, verification, report; each phase once, however often it is killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fuzz.campaign import Display, Tools, run_campaign
from fuzz.corpus import Entry, entries
from fuzz.lock import FolderBusy, locked
from fuzz.nightly.config import Config, Reason, Verifying
from fuzz.nightly.expected import of_target, remembered, replayed, unseen
from fuzz.nightly.folders import (
    nights,
    number_of,
    point_latest,
    read_state,
    remove_old,
    unused_name,
    write_state,
)
from fuzz.nightly.history import Bucket, History
from fuzz.nightly.outputs import Material, write_outputs
from fuzz.nightly.standings import standings
from fuzz.replay import Runner
from fuzz.report.night import Night, Standing, Verified
from fuzz.settings import Budget, Settings
from fuzz.store import DATABASE, Store
from fuzz.verify import Status, Verification, verify
from oracles.outcome import Verdict
from oracles.targets.config import TargetUnavailable

CAMPAIGN = "campaign"  # folder of the campaign in a night's
GIVEN_UP = timedelta(hours=24)  # an unfinished night that began longer ago is left as it is
LEAST = 5.0  # seconds left for a campaign that are worth starting the target again

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a night came to."""

    night: Night
    folder: Path
    reasons: Mapping[Reason, str]  # to fail it, and in a sentence why; those of the policy only


def run_night(
    config: Config,
    settings: Settings,
    tools: Tools,
    prepare: Callable[[], Mapping[str, str]],
    *,
    say: Say,
    display: Display | None = None,
    now: Callable[[], datetime] = datetime.now,
) -> Ended:
    """Run the night of today, or what is left of one that was killed.

    `prepare` makes the target ready and tells the versions that verdicts hold for; it may raise TargetUnavailable,
    which is a night with an environment that failed, not an error.

    Raises FolderBusy, NightError, HistoryError, CorpusError, and KeyboardInterrupt if it is interrupted.
    """
    with _alone(config.folder):
        try:
            versions, unavailable = dict(prepare()), ""
        except TargetUnavailable as error:
            versions, unavailable = {}, str(error)
        folder, state = _begun(config, versions, now())
        say(f"night {folder.name}: {config.target}, seed {state['seed']}, {folder}")
        with History.open(config.folder) as history:
            run = _Run(config, replace(settings, seed=state["seed"]), tools, folder, state, history, say, display)
            night = run.all_phases(unavailable)
        for name in remove_old(config.folder, now().date(), config.keep_days):
            say(f"removed night {name}, older than {config.keep_days} days")
        return Ended(night, folder, reasons(night, config.policy))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder of nights. Raises FolderBusy."""
    holding = locked(folder)
    try:
        holding.__enter__()
    except FolderBusy as error:
        who = str(error).replace("a campaign runs", "a night runs").partition(": ")[0]
        raise FolderBusy(f"{who}: wait until it has ended") from error
    try:
        yield
    finally:
        holding.__exit__(None, None, None)


def _begun(config: Config, versions: Mapping[str, str], now: datetime) -> tuple[Path, dict[str, Any]]:
    """The folder and state of an unfinished night of the same kind, or of a new one."""
    key = {"config": config.to_plain(), "versions": dict(versions)}
    last = nights(config.folder)[-1:]
    for folder in last:
        state = read_state(folder)
        young = now - datetime.fromisoformat(state["began"]) < GIVEN_UP
        if not state["finished"] and young and {name: state[name] for name in key} == key:
            return folder, state
    name = unused_name(config.folder, now.date())
    state = {
        "began": now.isoformat(timespec="seconds"),
        "seed": config.seed_of(now.date(), number_of(name)),
        **key,
        "phases": {},
        "spent": 0.0,  # seconds of the campaign in attempts that were killed
        "attempt": None,  # when the one under way began
        "finished": False,
    }
    folder = config.folder / name
    folder.mkdir()
    write_state(folder, state)
    return folder, state


class _Run:
    """A night on its way: what its phases share."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        tools: Tools,
        folder: Path,
        state: dict[str, Any],
        history: History,
        say: Say,
        display: Display | None,
    ) -> None:
        self._config = config
        self._settings = settings
        self._tools = tools
        self._folder = folder
        self._state = state
        self._say = say
        self._display = display
        self._history = history
        self._before: Mapping[str, Bucket] = history.buckets(folder.name)
        corpus = entries(config.corpus) if config.corpus is not None else ()
        self._regressions = of_target(corpus, settings.target)
        self._entries: Sequence[Entry] = (*remembered(self._before, corpus, config.folder), *corpus)

    def all_phases(self, unavailable: str) -> Night:
        """Those that are not done yet. Returns what the night has to say."""
        self._phase("campaign", lambda: {"unavailable": unavailable} if unavailable else self._campaign())
        self._phase("verification", lambda: {"verified": [] if self._environment() else list(self._verified())})
        began = time.monotonic()
        night = self._report()  # again if it was cut short: its night is not finished before it is written
        self._say(f"report: {time.monotonic() - began:.1f} s")
        self._state["finished"] = True
        write_state(self._folder, self._state)
        point_latest(self._folder.parent, self._folder.name)
        return night

    def _phase(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Do it unless it is done."""
        if name in self._state["phases"]:
            self._say(f"{name}: done before")
            return
        began = time.monotonic()
        result = work()
        seconds = round(time.monotonic() - began, 1)
        self._state["phases"][name] = {"seconds": seconds, **result}
        write_state(self._folder, self._state)
        self._say(f"{name}: {seconds:g} s")

    def _environment(self) -> str:
        """What is wrong with the target; empty if nothing is."""
        said: str = self._state["phases"]["campaign"].get("unavailable", "")
        return said

    # --- campaign -----------------------------------------------------------------------------------------------------

    def _campaign(self) -> dict[str, Any]:
        directory = self._folder / CAMPAIGN
        resume = (directory / DATABASE).is_file()
        if (attempt := self._state["attempt"]) is not None:
            self._state["spent"] += max(0.0, _last_written(directory) - attempt)
        left = self._config.time - self._state["spent"]
        if resume and left < LEAST:
            return {"ended": "the time was up when the night was interrupted", "elapsed": self._state["spent"]}
        self._state["attempt"] = time.time()
        write_state(self._folder, self._state)
        try:
            summary = run_campaign(
                directory,
                self._settings,
                Budget(left, self._config.cases),
                self._tools,
                corpus=lambda: self._entries,
                resume=resume,
                display=self._display,
            )
        except TargetUnavailable as error:
            return {"unavailable": str(error)}
        if summary.ended == "interrupted":
            raise KeyboardInterrupt
        said = summary.messages.get(str(Verdict.ENV), ())
        nothing = summary.unavailable or (f"no case could be judged: {said[0][0] if said else summary.ended}")
        return {
            "ended": summary.ended,
            "elapsed": self._state["spent"] + summary.elapsed,
            "unavailable": "" if summary.judged and not summary.unavailable else nothing,
        }

    # --- verification -------------------------------------------------------------------------------------------------

    def _verified(self) -> Iterator[dict[str, Any]]:
        """What became of that which is known to fail and did not; each costs many seconds, so there is a limit."""
        if self._config.verify is Verifying.NONE:
            return
        with Store.open(self._folder / CAMPAIGN) as store:
            failed = [finding.id for finding in store.findings()]
        regressions = self._regressions if self._config.verify is Verifying.ALL else []
        wanted = unseen(self._before, regressions, failed, self._settings.target)
        runner = Runner(self._settings.target, self._tools.command, self._settings.deadline)
        limit = time.monotonic() + self._config.time * self._config.verify_share
        left = {subject.id for subject in wanted}
        running = verify(wanted, runner, self._settings.workers) if left else iter(())
        for done in running:
            left.discard(done.subject.id)
            self._say(f"verification: {done.subject.id} {done.status}")
            yield _plain(done)
            if time.monotonic() > limit and left:
                break
        for name in sorted(left):
            yield {"name": name, "status": Status.NOT_RUN, "detail": "the time for verification was up", "seconds": 0.0}

    # --- report -------------------------------------------------------------------------------------------------------

    def _report(self) -> Night:
        phases, folder = self._state["phases"], self._folder
        verified = [Verified(**plain) for plain in phases["verification"]["verified"]]
        material = Material(
            name=folder.name,
            folder=folder,
            campaign=folder / CAMPAIGN,
            began=self._state["began"],
            config=self._config,
            settings=self._settings,
            versions=self._state["versions"],
            environment=self._environment(),
            ended=phases["campaign"].get("ended", ""),
            seconds=phases["campaign"].get("elapsed", 0.0),
            phases={name: phase["seconds"] for name, phase in phases.items()},
            verified=verified,
            command=self._tools.command,
        )
        there = (folder / CAMPAIGN / DATABASE).is_file()  # not if the target could not even be prepared
        with Store.open(folder / CAMPAIGN) if there else nullcontext() as store:
            last, target = self._history.last_verdicts(folder.name), self._settings.target
            replays = list(replayed(self._entries, target, store, last)) if store is not None else []
            findings = store.findings() if store is not None else []
            known = {each.name: each for each in verified}
            subjects = standings(folder.name, findings, self._before, self._regressions, replays, known)
            return write_outputs(material, subjects, replays, store, self._history, self._before)


def _last_written(directory: Path) -> float:
    """When the campaign wrote anything last: about when it was killed. 0 if it never did."""
    files = [directory / f"{DATABASE}{suffix}" for suffix in ("", "-wal")]
    return max((path.stat().st_mtime for path in files if path.is_file()), default=0.0)


def _plain(done: Verification) -> dict[str, Any]:
    return {
        "name": done.subject.id,
        "status": str(done.status),
        "detail": done.detail,
        "seconds": round(done.seconds, 1),
    }


def reasons(night: Night, policy: frozenset[Reason]) -> dict[Reason, str]:
    """What fails the night, of what the policy says may."""
    found = {
        Reason.NEW_FINDINGS: len(night.of(Standing.NEW)),
        Reason.REGRESSIONS: len(night.of(Standing.REGRESSED)),
        Reason.PENDING: len(night.of(Standing.PENDING)),
    }
    said = {
        reason: f"{count} {reason.replace('_', ' ') if reason is not Reason.PENDING else 'failures not reduced'}"
        for reason, count in found.items()
        if count
    }
    if night.environment:
        said[Reason.ENVIRONMENT] = night.environment
    return {reason: why for reason, why in said.items() if reason in policy}
