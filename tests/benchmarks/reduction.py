# SPDX-License-Identifier: Apache-2.0
"""What a reduction costs, and whether it ends where it should: target runs and seconds.

    python tests/benchmarks/reduction.py [--target]

The first table reduces every planted fault of tests/quality from its five starting points; the target is a predicate in
this process, so its seconds are the reducer's own. With --target a second table reduces what the real TT compiler gets
wrong: the cases of corpus/regressions, made larger, on a worker for a mock 2x2 mesh.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "quality"))

from catalogue import FAULTS
from growth import grown, starting_points
from notation import write

from fuzz.case import Case, Mesh
from fuzz.case_file import load
from fuzz.investigation import investigate, starting_point
from fuzz.pool import Pool
from fuzz.reduce.reducer import Reduction, reduce
from oracles.outcome import Outcome
from oracles.targets.config import TargetConfig

REGRESSIONS = Path(__file__).parents[2] / "corpus" / "regressions"
WIDTH = 120  # columns: names of faults are sentences
EDITS = 8  # by which a regression is made larger
UNLIMITED = 10_000  # runs and seconds: the cost is measured, not bounded


def planted() -> Table:
    """Every planted fault: median and worst of runs and milliseconds over its starting points, and what came out."""
    table = Table()
    for name in ("fault", "runs", "worst", "ms", "worst", "1-minimal", "all the same", "as stated"):
        table.add_column(name, justify="left" if name == "fault" else "right")
    everything: list[Reduction] = []
    for fault in FAULTS:
        found = [
            reduce(case, fault.fails, max_runs=UNLIMITED, max_seconds=UNLIMITED) for case in starting_points(fault)
        ]
        texts = {write(reduction.case) for reduction in found}
        verdicts = all(r.minimal for r in found), len(texts) == 1, texts == {fault.text}
        table.add_row(fault.name, *_costs(found), *("yes" if verdict else "NO" for verdict in verdicts))
        everything += found
    table.title = f"{len(FAULTS)} planted faults, {len(everything)} reductions"
    table.add_section()
    table.add_row("all", *_costs(everything))
    return table


def _costs(found: list[Reduction]) -> tuple[str, ...]:
    runs = [reduction.runs for reduction in found]
    spent = [1000 * reduction.seconds for reduction in found]
    return f"{statistics.median(runs):.0f}", str(max(runs)), f"{statistics.median(spent):.0f}", f"{max(spent):.0f}"


def real() -> Table:
    """Every regression, made larger, investigated as a campaign does on the compiler that gets it wrong."""
    table = Table()
    for name in ("regression", "nodes", "runs", "seconds", "1-minimal", "same bucket", "kind"):
        table.add_column(name, justify="left" if name in ("regression", "kind") else "right")
    everything: list[Reduction] = []
    config = TargetConfig("tt", Mesh.parse("2x2"))
    with tempfile.TemporaryDirectory() as folder, Pool(config, Path(folder), workers=1) as pool:
        for path in sorted(REGRESSIONS.glob("????????.yaml")):
            case = load(path)
            known = pool.run(case)
            larger = grown(case, partial(_fails_likewise, pool, known), Random(path.stem), edits=EDITS)
            reductions: list[Reduction] = []

            def timed(start: Case, fails: Callable[[Case], bool], found: list[Reduction] = reductions) -> Reduction:
                found.append(reduce(start, fails, max_runs=UNLIMITED, max_seconds=UNLIMITED))
                return found[-1]

            bucket, reached = (
                investigate(starting_point(0, start, pool.run(start), pool.run), pool.run, timed, pool.explain).key
                for start in (case, larger)
            )
            found = reductions[-1]
            verdicts = found.minimal, reached == bucket
            numbers = str(len(larger.nodes)), str(found.runs), f"{found.seconds:.1f}"
            table.add_row(
                path.stem, *numbers, *("yes" if verdict else "NO" for verdict in verdicts), str(known.verdict)
            )
            everything.append(found)
    runs = statistics.median(reduction.runs for reduction in everything)
    seconds = statistics.median(reduction.seconds for reduction in everything)
    table.title = f"regressions on tt, mock 2x2: median {runs:.0f} runs, {seconds:.1f} s"
    return table


def _fails_likewise(pool: Pool, known: Outcome, candidate: Case) -> bool:
    outcome = pool.run(candidate)
    return (outcome.verdict, outcome.stage) == (known.verdict, known.stage)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="store_true", help="also reduce real findings; takes some minutes")
    options = parser.parse_args()
    console = Console(width=WIDTH)
    console.print(planted())
    if options.target:
        console.print(real())


if __name__ == "__main__":
    main()
