# SPDX-License-Identifier: Apache-2.0
"""What all passes share: making one valid, strictly simpler candidate out of an edit, and facts about a graph.

A pass says what to change; `propose` removes what the change left without use, narrows indices to the dims they now
index, and drops the candidate where torch rejects the graph or nothing became simpler.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

from fuzz.case import Case, CaseError, Node, Payload, Sharding, TensorSpec, replicated
from fuzz.ops.core import FLOATS, INTEGERS, get, specs
from fuzz.reduce.order import RANGED_KINDS, canonical_names, complexity

T = TypeVar("T")

# Inputs of up to this many elements depend on the seed; larger ones meet all kinds of numbers with any.
FEW = 4
SEEDS = (0, 1, 2, 3)
SEEDED_KINDS = ("small", "mask", "permutation")


def propose(case: Case, **changes: Any) -> Iterator[Case]:
    """The case with some of its fields replaced, if that is a valid and strictly simpler case; otherwise nothing."""
    if changes and all(getattr(case, field) == value for field, value in changes.items()):
        return
    candidate = consistent(case, **changes)
    if candidate is not None and complexity(candidate) < complexity(case):
        yield candidate


def consistent(case: Case, **changes: Any) -> Case | None:
    """The case with some of its fields replaced, without what that leaves unused; None if that is no valid case."""
    try:
        candidate = renamed(narrowed(replace(case, **changes).live(), case))
        # A result without elements is right whatever was computed, so none may become empty.
        emptied = _empty(candidate) and not _empty(case)
    except CaseError:
        return None
    holds = (candidate.nodes or not case.nodes) and not emptied and _payloads_exist(candidate)
    return candidate if holds else None


def refilled(case: Case, changed: Case) -> Iterator[Case]:
    """A changed case, and the same with other numbers in inputs of which little is left.

    What fails for some numbers only would otherwise need as many elements as it takes to meet them.
    """
    yield changed
    several = sum(value.payload.kind == "position" for value in changed.inputs) > 1
    for at, value in enumerate(changed.inputs):
        if value.spec.elements > FEW:
            continue
        for payload in _others(value.payload, several):
            inputs = exchanged(changed.inputs, at, replace(value, payload=payload))
            yield from propose(case, inputs=inputs, nodes=changed.nodes, outputs=changed.outputs)


def _others(payload: Payload, several: bool) -> Iterator[Payload]:
    if payload.kind == "position" and several:
        # Positions of small inputs are the same in all of them.
        yield Payload("small", seed=1)
    if payload.kind in SEEDED_KINDS:
        yield from (replace(payload, seed=seed) for seed in SEEDS if seed != payload.seed)


def exchanged(items: tuple[T, ...], at: int, *new: T) -> tuple[T, ...]:
    """The items with the one at a position replaced, by none or several."""
    return (*items[:at], *new, *items[at + 1 :])


def renamed(case: Case) -> Case:
    """The same case with canonical names. Names mean nothing to a target, so this needs no run."""
    names = canonical_names(case)
    if all(old == new for old, new in names.items()):
        return case
    return replace(
        case,
        inputs=tuple(replace(value, name=names[value.name]) for value in case.inputs),
        nodes=tuple(
            replace(node, name=names[node.name], operands=tuple(names[operand] for operand in node.operands))
            for node in case.nodes
        ),
        outputs=tuple(replace(output, name=names[output.name]) for output in case.outputs),
    )


def narrowed(case: Case, before: Case) -> Case:
    """The case with index inputs cut to the dims they index, where they were in range before.

    An index out of range stays so: for ops that define it, it may be what fails.
    """
    extents, known = index_extents(case), index_extents(before)
    payloads = {value.name: value.payload for value in before.inputs}
    inputs = []
    for value in case.inputs:
        payload, extent = value.payload, extents.get(value.name)
        old, was = known.get(value.name), payloads.get(value.name, payload)
        if (
            value.payload.kind in RANGED_KINDS
            and extent is not None
            and (old is None or -old <= was.low <= was.high <= old)
        ):
            value = replace(
                value, payload=replace(payload, low=max(payload.low, -extent), high=min(payload.high, extent))
            )
        inputs.append(value)
    return replace(case, inputs=tuple(inputs))


def _empty(case: Case) -> bool:
    """Whether any value has no elements. Raises CaseError for a graph torch rejects."""
    return any(spec.elements == 0 for spec in specs(case).values())


def _payloads_exist(case: Case) -> bool:
    """Whether every range holds an integer, and every permutation enough of them."""
    for value in case.inputs:
        payload, shape = value.payload, value.spec.shape
        count = payload.high - payload.low
        if payload.kind in RANGED_KINDS and payload.kind != "constant" and count < 1:
            return False
        if payload.kind == "permutation" and (payload.dim >= len(shape) or shape[payload.dim] > count):
            return False
    return True


# --- facts about a graph ---------------------------------------------------------------------------------------------


def index_extents(case: Case) -> dict[str, int]:
    """For values used as indices, also through later integer ops: the smallest extent they index.

    Raises CaseError for a graph torch rejects.
    """
    known = specs(case)
    extents: dict[str, int] = {}
    for node in reversed(case.nodes):
        for position, name in enumerate(node.operands):
            found = indexed_extent(node, position, known)
            if found is not None and known[name].dtype in FLOATS:
                # Not all meta kernels say so.
                raise CaseError(f"node {node.name!r}: {known[name].dtype} cannot index")
            if found is None and {known[name].dtype, known[node.name].dtype} <= set(INTEGERS):
                found = extents.get(node.name)
            if found is not None:
                extents[name] = min(found, extents.get(name, found))
    return extents


def indexed_extent(node: Node, position: int, known: dict[str, TensorSpec]) -> int | None:
    """Size of what an operand holds positions in; None for an operand that is no index."""
    op = get(node.op)
    addressed = dict(op.indices).get(position)
    if addressed is None:
        return None
    data = known[node.operands[op.data[0]]]
    if addressed == "flat":
        return data.elements
    dim = node.keywords["dim"] if addressed == "dim" else addressed
    return data.shape[dim] if isinstance(dim, int) and -len(data.shape) <= dim < len(data.shape) else None


def likely_shardings(case: Case) -> dict[str, Sharding]:
    """A guess at how each value is laid out: what is stated, else what its operands have in dims of equal size.

    Used to keep a layout when a computed value becomes an input. A wrong guess only makes a candidate that passes.
    """
    known = specs(case)
    stated = {output.name: output.sharding for output in case.outputs} | {
        node.name: node.sharding for node in case.nodes if node.sharding is not None
    }
    layout = {value.name: value.sharding for value in case.inputs}
    for node in case.nodes:
        layout[node.name] = stated.get(node.name) or _from_operands(node, known, layout)
    return layout


def _from_operands(node: Node, known: dict[str, TensorSpec], layout: dict[str, Sharding]) -> Sharding:
    shape = known[node.name].shape
    sharding = list(replicated(len(shape)))
    free = {axis for name in node.operands for axes in layout[name] for axis in axes}
    for name in node.operands:
        if len(known[name].shape) != len(shape):
            continue
        for dim, axes in enumerate(layout[name]):
            if axes and free.issuperset(axes) and not sharding[dim] and known[name].shape[dim] == shape[dim]:
                sharding[dim] = axes
                free.difference_update(axes)
    return tuple(sharding)
