# SPDX-License-Identifier: Apache-2.0
"""Detection power: how many cases a planted bug survives, what its minimal case is, and whether its stage is named.

    python tests/benchmarks/detection.py [--first-seed 0] [--seeds 10] [--cases 300] [--processes 2] [--json]

Every case of a seed is compiled once; then each fault that the seed has not found yet is planted into the compile and
judged blindly, as any compile is. The first detection of each (fault, seed) is reduced. Processes keep a journal, from
which they go on when the compiler takes one of them with it.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fuzz.case import Case, CaseError, Mesh, MeshfuzzError
from fuzz.case_file import dump, loads
from fuzz.payloads import values
from fuzz.reduce.reducer import reduce
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space
from oracles.faults import FAULTS, Fault
from oracles.injection import planted
from oracles.judge import open_target
from oracles.outcome import MISMATCHING, Outcome, Verdict
from oracles.reference import Expected, reference
from oracles.stages.execute import TRANSITIONS
from oracles.stages.program import NotUnderstood
from oracles.stagewise import judge_stages
from oracles.targets.base import Compiled, Observation, Target
from oracles.targets.config import TargetConfig
from oracles.verdict import compare

TOPOLOGY = Mesh.parse("2x2")
# As a campaign on this topology draws them: the whole of it as often as all smaller meshes together.
MESHES = tuple(Mesh.parse(text) for text in ("2x2", "2x2", "2x2", "1x4", "1x2", "1x1"))
MAX_RUNS = 600  # of one reduction
MAX_SECONDS = 120.0
STUCK = 120.0  # seconds after which a case is given up, with its process


# --- one process -----------------------------------------------------------------------------------------------------


@dataclass
class Journal:
    """What a process has done, one JSON object per line; read again when it is started anew."""

    path: Path
    entries: list[dict[str, Any]] = field(default_factory=list)
    avoid: set[str] = field(default_factory=set)  # digests of cases that ended a process

    def __post_init__(self) -> None:
        if self.path.exists():
            self.entries = [json.loads(line) for line in self.path.read_text().splitlines()]
        self.avoid = {entry["avoid"] for entry in self.entries if "avoid" in entry}
        if self.entries and "try" in self.entries[-1]:
            self.avoid.add(self.entries[-1]["try"])
            self.write(avoid=self.entries[-1]["try"])

    def write(self, **entry: object) -> None:
        self.entries.append(entry)
        with self.path.open("a") as stream:
            stream.write(json.dumps(entry) + "\n")

    def of(self, kind: str) -> list[Any]:
        return [entry[kind] for entry in self.entries if kind in entry]


@dataclass(slots=True)
class Run:
    """One compile of one case, to be judged with and without faults."""

    case: Case
    expected: dict[str, Expected]
    compiled: Compiled
    right: dict[str, bool] = field(default_factory=dict)  # by stage, without any fault

    def stage_right(self, compiled: Compiled, stage: str) -> bool:
        try:
            outputs = compiled.staged.run(stage)
        except NotUnderstood:
            return True  # not judged, hence not found wrong
        return compare(self.case, self.expected, Observation(outputs)).verdict is Verdict.PASS

    def judged(self, fault: Fault) -> Outcome | None:
        """The outcome with the fault planted, if there is place for it and the stage is right without it only."""
        faulty = planted(fault, self.compiled)
        if faulty is None:
            return None
        if fault.stage not in self.right:
            self.right[fault.stage] = self.stage_right(self.compiled, fault.stage)
        if not self.right[fault.stage] or self.stage_right(faulty, fault.stage):
            return None
        outcome = judge_stages(self.case, self.expected, faulty, ())
        return outcome if outcome.verdict in MISMATCHING else None


def compiled_run(target: Target, case: Case, journal: Journal) -> Run | None:
    """Compile the case; None for one that does not get so far."""
    if case.digest in journal.avoid:
        return None
    journal.write(**{"try": case.digest})
    faulthandler.dump_traceback_later(STUCK, exit=True)
    try:
        inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
        expected = dict(reference(case, inputs))
        observation = target.run(case, inputs, lambda _: None)
        compiled = observation.compiled
        return None if compiled is None else Run(case, expected, compiled)
    except MeshfuzzError:
        return None
    finally:
        faulthandler.cancel_dump_traceback_later()


def search(target: Target, seed: int, faults: Sequence[Fault], cases: int, journal: Journal) -> None:
    """Draw the seed's cases until every fault is found."""
    found = {entry["fault"] for entry in journal.of("found") if entry["seed"] == seed}
    pending = [fault for fault in faults if fault.name not in found]
    first = max((entry["index"] for entry in journal.of("drawn") if entry["seed"] == seed), default=0)
    space = Space(MESHES)
    for index in range(first, cases):
        if not pending:
            break
        journal.write(drawn={"seed": seed, "index": index})
        run = compiled_run(target, sample(space, seed, index), journal)
        if run is None:
            continue
        for fault in tuple(pending):
            outcome = run.judged(fault)
            if outcome is not None:
                pending.remove(fault)
                told = {"stage": outcome.stage, "transition": outcome.transition}
                journal.write(found={"fault": fault.name, "seed": seed, "index": index, "case": dump(run.case), **told})
    journal.write(searched=seed)


def shrink(target: Target, entry: dict[str, Any], journal: Journal) -> None:
    """Reduce a first detection."""
    fault = FAULTS[entry["fault"]]

    def fails(case: Case) -> bool:
        run = compiled_run(target, case, journal)
        return run is not None and run.judged(fault) is not None

    reduction = reduce(loads(entry["case"]), fails, max_runs=MAX_RUNS, max_seconds=MAX_SECONDS)
    told = {"runs": reduction.runs, "minimal": reduction.minimal, "case": dump(reduction.case)}
    journal.write(reduced={"fault": fault.name, "seed": entry["seed"], **told})


def work(path: Path, seeds: Sequence[int], names: Sequence[str], cases: int, reduced: Sequence[int]) -> None:
    """Search all seeds, then reduce what was found, going on from the journal."""
    journal = Journal(path)
    target = open_target(TargetConfig("tt", TOPOLOGY))
    faults = [FAULTS[name] for name in names]
    for seed in seeds:
        if seed not in journal.of("searched"):
            search(target, seed, faults, cases, journal)
    done = {(entry["fault"], entry["seed"]) for entry in journal.of("reduced")}
    for entry in journal.of("found"):
        if entry["seed"] in reduced and (entry["fault"], entry["seed"]) not in done:
            shrink(target, entry, journal)


# --- all of them -----------------------------------------------------------------------------------------------------


def started(options: argparse.Namespace, number: int, folder: Path) -> subprocess.Popen[bytes]:
    """A process with a TMPDIR of its own: two TT plugins in one get into each other's way."""
    temporary = folder / f"tmp{number}"
    temporary.mkdir(exist_ok=True)
    arguments = ["--journal", str(folder / f"journal{number}"), "--number", str(number)]
    for name in ("first-seed", "seeds", "cases", "processes", "faults", "reduced-seeds"):
        arguments += [f"--{name}", str(getattr(options, name.replace("-", "_")))]
    with (folder / f"log{number}").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdout=log,
            stderr=log,
            env=os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[2])},
        )


def run_all(options: argparse.Namespace, folder: Path) -> list[Journal]:
    """Start the processes, and start again what the compiler ends, as long as it gets on."""
    journals = [folder / f"journal{number}" for number in range(options.processes)]
    reached = [_size(journal) for journal in journals]
    running = {number: started(options, number, folder) for number in range(options.processes)}
    while running:
        for number, process in tuple(running.items()):
            try:
                code = process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                continue
            del running[number]
            if code and _size(journals[number]) == reached[number]:
                raise RuntimeError(f"process {number} ended with {code}: see {folder}/log{number}")
            if code:
                reached[number] = _size(journals[number])
                running[number] = started(options, number, folder)
    return [Journal(journal) for journal in journals]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@dataclass(frozen=True)
class Row:
    """What is known of one fault after all seeds."""

    fault: Fault
    seeds: int
    needed: tuple[int, ...]  # cases until the first detection, of the seeds that have one
    rightly_named: int
    reduced: tuple[Case, ...]
    minimal: int

    @property
    def median(self) -> float | None:
        missing = [float("inf")] * (self.seeds - len(self.needed))
        middle = statistics.median([*self.needed, *missing])
        return None if middle == float("inf") else middle

    def to_plain(self) -> dict[str, Any]:
        return {
            "fault": self.fault.name,
            "stage": self.fault.stage,
            "seeds": self.seeds,
            "cases": list(self.needed),
            "median": self.median,
            "stage_right": self.rightly_named,
            "reduced": [dump(case) for case in self.reduced],
            "minimal": self.minimal,
        }


def rows(journals: Sequence[Journal], names: Sequence[str], seeds: int) -> Iterator[Row]:
    found = [entry for journal in journals for entry in journal.of("found")]
    reduced = [entry for journal in journals for entry in journal.of("reduced")]
    for name in names:
        mine = sorted((entry for entry in found if entry["fault"] == name), key=lambda entry: entry["seed"])
        small = sorted((entry for entry in reduced if entry["fault"] == name), key=lambda entry: entry["seed"])
        stage = FAULTS[name].stage
        yield Row(
            FAULTS[name],
            seeds,
            tuple(entry["index"] + 1 for entry in mine),
            sum((entry["stage"], entry["transition"]) == (stage, TRANSITIONS[stage]) for entry in mine),
            tuple(loads(entry["case"]) for entry in small),
            sum(entry["minimal"] for entry in small),
        )


def described(case: Case) -> str:
    ops = " ".join(node.op for node in case.nodes) or "resharding"
    shapes = " ".join(f"{value.spec.dtype}[{','.join(map(str, value.spec.shape))}]" for value in case.inputs)
    return f"{ops}: {shapes} on {case.mesh}"


def report(every: Sequence[Row], console: Console) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("fault", "stage"):
        table.add_column(heading, no_wrap=True)
    for heading in ("found", "median", "worst", "stage right", "1-minimal"):
        table.add_column(heading, justify="right")
    table.add_column("reduced", overflow="fold", ratio=1)
    for row in every:
        smallest = dict.fromkeys(described(case) for case in row.reduced)
        table.add_row(
            row.fault.name,
            row.fault.stage,
            f"{len(row.needed)}/{row.seeds}",
            f"{row.median:g}" if row.median is not None else "-",
            str(max(row.needed)) if row.needed else "-",
            f"{row.rightly_named}/{len(row.needed)}",
            f"{row.minimal}/{len(row.reduced)}",
            "\n".join(smallest),
        )
    console.print(table, markup=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0, help="generators were tuned on seeds 0 to 9")
    parser.add_argument("--cases", type=int, default=300, help="of one seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--faults", default=",".join(FAULTS), help="names; default: all")
    parser.add_argument("--reduced-seeds", type=int, default=10, help="reduce what so many seeds find")
    parser.add_argument("--folder", help="keep journals and logs there, and go on from them; default: a new one")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--journal", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = [name for name in options.faults.split(",") if name]
    if unknown := sorted(set(names) - set(FAULTS)):
        raise CaseError(f"unknown faults {', '.join(unknown)}")
    if options.journal is not None:
        seeds = range(options.first_seed, options.first_seed + options.seeds)[options.number :: options.processes]
        reduced = range(options.first_seed, options.first_seed + options.reduced_seeds)
        work(options.journal, seeds, names, options.cases, reduced)
        return
    folder = Path(options.folder or tempfile.mkdtemp(prefix="detection-"))
    folder.mkdir(exist_ok=True)
    every = list(rows(run_all(options, folder), names, options.seeds))
    if options.json:
        print(json.dumps([row.to_plain() for row in every], indent=2))
    else:
        report(every, Console())


if __name__ == "__main__":
    main()
