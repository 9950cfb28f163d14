# SPDX-License-Identifier: Apache-2.0
"""Passes on dims as such: one less in all large tensors, or in one; two exchanged."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from fuzz.case import Attribute, Case, CaseError, Input, Node, Output, Sharding
from fuzz.ops.core import infer, specs
from fuzz.reduce.edits import exchanged, propose
from fuzz.reduce.order import names_dim

T = TypeVar("T")


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


def turn_dims(case: Case) -> Iterator[Case]:
    """Two dims exchanged in all inputs that have both."""
    highest = max((len(value.spec.shape) for value in case.inputs), default=0)
    for first, second in itertools.combinations(range(highest), 2):
        yield from _with_exchanged_dims(case, first, second)


def _with_exchanged_dims(case: Case, first: int, second: int) -> Iterator[Case]:
    turned = {first: second, second: first}

    def exchange(items: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(items[turned.get(at, at)] for at in range(len(items))) if len(items) > second else items

    def renumbered(key: str, value: Attribute) -> Attribute:
        if isinstance(value, tuple):
            return tuple(turned.get(item, item) for item in value) if names_dim(key) else exchange(value)
        if names_dim(key) and isinstance(value, int):
            return turned.get(value, value)
        return value

    def turned_input(value: Input) -> Input:
        spec = replace(value.spec, shape=exchange(value.spec.shape))
        payload = replace(value.payload, dim=turned.get(value.payload.dim, value.payload.dim))
        return replace(value, spec=spec, payload=payload, sharding=exchange(value.sharding))

    def turned_node(node: Node) -> Node:
        attributes = tuple((key, renumbered(key, value)) for key, value in node.attributes)
        return replace(node, attributes=attributes, sharding=node.sharding and exchange(node.sharding))

    yield from propose(
        case,
        inputs=tuple(map(turned_input, case.inputs)),
        nodes=tuple(map(turned_node, case.nodes)),
        outputs=tuple(Output(output.name, output.sharding and exchange(output.sharding)) for output in case.outputs),
    )


def without_dims(case: Case, dropped: dict[str, int]) -> Iterator[Case]:
    """The case without these dims of these inputs, and with the dims that attributes name counted anew.

    Tuples as long as a shape are taken to hold a number per dim; where torch rejects the result, they stay as they are.
    """
    fewer = tuple(_without_dims(case, dropped, per_dim=True))
    yield from fewer or _without_dims(case, dropped, per_dim=False)


def _without_dims(case: Case, dropped: dict[str, int], *, per_dim: bool) -> Iterator[Case]:
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
                attributes = tuple((k, _without(k, v, dim, rank, per_dim)) for k, v in node.attributes)
                node = replace(node, attributes=attributes)
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


def _without(key: str, value: Attribute, dim: int, rank: int, per_dim: bool) -> Attribute:
    if names_dim(key) and isinstance(value, int):
        return _counted_anew(value % rank, dim, rank) if -rank <= value < rank else value
    if names_dim(key) and isinstance(value, tuple):
        return tuple(_counted_anew(item % rank, dim, rank) for item in value if item % rank != dim)
    if isinstance(value, tuple) and len(value) == rank and per_dim:
        return exchanged(value, dim)
    return value


def _counted_anew(named: int, dropped: int, rank: int) -> int:
    """The number of a dim once another is gone; what named the dropped one now names its neighbour."""
    return max(0, min(named - (named > dropped), rank - 2))
