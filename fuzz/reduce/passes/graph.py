# SPDX-License-Identifier: Apache-2.0
"""Passes on the graph: fewer outputs, nodes, operands and inputs. Largest cuts first."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import replace

from fuzz.case import Case, Input, Node, Output, Payload, TensorSpec, replicated
from fuzz.ops.core import case_bytes, run_graph, specs
from fuzz.payloads import values
from fuzz.reduce.edits import exchanged, index_extents, indexed_extent, likely_shardings, propose, refilled
from fuzz.reduce.order import order_of_use

# Bytes of a graph that is cheaper to compute than to run on a target.
LARGE = 1 << 20


def drop_outputs(case: Case) -> Iterator[Case]:
    """One output alone; then all but one."""
    for output in case.outputs:
        yield from propose(case, outputs=(output,))
    for output in case.outputs if len(case.outputs) > 2 else ():
        yield from propose(case, outputs=tuple(other for other in case.outputs if other is not output))


def cut_graph(case: Case) -> Iterator[Case]:
    """One node alone; the graph up to one node; the graph from one node on. Cut edges become inputs."""
    names = [node.name for node in case.nodes]
    for node in case.nodes:
        yield from feed(case, [name for name in names if name != node.name], (_output(case, node),))
    for node in case.nodes[:-1]:
        yield from propose(case, outputs=(_output(case, node),))
    for first in range(len(names) - 1, 0, -1):
        later = tuple(output for output in case.outputs if output.name in names[first:])
        if later:
            yield from feed(case, names[:first], later)


def drop_nodes(case: Case) -> Iterator[Case]:
    """One node fewer: it becomes an input, or makes way for one of its operands."""
    for node in case.nodes:
        outputs = tuple(output for output in case.outputs if output.name != node.name)
        if outputs:
            yield from feed(case, [node.name], outputs)
            yield from _feed_as_computed(case, node, outputs)
    for node in reversed(case.nodes):
        yield from bypass(case, node)


def disconnect(case: Case) -> Iterator[Case]:
    """One use of a computed value fewer: an input of the same spec is read instead."""
    known = specs(case)
    computed = {node.name for node in case.nodes}
    for at, node in enumerate(case.nodes):
        for position, operand in enumerate(node.operands):
            for value in case.inputs if operand in computed else ():
                if value.spec == known[operand]:
                    reading = replace(node, operands=exchanged(node.operands, position, value.name))
                    yield from propose(case, nodes=exchanged(case.nodes, at, reading))


def bypass(case: Case, node: Node) -> Iterator[Case]:
    """The case with the users of a node reading one of its operands instead, where dtype and rank are the same."""
    known = specs(case)
    computed = {other.name for other in case.nodes}
    for operand in dict.fromkeys(node.operands):
        old, new = known[node.name], known[operand]
        if old.dtype != new.dtype or len(old.shape) != len(new.shape):
            continue
        moved = (replace(output, name=operand) if output.name == node.name else output for output in case.outputs)
        # An output that is an input tests nothing, and one that is already returned nothing new.
        outputs = {output.name: output for output in moved if output.name in computed}
        if outputs:
            yield from propose(
                case,
                nodes=tuple(_reading(other, {node.name: operand}) for other in case.nodes if other is not node),
                outputs=tuple(outputs.values()),
            )


def drop_operands(case: Case) -> Iterator[Case]:
    """One operand fewer, for ops that take any number (torch rejects the others)."""
    for at, node in enumerate(case.nodes):
        for position in range(len(node.operands) if len(node.operands) > 1 else 0):
            fewer = replace(node, operands=exchanged(node.operands, position))
            yield from propose(case, nodes=exchanged(case.nodes, at, fewer))


def merge_inputs(case: Case) -> Iterator[Case]:
    """One input in place of two of the same dtype, rank and role, sizes permitting: those of one spec first."""
    indices = index_extents(case)
    pairs = itertools.permutations(case.inputs, 2)
    for kept, dropped in sorted(pairs, key=lambda pair: pair[0].spec != pair[1].spec):
        alike = kept.spec.dtype == dropped.spec.dtype and len(kept.spec.shape) == len(dropped.spec.shape)
        if alike and (kept.name in indices) == (dropped.name in indices):
            nodes = tuple(_reading(node, {dropped.name: kept.name}) for node in case.nodes)
            for merged in propose(case, nodes=nodes):
                yield from refilled(case, merged)


def reorder(case: Case) -> Iterator[Case]:
    """The same graph with values named and defined in the order in which they are used."""
    yield from propose(case)
    position = {name: i for i, name in enumerate(order_of_use(case))}
    live = case.live()
    yield from propose(
        case,
        inputs=tuple(sorted(live.inputs, key=lambda value: position[value.name])),
        nodes=tuple(sorted(live.nodes, key=lambda node: position[node.name])),
    )


def feed(case: Case, names: Collection[str], outputs: tuple[Output, ...]) -> Iterator[Case]:
    """The case with computed values made inputs: laid out as they probably are, then replicated."""
    known, layout, extents = specs(case), likely_shardings(case), index_extents(case)
    nodes = tuple(node for node in case.nodes if node.name not in names)
    needed = {operand for node in nodes for operand in node.operands}
    fed = tuple(
        Input(name, known[name], _payload(case, name, known, extents), layout[name])
        for name in (node.name for node in case.nodes if node.name in names)
        if name in needed
    )
    yield from propose(case, inputs=case.inputs + fed, nodes=nodes, outputs=outputs)
    plain = tuple(replace(value, sharding=replicated(len(value.spec.shape))) for value in fed)
    if plain != fed:
        yield from propose(case, inputs=case.inputs + plain, nodes=nodes, outputs=outputs)


def _feed_as_computed(case: Case, node: Node, outputs: tuple[Output, ...]) -> Iterator[Case]:
    """The case with a node made an input that holds numbers like those it computed, as far as a recipe can say."""
    spec = specs(case)[node.name]
    if spec.dtype == "bool" or case_bytes(case) > LARGE:
        return
    computed = run_graph(case, {value.name: values(value.spec, value.payload) for value in case.inputs}, "cpu")
    numbers = computed[node.name]
    if not bool((numbers == numbers.long()).all()):
        return
    payload = Payload("monotone", int(numbers.min()), int(numbers.max()) + 1)
    fed = Input(node.name, spec, payload, likely_shardings(case)[node.name])
    rest = tuple(other for other in case.nodes if other is not node)
    yield from propose(case, inputs=(*case.inputs, fed), nodes=rest, outputs=outputs)


def _payload(case: Case, name: str, known: dict[str, TensorSpec], extents: dict[str, int]) -> Payload:
    """Values that fit the users: distinct indices where there is room, because some writes need them."""
    spec = known[name]
    if name not in extents:
        return Payload("mask" if spec.dtype == "bool" else "position")
    dim = _index_dim(case, name, known)
    if dim < len(spec.shape) and spec.shape[dim] <= extents[name]:
        return Payload("permutation", 0, extents[name], dim)
    return Payload("random", 0, extents[name])


def _index_dim(case: Case, name: str, known: dict[str, TensorSpec]) -> int:
    """The dim along which a user of the index names positions: a user's own `dim` where ranks agree, else 0."""
    rank = len(known[name].shape)
    for node in case.nodes:
        for position, operand in enumerate(node.operands):
            if operand == name and indexed_extent(node, position, known) is not None:
                dim = node.keywords.get("dim", 0)
                return dim % rank if isinstance(dim, int) and -rank <= dim < rank else 0
    return 0


def _output(case: Case, node: Node) -> Output:
    return next((output for output in case.outputs if output.name == node.name), Output(node.name))


def _reading(node: Node, names: dict[str, str]) -> Node:
    return replace(node, operands=tuple(names.get(operand, operand) for operand in node.operands))
