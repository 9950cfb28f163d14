# SPDX-License-Identifier: Apache-2.0
"""Passes on ranks: one dim less in all large tensors, or in one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from fuzz.case import Attribute, Case, CaseError, Input, Node, Output, Sharding, TensorSpec
from fuzz.ops.core import infer, specs
from fuzz.reduce.edits import exchanged, propose


def drop_dims(case: Case) -> Iterator[Case]:
    """One dim less in all inputs of the highest rank; in one input. Never rank 0, which is not in the input space."""
    ranks = {value.name: len(value.spec.shape) for value in case.inputs}
    highest = max(ranks.values(), default=0)
    large = [name for name, rank in ranks.items() if rank == highest]
    for dim in range(highest if highest > 1 else 0):
        yield from without_dim(case, dim, large)
    for name, rank in ranks.items():
        for dim in range(rank if rank > 1 else 0):
            yield from without_dim(case, dim, [name])


def without_dim(case: Case, dim: int, names: Collection[str]) -> Iterator[Case]:
    """The case with one dim less in the named inputs, and dims named in attributes counted anew where that reaches."""
    inputs = tuple(_input_without(value, dim) if value.name in names else value for value in case.inputs)
    old = specs(case)
    new = {value.name: value.spec for value in inputs}
    nodes = []
    try:
        for node in case.nodes:
            if _loses_a_dim(node, old, new):
                rank = max(len(old[operand].shape) for operand in node.operands)
                node = replace(node, attributes=tuple((k, _without(k, v, dim, rank)) for k, v in node.attributes))
            new[node.name] = infer(node.op, [new[operand] for operand in node.operands], node.attributes)
            nodes.append(node)
    except CaseError:
        return

    def fitted(name: str, sharding: Sharding | None) -> Sharding | None:
        """Without the dropped dim where one was dropped; nothing stated where the rank changed otherwise."""
        if sharding is None or len(new[name].shape) == len(sharding):
            return sharding
        dropped = exchanged(sharding, dim)
        return dropped if len(new[name].shape) == len(dropped) else None

    yield from propose(
        case,
        inputs=inputs,
        nodes=tuple(replace(node, sharding=fitted(node.name, node.sharding)) for node in nodes),
        outputs=tuple(Output(output.name, fitted(output.name, output.sharding)) for output in case.outputs),
    )


def _input_without(value: Input, dim: int) -> Input:
    shape = exchanged(value.spec.shape, dim)
    payload = replace(value.payload, dim=_counted_anew(value.payload.dim, dim, len(value.spec.shape)))
    sharding = exchanged(value.sharding, dim)
    return replace(value, spec=replace(value.spec, shape=shape), payload=payload, sharding=sharding)


def _loses_a_dim(node: Node, old: dict[str, TensorSpec], new: dict[str, TensorSpec]) -> bool:
    """Whether an operand of the node's highest rank is now of a lower one: that is the rank attributes speak of."""
    highest = max((len(old[operand].shape) for operand in node.operands), default=0)
    return any(len(new[operand].shape) < len(old[operand].shape) == highest for operand in node.operands)


def _without(key: str, value: Attribute, dim: int, rank: int) -> Attribute:
    if isinstance(value, bool):
        return value
    if "dim" in key and isinstance(value, int):
        return _counted_anew(value % rank, dim, rank) if -rank <= value < rank else value
    if "dim" in key and isinstance(value, tuple):
        return tuple(_counted_anew(item % rank, dim, rank) for item in value if item % rank != dim)
    if isinstance(value, tuple) and len(value) == rank:
        return exchanged(value, dim)
    return value


def _counted_anew(named: int, dropped: int, rank: int) -> int:
    """The number of a dim once another is gone; what named the dropped one now names its neighbour."""
    return max(0, min(named - (named > dropped), rank - 2))
