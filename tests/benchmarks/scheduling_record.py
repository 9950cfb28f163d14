# SPDX-License-Identifier: Apache-2.0
"""One process that runs the cases of a few seeds and writes down all that a scheduler could go by.

    python tests/benchmarks/scheduling_record.py --folder FOLDER [--seeds 5] [--cases 250] [--every-layout]

One JSON line per case in FOLDER/record: what generation chose, what the case and its compile exercise, the verdict, the
bucket as far as a few runs tell it, and which planted faults it shows. Killed or ended by the compiler it goes on where
it was; the case that ended it is a crash. `scheduling.py` replays the record.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detection import MESHES, TOPOLOGY, Run

import fuzz.strategies.cases as generation
from fuzz.case import Case, CaseError, MeshfuzzError
from fuzz.corpus import Entry, entries
from fuzz.coverage import features
from fuzz.investigation import starting_point
from fuzz.mechanism import mechanism
from fuzz.ops.scope import Scope
from fuzz.payloads import values
from fuzz.settings import CORPUS
from fuzz.signature import last_meaningful_line, signature
from fuzz.strategies.motifs import MOTIFS
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space
from fuzz.triage import pattern
from oracles.faults import FAULTS, Fault
from oracles.judge import open_target
from oracles.outcome import MISMATCHING, Outcome, Verdict
from oracles.reference import reference
from oracles.stages.program import Function, Operation
from oracles.stages.staged import Staged
from oracles.stagewise import judge_stages
from oracles.targets.base import Target, TargetFailure
from oracles.targets.config import TargetConfig

STUCK = 90.0  # seconds after which a case is given up, with its process
GROUPS = ("replica_groups", "source_target_pairs", "cluster_axis")
EVERY_FAULT = 100  # cases of a seed; after these only the faults that are rarely shown, to save time
COMMON_FAULTS = frozenset(
    {
        "stale_last_row",
        "reversed_all_gather",
        "unaligned_all_gather",
        "dropped_all_gather",
        "swapped_cluster_axis",
        "gathered_through_bf16",
        "flat_index_bf16",
        "neighbour_chunk",
        "concatenated_through_bf16",
    }
)
HUGE = 1 << 22  # elements: executing a stage takes seconds, so only faults that show nowhere else are planted
INDEX_FAULTS = frozenset({"flat_index_f32"})
BLOCK = 50  # cases of one seed before the next seed's turn, so that a record that is cut short is even


# --- what generation chose -------------------------------------------------------------------------------------------

_chosen: list[str] = []


def watch_generation() -> None:
    """Note the first motif or op that is built into each case."""

    def watched(name: str, build: Callable[[Scope], Any]) -> Callable[[Scope], Any]:
        def noted(scope: Scope) -> Any:
            _chosen.append(name)
            return build(scope)

        return noted

    plain = generation._weighted_ops
    vars(generation).update(
        MOTIFS=tuple(replace(motif, build=watched(f"motif {motif.name}", motif.build)) for motif in MOTIFS),
        _weighted_ops=lambda names: tuple(replace(op, draw=watched(f"op {op.name}", op.draw)) for op in plain(names)),
    )


def drawn(space: Space, seed: int, index: int) -> tuple[Case, str, float]:
    """The case, the choice it began with, and the seconds it took."""
    _chosen.clear()
    began = time.thread_time()
    case = sample(space, seed, index)
    return case, _chosen[0], time.thread_time() - began


def layout(case: Case) -> str:
    """Whether anything is split; then whether each mesh axis splits one dim, the same in all tensors."""
    asked = [value.sharding for value in case.inputs]
    asked += [node.sharding for node in case.nodes if node.sharding is not None]
    asked += [output.sharding for output in case.outputs if output.sharding is not None]
    split = {
        (axis, dim)
        for sharding in asked
        for dim, axes in enumerate(sharding)
        for axis in axes
        if case.mesh.sizes[axis] > 1
    }
    if not split:
        return "whole"
    return "aligned" if len(split) == len({axis for axis, _ in split}) == len({dim for _, dim in split}) else "crossed"


# --- what a compile exercises ----------------------------------------------------------------------------------------


def stage_features(staged: Staged) -> Iterator[str]:
    """Ops, pairs of ops one of which reads the other, and collectives with their groups, by stage and element type."""
    for stage, program in staged.programs.items():
        for function in program.functions.values():
            yield from (f"{stage} {word}" for word in _function_features(function))


def _function_features(function: Function) -> Iterator[str]:
    makers: dict[int, str] = {}
    for op in function.operations:
        for region in op.regions:
            yield from _function_features(region)
        types = [type_ for type_ in op.types if type_ is not None]
        kind = f"{types[0].element} rank {len(types[0].shape)}" if types else "-"
        yield f"{op.name} {kind}"
        yield from (f"{makers[number]} > {op.name} {kind}" for number in op.operands if number in makers)
        yield from (f"{op.name} {key} {_shape(op, key)}" for key in GROUPS if key in op.attributes)
        makers.update(dict.fromkeys(op.results, op.name))


def _shape(op: Operation, key: str) -> str:
    value = op.attributes[key]
    shape = getattr(value, "shape", None)
    return str(tuple(shape) if shape is not None else value)[:60]


def short(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()[:10]


# --- one case --------------------------------------------------------------------------------------------------------


def bucket(target: Target, known: Sequence[Entry], number: int, case: Case, outcome: Outcome) -> str:
    """The key of the finding that this failure would lead to, without reducing it.

    As a campaign tells it: by signature and pattern, if a regression of the corpus has both; else by the step and the
    operation of the smallest part of the graph that is wrong. To explain it would take longer than all the rest, and
    without an explanation a finer name would split one bug into many.
    """

    def run(smaller: Case) -> Outcome:
        try:
            return judged(target, smaller)[0]
        except MeshfuzzError as error:
            return Outcome(Verdict.INVALID, "reference", str(error))

    start = starting_point(number, case, outcome, run)
    alike = [entry for entry in known if entry.about.fails == start.signature]
    if outcome.verdict not in MISMATCHING:
        return alike[0].about.bucket if alike else start.signature
    seen = pattern(start.case)
    for entry in alike:
        if entry.case.nodes and pattern(entry.case).covers(seen):
            return entry.about.bucket
    where, _, how = mechanism(start.case, start.outcome).partition(": ")
    return f"{where}: {how}" if start.outcome.number_format else where


def judged(target: Target, case: Case) -> tuple[Outcome, Run | None]:
    inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
    expected = dict(reference(case, inputs))
    try:
        observation = target.run(case, inputs, lambda _: None)
    except TargetFailure as failure:
        return Outcome(failure.verdict, failure.stage, str(failure)), None
    if observation.compiled is None:
        return Outcome(Verdict.NOT_JUDGED), None
    outcome = judge_stages(case, expected, observation.compiled, observation.operations)
    return outcome, Run(case, expected, observation.compiled)


def recorded(target: Target, known: Sequence[Entry], case: Case, number: int) -> dict[str, Any]:
    """What there is to know of a case that is run."""
    began = time.perf_counter()
    try:
        outcome, run = judged(target, case)
    except MeshfuzzError as error:
        return {"verdict": "INVALID", "message": str(error)}
    ran = time.perf_counter()
    told: dict[str, Any] = {"verdict": str(outcome.verdict), "seconds": ran - began}
    if run is not None:
        told["stages"] = sorted({short(word) for word in stage_features(run.compiled.staged)})
        told["faults"] = [fault.name for fault in faults_for(case, number) if run.judged(fault) is not None]
    planted = time.perf_counter()
    if outcome.verdict is not Verdict.PASS:
        told["signature"] = signature(outcome)
    if outcome.verdict.failing:
        told["bucket"] = bucket(target, known, number, case, outcome)
    return told | {"fault_seconds": planted - ran, "bucket_seconds": time.perf_counter() - planted}


def faults_for(case: Case, number: int) -> Iterator[Fault]:
    """Which are worth their time."""
    huge = any(value.spec.elements > HUGE for value in case.inputs)
    for fault in FAULTS.values():
        if fault.name in INDEX_FAULTS if huge else number < EVERY_FAULT or fault.name not in COMMON_FAULTS:
            yield fault


def before_it_runs(case: Case, arm: str, seconds: float, known: Sequence[Entry]) -> dict[str, Any]:
    """What can be known of a case without running it."""
    seen = pattern(case)
    return {
        "arm": arm,
        "mesh": str(case.mesh),
        "layout": layout(case),
        "ops": [node.op for node in case.nodes],
        "features": sorted(" | ".join(map(str, feature)) for feature in features(case)),
        "patterns": [entry.about.bucket for entry in known if entry.case.nodes and pattern(entry.case).covers(seen)],
        "generation": seconds,
    }


# --- all of them -----------------------------------------------------------------------------------------------------


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def work(path: Path, seeds: Sequence[int], cases: int) -> None:
    """Run what the record does not hold yet."""
    watch_generation()
    done = {(entry["seed"], entry["number"]) for entry in read(path)}
    known = [entry for entry in entries(CORPUS) if entry.is_regression]
    target = open_target(TargetConfig("tt", TOPOLOGY))
    space = Space(MESHES)
    with path.open("a") as stream:
        for first in range(0, cases, BLOCK):
            for seed in seeds:
                for number in range(first, min(first + BLOCK, cases)):
                    if (seed, number) in done:
                        continue
                    try:
                        case, arm, seconds = drawn(space, seed, number)
                    except CaseError:
                        continue
                    entry = {"seed": seed, "number": number} | before_it_runs(case, arm, seconds, known)
                    path.with_suffix(".now").write_text(json.dumps(entry))
                    faulthandler.dump_traceback_later(STUCK, exit=True)
                    entry |= recorded(target, known, case, number)
                    faulthandler.cancel_dump_traceback_later()
                    stream.write(json.dumps(entry) + "\n")
                    stream.flush()
                    path.with_suffix(".now").unlink()


def run_all(folder: Path, arguments: Sequence[str]) -> None:
    """Start the work, and start it again after each case that the compiler dies of."""
    temporary, log, now = folder / "tmp", folder / "log", folder / "record.now"
    now.unlink(missing_ok=True)  # of a recording that was stopped: that case did not end it
    while True:
        temporary.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            code = subprocess.run(
                [sys.executable, __file__, *arguments, "--inside"],
                stdout=output,
                stderr=output,
                env=os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[2])},
            ).returncode
        if code == 0:
            return
        if not now.exists():
            raise RuntimeError(f"ended with {code} before its first case: see {log}")
        said = log.read_text(errors="replace")
        stuck = "Timeout (" in said
        outcome = Outcome(Verdict.HANG if stuck else Verdict.CRASH, "compile", "" if stuck else _last_words(said, code))
        name = signature(outcome)
        entry = json.loads(now.read_text()) | {"verdict": str(outcome.verdict), "signature": name, "bucket": name}
        with (folder / "record").open("a") as stream:
            stream.write(json.dumps(entry) + "\n")
        now.unlink()


def _last_words(said: str, code: int) -> str:
    return last_meaningful_line(said[-20000:]) or f"signal {-code}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, required=True, help="the record is kept there, and gone on with")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", type=int, default=250, help="of one seed")
    parser.add_argument("--every-layout", action="store_true", help="do not draw other layouts for whole ones")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        if options.every_layout:
            generation.WHOLE_PERCENT = 100
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        work(options.folder / "record", seeds, options.cases)
    else:
        options.folder.mkdir(parents=True, exist_ok=True)
        run_all(options.folder, sys.argv[1:])


if __name__ == "__main__":
    main()
