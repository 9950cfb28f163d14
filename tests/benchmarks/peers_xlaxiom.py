# SPDX-License-Identifier: Apache-2.0
"""The driver of xlaxiom for `peers.py`: its CPU campaign (`xlaxiom/campaign.py`, run_cpu_campaign), part by part.

No jax at the top: an isolated comparison spawns a process that imports this module again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import xlaxiom
from peers_driver import Clock, Graph, mentions, serve, versions
from xlaxiom.campaign import CampaignConfig, run_cpu_campaign
from xlaxiom.comparison import Classification, compare
from xlaxiom.execution import execute_array_api, execute_numpy
from xlaxiom.generation import GenerationConfig, generate
from xlaxiom.operations import OPERATION_SPECS, OPS
from xlaxiom.pipeline import run_comparison
from xlaxiom.safety import compare_isolated

# All that its generator takes: its motifs of floats and of integers with the largest rank, and each op alone
# (GenerationConfig.preferred_op, which its pytest plugin offers). Its campaign draws float motifs of rank 2 only.
MAX_RANK = 6
VARIANTS = ((None, "float32"), (None, "int32"), *((op, "float32") for op in sorted(OPS)))
TILE = 32
MESH = r"(from|import) .*collective|PartitionSpec|NamedSharding|all_reduce"


def drawn(width: str, index: int) -> Any:
    """`width` is `campaign`: what its campaign draws; or `widest`: all variants in turn."""
    if width == "campaign":
        return generate(GenerationConfig(seed=index))
    seed, number = divmod(index, len(VARIANTS))
    op, dtype = VARIANTS[number]
    return generate(GenerationConfig(seed=seed, max_rank=MAX_RANK, dtype=dtype, preferred_op=op))


def graph(workload: Any) -> Graph:
    places = {node.output: place for place, node in enumerate(workload.nodes)}
    return [(node.op, [places[name] for name in node.inputs if name in places]) for node in workload.nodes]


def generate_cases(width: str, seed: int, first: int, count: int, confirm: int) -> dict[str, Any]:
    """Seconds of drawing; of the first `confirm` cases, how many NumPy executes."""
    clock = Clock()
    graphs = []
    executed = 0
    for index in range(first, first + count):
        with clock.running():
            workload = drawn(width, seed * 100_000 + index)
        graphs.append(graph(workload))
        if index - first < confirm:
            executed += execute_numpy(workload).status.value == "ok"
    return {"seconds": clock.seconds, "graphs": graphs, "confirmed": min(confirm, count), "valid": executed}


def compare_cases(how: str, first: int, count: int) -> dict[str, Any]:
    """Seconds of drawing and comparing. `how`: in process or isolated; once, or twice as its campaign does."""
    clock = Clock()
    if how.startswith("campaign"):
        config = CampaignConfig(cases=count, seed=first, max_duration_s=900.0, isolate=how.endswith("isolated"))
        with clock.running():
            counts = run_cpu_campaign(config)["numpy_vs_jit_counts"]
        return {"seconds": clock.seconds, "cases": count, "valid": judged(counts)}
    counts = dict.fromkeys((classification.value for classification in Classification), 0)
    for index in range(first, first + count):
        with clock.running():
            workload = drawn("campaign", index)
            if how == "isolated":
                record = compare_isolated(workload, "jax-jit").record or {"classification": "inconclusive"}
            else:
                record = run_comparison(workload, "jax-jit").to_dict()
        counts[record["classification"]] += 1
    return {"seconds": clock.seconds, "cases": count, "valid": judged(counts)}


def judged(counts: dict[str, int]) -> int:
    """Cases that were executed and compared."""
    return counts["pass"] + counts["numerical_discrepancy"]


# --- planted faults: the same change to the same op, in the adapter that xlaxiom offers for other backends -----------


def sum_for_extremum(x: Any, axis: Any, keepdims: bool) -> Any:
    return numpy.sum(x, axis=axis, keepdims=keepdims).astype(x.dtype)


def padded(right: Callable[..., Any]) -> Callable[..., Any]:
    """Tile padding that holds ones enters along the reduced dims among the last two."""

    def wrong(x: Any, axis: Any, keepdims: bool) -> Any:
        axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        dims = {dim % x.ndim for dim in axes}
        amounts = [(0, -x.shape[dim] % TILE if dim in dims and dim >= x.ndim - 2 else 0) for dim in range(x.ndim)]
        return right(numpy.pad(x, amounts, constant_values=1), axis=axis, keepdims=keepdims)

    return wrong


FAULTS: dict[str, dict[str, Callable[..., Any]]] = {
    "sum_for_extremum": {"max": sum_for_extremum, "min": sum_for_extremum},
    "padding_in_sum": {"sum": padded(numpy.sum), "mean": padded(numpy.mean)},
}


def planted(fault: str) -> Any:
    """NumPy with the fault."""
    right = {spec.api_name: getattr(numpy, spec.api_name) for spec in OPERATION_SPECS.values()}
    return SimpleNamespace(**(right | FAULTS[fault]))


def detect(width: str, seed: int, cases: int) -> dict[str, Any]:
    """Cases until each fault is detected, and in how many of those drawn there was a place for it."""
    found: dict[str, int] = {}
    places = dict.fromkeys(FAULTS, 0)
    used: set[str] = set()
    for index in range(cases):
        workload = drawn(width, seed * 100_000 + index)
        ops = {node.op for node in workload.nodes}
        used |= ops
        for fault in FAULTS:
            place = not ops.isdisjoint(FAULTS[fault])
            places[fault] += place
            if not place or fault in found:
                continue
            wrong = execute_array_api(workload, planted(fault), backend="planted")
            if compare(wrong, execute_numpy(workload), workload.policy).classification is not Classification.PASS:
                found[fault] = index + 1
    return {"found": found, "places": places, "drawn": cases, "ops": sorted(used)}


def about() -> dict[str, Any]:
    """Versions, the ops it draws from, which faults have an emulation, and modules that use its sharding simulator."""
    package = Path(xlaxiom.__file__).parent
    unused: Sequence[str] = ("collective.py",)
    known = {"ops": sorted(OPS), "emulated": list(FAULTS), "mesh": mentions(package, MESH, without=unused)}
    return {"versions": versions("xlaxiom", "jax", "jaxlib", "numpy"), **known}


if __name__ == "__main__":
    serve({"about": about, "generate": generate_cases, "compare": compare_cases, "detect": detect})
