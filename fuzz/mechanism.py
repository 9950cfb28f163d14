# SPDX-License-Identifier: Apache-2.0
"""What a bucket is named after: the mechanism that fails, so that one cause gives one finding.

Many torch ops become the same operation of the compiler (index_add, index_put and scatter_value are all a scatter),
and many ops fail only because an operand is resharded wrongly on the way. A reduced wrong case is therefore named by
the compiler's operation and the fault model that explains it; what fails with less of the graph is blamed first, one op
alone, then a mere reshard. A rejected program is named by what the compiler says.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from fuzz.case import Case, Input, Output, Payload, Sharding, TensorSpec, is_uneven, replicated
from fuzz.ops.core import specs
from fuzz.reduce.edits import index_extents, likely_shardings
from fuzz.signature import MISTAKEN_FOR, late_subject, number_format_words, signature
from oracles.explanation import RESHARDINGS, Explanation
from oracles.outcome import MISMATCHING, Outcome, Verdict

# The op a lowered graph is about, first match wins: the others in it prepare indices or cut results for that one.
SUBJECTS = (
    "scatter",
    "gather",
    "sort",
    "reduce_window",
    "dot_general",
    "reverse",
    "dynamic_update_slice",
    "dynamic_slice",
    "concatenate",
    "pad",
    "reduce",
    "slice",
)


def mechanism(case: Case, outcome: Outcome, explanation: Explanation | None = None) -> str:
    """The bucket key of a reduced case: where, what, and how. An injected fault is always named.

    How is the fault model that explains the numbers; where none does, the operands that are sharded.
    """
    if outcome.verdict not in MISMATCHING:
        return signature(outcome)
    planted = f"injected {outcome.injected}: " if outcome.injected else ""
    subject = next((name for name in SUBJECTS if name in outcome.operations), outcome.op)
    model = explanation.model if explanation is not None else ""
    if not case.nodes or model in RESHARDINGS:
        subject = "resharding"
    elif (became := late_subject(outcome)) and became != subject:
        subject = f"{subject} as {became}"
    where = f"{outcome.verdict} {outcome.transition}, " if outcome.transition else f"{outcome.verdict} "
    if outcome.number_format:
        # Digits are lost wherever the values lie: sharding has no part in it.
        return f"{planted}{where}{subject}: {number_format_words(outcome)}"
    if late_subject(outcome) in MISTAKEN_FOR:
        return f"{planted}{where}{subject}"
    return f"{planted}{where}{subject}: {model or ', '.join(_layout(case)) or 'nothing'}{'' if model else ' sharded'}"


def _layout(case: Case) -> list[str]:
    """Which sides of the graph are sharded, and how unusually."""
    first = {node.operands[0] for node in case.nodes if node.operands} or {output.name for output in case.outputs}
    sharded = [value for value in case.inputs if any(value.sharding)]
    demands = [node.sharding for node in case.nodes] + [output.sharding for output in case.outputs]
    layout = []
    others = any(value.name not in first for value in sharded)
    # A demand on the result reaches the first operand by propagation: to the compiler both are one layout.
    if any(value.name in first for value in sharded) or (
        not others and any(demand and any(demand) for demand in demands)
    ):
        layout.append("data")
    if others:
        layout.append("other operands")
    shardings = [value.sharding for value in sharded] + [demand for demand in demands if demand]
    if any(len(axes) > 1 for sharding in shardings for axes in sharding):
        layout.append("two axes on one dim")
    if any(is_uneven(value.spec.shape, value.sharding, case.mesh) for value in sharded):
        layout.append("unevenly")
    return layout


def blame_resharding(case: Case, run: Callable[[Case], Outcome]) -> tuple[Case, Outcome] | None:
    """A case without any op that is wrong all the same, if the reduced case's shardings contain one."""
    return _first_wrong(reshardings(case), run)


def blame_op(case: Case, run: Callable[[Case], Outcome]) -> tuple[Case, Outcome] | None:
    """One op of a larger case, if it is wrong alone when its result is laid out by some axes of the case.

    In the larger case its users laid it out, and could not be taken away.
    """
    return _first_wrong(single_ops(case), run)


def _first_wrong(candidates: Iterable[Case], run: Callable[[Case], Outcome]) -> tuple[Case, Outcome] | None:
    for candidate in candidates:
        outcome = run(candidate)
        if outcome.verdict is Verdict.WRONG:
            return candidate, outcome
    return None


def single_ops(case: Case) -> Iterator[Case]:
    """Each op of a graph with inputs for operands, first to last, its result split along each dim in turn."""
    if len(case.nodes) < 2:
        return
    known, layout = specs(case), likely_shardings(case)
    axes = [(axis,) for axis in case.used_axes]
    for node in case.nodes:
        inputs = tuple(
            value if (value := case.input(name)) is not None else _holding(case, name, known[name], layout[name])
            for name in dict.fromkeys(node.operands)
        )
        rank = len(known[node.name].shape)
        for sharding in (None, *(_split(rank, dim, over) for over in axes for dim in range(rank))):
            plain, bound = replace(node, sharding=None), replace(node, sharding=sharding)
            yield replace(case, inputs=inputs, nodes=(plain,), outputs=(Output(node.name, sharding),))
            yield replace(case, inputs=inputs, nodes=(bound,), outputs=(Output(node.name),))


def _holding(case: Case, name: str, spec: TensorSpec, sharding: Sharding) -> Input:
    """An input in place of a computed value: positions where it is data, else numbers that fit as indices."""
    extent = index_extents(case).get(name)
    payload = Payload("position") if extent is None else Payload("monotone", 0, extent)
    return Input(name, spec, Payload("mask") if spec.dtype == "bool" else payload, sharding)


def _split(rank: int, dim: int, axes: tuple[str, ...]) -> Sharding:
    return tuple(axes if other == dim else () for other in range(rank))


def reshardings(case: Case) -> Iterator[Case]:
    """Each input of the case, moved between any two layouts that the case asks for, or gathered whole."""
    if not case.nodes:
        return
    demands = [node.sharding for node in case.nodes] + [output.sharding for output in case.outputs]
    for value in case.inputs:
        rank = len(value.sharding)
        asked = [value.sharding, *(_of_rank(demand, rank) for demand in demands if demand), replicated(rank)]
        layouts = list(dict.fromkeys(layout for layout in asked if layout is not None))
        for before, after in itertools.permutations(layouts, 2):
            if any(before):
                yield _reshard(case, value, before, after)


def _of_rank(sharding: Sharding, rank: int) -> Sharding | None:
    """The sharding of a value with more or fewer unsharded leading dims; None if a sharded one would be lost."""
    missing = rank - len(sharding)
    if missing >= 0:
        return replicated(missing) + sharding
    return None if any(sharding[:-missing]) else sharding[-missing:]


def _reshard(case: Case, value: Input, before: Sharding, after: Sharding) -> Case:
    # Values that tell positions apart: an index payload may repeat, and hide that parts changed places.
    payload = value.payload if value.spec.dtype == "bool" else Payload("position")
    plain = Input("x0", value.spec, payload, before)
    return replace(case, inputs=(plain,), nodes=(), outputs=(Output("x0", after),))
