# SPDX-License-Identifier: Apache-2.0
"""Every case on every version, each in a fresh process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fuzz.case import Case
from fuzz.grid import Cell, Column, Grid, Row
from fuzz.replay import Replayer, Runner, why_not
from fuzz.versions.environments import PluginVersion, environment
from fuzz.versions.results import Results, Setting
from oracles.targets.config import TargetConfig


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that is tried: how cases run on it, or why none does."""

    name: str
    runner: Runner
    setting: Setting
    cannot: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """One case on one version."""

    case: str  # its name
    version: str
    cell: Cell


def candidates(
    wanted: Sequence[PluginVersion], config: TargetConfig, deadline: float, known: Results, pin: Path | None = None
) -> Iterator[Candidate]:
    """Install each version that is not there yet, and start it once. Raises InstallFailed.

    A version that does not start is tried here and never again; one that has results started before.
    """
    pinned = pin.read_text(encoding="utf-8") if pin is not None else ""
    for version in wanted:
        runner = environment(version, pin).runner(config, deadline)
        setting = Setting.of(runner, pinned)
        yield Candidate(str(version), runner, setting, "" if known.any(setting) else why_not(runner))


class Matrix:
    """A grid in the making. Iterating runs what is not known yet, so many at once; `grid` is what there is."""

    def __init__(
        self, cases: dict[str, Case], tried: Sequence[Candidate], target: str, known: Results, fresh: bool = False
    ) -> None:
        """`cases` by name. What `known` holds is not run again, unless `fresh`."""
        self._cases = cases
        self._tried = tuple(tried)
        self._target = target
        self._known = known
        self._cells: dict[tuple[str, str], Cell] = {}
        for name, case in () if fresh else cases.items():
            for candidate in self._able:
                if (cell := known.get(candidate.setting, case)) is not None:
                    self._cells[name, candidate.name] = cell

    @property
    def _able(self) -> list[Candidate]:
        return [candidate for candidate in self._tried if not candidate.cannot]

    @property
    def missing(self) -> list[tuple[str, Candidate]]:
        """What has to run, case by case, so that what is interrupted holds whole rows."""
        return [(name, each) for name in self._cases for each in self._able if (name, each.name) not in self._cells]

    def run(self, workers: int) -> Iterator[Ran]:
        """Run what is missing; each is yielded when it is known and kept. Raises TargetUnavailable."""
        missing = self.missing
        needed = {each.name: each for _, each in missing}
        # Left in the opposite order: what waits is cancelled, what runs is ended, and only then is it waited for.
        with ThreadPoolExecutor(workers) as executor, ExitStack() as opened:
            replayers = {name: opened.enter_context(Replayer(each.runner, workers)) for name, each in needed.items()}
            opened.callback(executor.shutdown, wait=False, cancel_futures=True)
            running = {
                executor.submit(self._one, name, each, replayers[each.name]): (name, each.name)
                for name, each in missing
            }
            for done in as_completed(running):
                self._cells[running[done]] = done.result()
                yield Ran(*running[done], done.result())

    def _one(self, name: str, candidate: Candidate, replayer: Replayer) -> Cell:
        case = self._cases[name]
        again = replayer.replay(case)
        cell = Cell.of(again.outcome, again.bucket)
        self._known.put(candidate.setting, case, cell)
        return cell

    def grid(self) -> Grid:
        """All rows; a case that has not run on a version yet has no cell there."""
        rows = tuple(
            Row(name, case.digest, tuple(self._cells.get((name, each.name)) for each in self._tried))
            for name, case in self._cases.items()
        )
        return Grid(self._target, tuple(Column(each.name, each.cannot) for each in self._tried), rows)
