# SPDX-License-Identifier: Apache-2.0
"""Passes on ranks: one dim less in all large tensors, or in one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fuzz.case import Attribute, Case, CaseError, Input, Output, Sharding
from fuzz.ops.core import infer, specs
from fuzz.reduce.edits import exchanged, propose


def drop_dims(case: Case) -> Iterator[Case]:
    """One dim less in all inputs, counted from the first or from the last; in those of the highest rank; in one.

    Never rank 0, which no generated input has.
    """
    ranks = {value.name: len(value.spec.shape) for value in case.inputs if len(value.spec.shape) > 1}
    highest = max(ranks.values(), default=0)
    for dim in range(highest):
        yield from without_dims(case, {name: dim for name, rank in ranks.items() if dim < rank})
        yield from without_dims(case, {name: rank - 1 - dim for name, rank in ranks.items() if dim < rank})
        yield from without_dims(case, {name: dim for name, rank in ranks.items() if rank == highest})
    for name, rank in ranks.items():
        for dim in range(rank):
            yield from without_dims(case, {name: dim})


def without_dims(case: Case, dropped: dict[str, int]) -> Iterator[Case]:
    """The case without these dims of these inputs, and with the dims that attributes name counted anew."""
    inputs = tuple(
        _input_without(value, dropped[value.name]) if value.name in dropped else value for value in case.inputs
    )
    old = specs(case)
    new = {value.name: value.spec for value in inputs}
    gone = dict(dropped)  # also of computed values, as far as that is the dim their operand lost
    nodes = []
    try:
        for node in case.nodes:
            rank = max((len(old[operand].shape) for operand in node.operands), default=0)
            # Attributes speak of the dims of the operand of the highest rank.
            dim = next((gone[name] for name in node.operands if name in gone and len(old[name].shape) == rank), None)
            if dim is not None:
                node = replace(node, attributes=tuple((k, _without(k, v, dim, rank)) for k, v in node.attributes))
            new[node.name] = infer(node.op, [new[operand] for operand in node.operands], node.attributes)
            if dim is not None and len(new[node.name].shape) < len(old[node.name].shape):
                gone[node.name] = dim
            nodes.append(node)
    except CaseError:
        return

    def fitted(name: str, sharding: Sharding | None) -> Sharding | None:
        """Without the dropped dim where one was dropped; nothing stated where the rank changed otherwise."""
        if sharding is None or len(new[name].shape) == len(sharding):
            return sharding
        rest = exchanged(sharding, gone.get(name, 0))
        return rest if len(new[name].shape) == len(rest) else None

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
