# SPDX-License-Identifier: Apache-2.0
"""A whole campaign on the TT mock: what it costs over a bare loop, what a second worker brings, and when it starts.

    python tests/benchmarks/campaign.py [--cases 320] [--seed 1] [--turns 3]

In turns within one invocation, because only ratios mean anything on a shared machine:
- the campaign with two workers and with one, as `meshfuzz run` starts it, the corpus included;
- the bare loop (`bare.py`) on the cases that the campaign ran, those of the corpus included and those that end the
  process left out, one process per worker;
- `meshfuzz run --cases 1`, until its first case is recorded.
"""

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table
from speed import bare

from fuzz.account import Summary
from fuzz.campaign import Tools, run_campaign
from fuzz.case import Mesh
from fuzz.corpus import entries
from fuzz.known import numbered
from fuzz.publish import publish
from fuzz.reduce.reducer import reduce
from fuzz.settings import CORPUS, Budget, Settings
from fuzz.store import DATABASE, SKIPPED
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig

TARGET = TargetConfig("tt", Mesh.parse("2x2"))
# As `meshfuzz run --mock 2x2` draws them.
SPACE = Space(tuple(Mesh.parse(text) for text in ("2x2", "2x2", "2x2", "1x4", "1x2", "1x1")))
START_LIMIT = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Turn:
    """One campaign, and the bare loop on its cases."""

    summary: Summary
    workers: int
    drawn: int  # cases of rounds, skipped ones included
    bare: float  # cases per second of one worker; 0: not measured

    @property
    def whole(self) -> float:
        """Cases of rounds and of the corpus per second of one worker, whatever it does meanwhile."""
        return self.summary.run / (self.workers * self.summary.elapsed)

    @property
    def running(self) -> float:
        """The same while it runs cases; the rest of the time it reduces, examines and proves what failed."""
        return self.whole / self.summary.spent["running"]


def campaign(seed: int, count: int, workers: int, *, compare: bool) -> Turn:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(TARGET, SPACE, seed, workers=workers, corpus=str(CORPUS))
        tools = Tools(sample, reduce, publish)
        summary = run_campaign(folder / "c", settings, Budget(cases=count), tools, corpus=partial(entries, CORPUS))
        with sqlite3.connect(folder / "c" / DATABASE) as database:
            rows = dict(database.execute("SELECT number, verdict FROM cases"))
        drawn = sum(number >= 0 for number in rows)
        if not compare:
            return Turn(summary, workers, drawn, 0.0)
        kept = numbered(entries(CORPUS), TARGET)
        ran = [number for number, verdict in rows.items() if verdict not in (SKIPPED, Verdict.CRASH, Verdict.HANG)]
        cases = [sample(SPACE, seed, number) if number >= 0 else kept[number].case for number in ran]
        return Turn(summary, workers, drawn, len(ran) / bare(TARGET, cases, folder, workers) / workers)


def first_result() -> float:
    """Seconds from the start of the command to its first recorded case."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "c"
        began = time.monotonic()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "fuzz",
                "run",
                "--target",
                "tt",
                "--mock",
                "2x2",
                "--cases",
                "1",
                "--dir",
                str(folder),
            ],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not _recorded(folder / DATABASE):
                if time.monotonic() - began > START_LIMIT or process.poll() is not None:
                    raise RuntimeError("the campaign recorded nothing")
                time.sleep(0.02)
            return time.monotonic() - began
        finally:
            process.terminate()
            process.wait()


def _recorded(path: Path) -> bool:
    if not path.exists():
        return False
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return bool(database.execute("SELECT count(*) FROM cases").fetchone()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=320)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    table = Table(title=f"{os.cpu_count()} cores")
    for heading in ("seed", "workers", "seconds", "run", "skipped", "findings", "new", "running", "reducing", "proving",
                    "idle", "bare /s/worker", "while running", "whole", "generation"):  # fmt: skip
        table.add_column(heading, justify="right")
    speedups, starts = [], []
    for seed in range(options.seed, options.seed + options.turns):
        two = campaign(seed, options.cases, 2, compare=True)
        one = campaign(seed, options.cases, 1, compare=False)
        starts.append(first_result())
        speedups.append(one.summary.elapsed / two.summary.elapsed)
        for turn in (two, one):
            table.add_row(*_row(seed, turn))
    console = Console(width=180)
    console.print(table)
    console.print(f"two workers : one, by time for the same cases: {_listed(speedups)}")
    console.print(f"seconds to the first result of a warm start: {_listed(starts)}")


def _row(seed: int, turn: Turn) -> list[str]:
    summary = turn.summary
    shares = [summary.spent.get(activity, 0.0) for activity in ("running", "reducing", "proving")]
    row = [str(seed), str(turn.workers), f"{summary.elapsed:.0f}", str(summary.run), str(summary.counts[SKIPPED])]
    row += [str(len(summary.findings)), str(summary.new), *(f"{share:.0%}" for share in (*shares, 1 - sum(shares)))]
    row.append(f"{turn.bare:.2f}" if turn.bare else "")
    for rate in (turn.running, turn.whole):
        row.append(f"{rate:.2f}" + (f" = {rate / turn.bare:.2f} x" if turn.bare else ""))
    generation = 1000 * summary.generation / turn.drawn
    return [*row, f"{generation:.1f} ms, {summary.generation / summary.elapsed / turn.workers:.1%}"]


def _listed(numbers: list[float]) -> str:
    return f"median {statistics.median(numbers):.2f} ({', '.join(f'{number:.2f}' for number in numbers)})"


if __name__ == "__main__":
    main()
