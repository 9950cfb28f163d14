# SPDX-License-Identifier: Apache-2.0
"""The story this project began with, run from end to end: a router, two planted bugs, and who sees what of them.

Nothing is scripted: the seeds of `corpus/seeds` go through the worker pool, the judge and the reducer as any case does.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from fuzz.case import Case, Mesh
from fuzz.case_file import load
from fuzz.finding import Finding
from fuzz.investigation import Start, investigate, starting_point
from fuzz.ops.core import Moves, get, source_line
from fuzz.payloads import decode_position
from fuzz.pool import Pool
from fuzz.reduce.reducer import reduce
from oracles.explanation import Explanation
from oracles.faults import FAULTS
from oracles.outcome import UNEXPLAINED, Mismatch, Outcome
from oracles.targets.config import TargetConfig

SEEDS = Path(__file__).parents[1] / "corpus" / "seeds"
NATURAL, WORKAROUND = "glm-router", "glm-router-one-hot"
FORMS = {NATURAL: "scatter, gather", WORKAROUND: "one_hot"}
PLANTED = ("local_row_iota", "flat_index_11_bits")
# The seeds ask for four mesh rows; the compiler lays them over any four devices. 2x2 is prepared on most machines.
TARGET = TargetConfig("tt", Mesh.parse("2x2"))
USUAL = 0.99  # the PCC at which tt-xla's tests pass
REDUCTION = 45.0  # seconds; one after the other they took 18 and 11 on a busy machine
WIDTH = 80


@dataclass(frozen=True, slots=True)
class Told:
    """One fault, or none, and what became of each form of the router."""

    fault: str
    outcomes: dict[str, Outcome]  # by seed
    start: Start | None = None  # the first wrong op of the natural form
    finding: Finding | None = None
    explanations: tuple[Explanation, ...] = ()  # of the natural form, and of its first wrong op


def glm_router(directory: Path) -> Iterator[str]:
    """The story, line by line. `directory`: for the workers' logs. Raises TargetUnavailable."""
    seeds = {name: load(SEEDS / f"{name}.yaml") for name in FORMS}
    natural = seeds[NATURAL]
    yield from _wrapped(
        f"The router of GLM-4.7, mesh {natural.mesh}: "
        + ", ".join(f"{value.name} {list(value.spec.shape)} {value.spec.dtype}" for value in natural.inputs)
        + ", rows sharded like the batch. The TT compiler compiles it for a mock mesh; every stage it writes is "
        "executed in software. The faults are injected: the compiler does not have them.",
    )
    faults = ("", *PLANTED)
    # All at once: most of the time goes into starting three workers.
    with ThreadPoolExecutor(len(faults)) as threads:
        for told in threads.map(partial(tell, seeds=seeds, directory=directory), faults):
            yield from _chapter(told, seeds)


def tell(fault: str, seeds: dict[str, Case], directory: Path) -> Told:
    """Run all forms with a fault planted, and investigate the natural one if it fails."""
    with Pool(replace(TARGET, inject=fault), directory / (fault or "plain"), workers=1) as pool:
        outcomes = {name: pool.run(case) for name, case in seeds.items()}
        if not outcomes[NATURAL].verdict.failing:
            return Told(fault, outcomes)
        start = starting_point(0, seeds[NATURAL], outcomes[NATURAL], pool.run)
        reducer = partial(reduce, max_runs=1000, max_seconds=REDUCTION)
        finding = investigate(start, pool.run, reducer, pool.explain)
        return Told(fault, outcomes, start, finding, (pool.explain(seeds[NATURAL]), pool.explain(start.case)))


def _chapter(told: Told, seeds: dict[str, Case]) -> Iterator[str]:
    yield ""
    if told.fault:
        yield f"INJECTED {told.fault}, like {FAULTS[told.fault].like}"
        yield from _wrapped(FAULTS[told.fault].doc, "  ")
    else:
        yield "NOTHING INJECTED"
    for name, outcome in told.outcomes.items():
        stages = ", ".join(f"{stage} {said}" for stage, said in outcome.stages.items())
        yield from _wrapped(f"{FORMS[name]:16} {outcome.verdict}: {stages or outcome.message}", "  ")
    if told.start is not None and told.finding is not None:
        yield from _usual_check(seeds[NATURAL], told.outcomes[NATURAL])
        yield from _seen(seeds[NATURAL], told.outcomes[NATURAL])
        yield from _explained(told, told.start, told.finding)


def _usual_check(case: Case, outcome: Outcome) -> Iterator[str]:
    yield f"  the usual check (PCC >= {USUAL}) of {FORMS[NATURAL]}"
    for output in case.outputs:
        if output.name in outcome.coefficients:
            pcc = outcome.coefficients[output.name]
            yield f"    {output.name:10} PCC {pcc:.8f}  {'passes' if pcc >= USUAL else 'fails'}"


def _seen(case: Case, outcome: Outcome) -> Iterator[str]:
    yield "  meshfuzz: wrong elements"
    for mismatch in outcome.mismatches:
        row = case.mesh.coordinate(mismatch.device)[case.mesh.axes[0]]
        line = f"{mismatch.output:10} mesh row {row}: {mismatch.wrong:3} of {mismatch.total}"
        yield from _wrapped(line + f"; {_first_sample(case, mismatch)}", "    ")


def _first_sample(case: Case, mismatch: Mismatch) -> str:
    """The first wrong element; as positions in what was read, if its values tell them."""
    place, wanted, got = mismatch.samples[0]
    node = case.node(mismatch.output)
    semantics = None if node is None else get(node.op).semantics
    table = None
    if node is not None and isinstance(semantics, Moves) and len(semantics.data) == 1:
        table = case.input(node.operands[semantics.data[0]])
    if table is None or table.payload.kind != "position":
        return f"{place} is {got}, not {wanted}"
    numbers = torch.tensor([float(got), float(wanted)], dtype=torch.float64)
    held, meant = decode_position(table.spec.dtype, table.spec.shape, numbers).tolist()
    return f"{place} is {table.name}[{held}], not {table.name}[{meant}]"


def _explained(told: Told, start: Start, finding: Finding) -> Iterator[str]:
    # What comes after the first wrong op reads wrong values; no model explains that.
    sentences = [explanation.sentence for explanation in told.explanations]
    known = next((sentence for sentence in sentences if not sentence.startswith(UNEXPLAINED)), sentences[-1])
    facts = {
        "first wrong op": start.outcome.op,
        "guilty step": start.outcome.transition,
        "diagnosis": known,
        "bucket": finding.key,
    }
    for name, fact in facts.items():
        yield from _wrapped(f"{name:15} {fact}", "    ")
    yield f"    minimal case    {finding.runs} runs, {'1-minimal' if finding.minimal else 'stopped by its budget'}"
    yield from (f"      {line}" for line in case_lines(finding.case))
    if finding.explanation is not None:
        yield from _wrapped(f"{'its diagnosis':15} {finding.explanation.sentence}", "    ")


def case_lines(case: Case) -> Sequence[str]:
    """A case as a reader would write it down."""
    lines = [f"mesh {case.mesh}"]
    for value in case.inputs:
        split = [f"dim {dim} over {' '.join(axes)}" for dim, axes in enumerate(value.sharding) if axes]
        payload = value.payload.kind if not value.payload.high else f"{value.payload.kind} below {value.payload.high}"
        lines.append(", ".join([f"{value.name}: {value.spec.dtype} {list(value.spec.shape)}", payload, *split]))
    return [*lines, *(f"{node.name} = {source_line(node)}" for node in case.nodes)]


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "    " * bool(indent))
