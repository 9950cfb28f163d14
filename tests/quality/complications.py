# SPDX-License-Identifier: Apache-2.0
"""Random edits that make a case larger: other ops around it, shared graphs, sizes, ranks, layouts, dtypes, payloads.

An edit that does not fit a case raises CaseError, IndexError or ValueError; what it returns, torch may still reject.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random

from fuzz.case import Attribute, Case, CaseError, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec, replicated
from fuzz.ops.core import specs
from fuzz.reduce.edits import index_extents
from fuzz.strategies.cases import cases
from fuzz.strategies.sampling import draw_seeded
from fuzz.strategies.space import Space

DRAWN = 400
MESHES = (Mesh.parse("2x2"), Mesh.parse("1x4"))

Edit = Callable[[Case, Random], Case]


@cache
def drawn() -> tuple[Case, ...]:
    """Cases as a campaign draws them, of which no value is large."""
    space = Space(MESHES, memory_limit=1 << 22)
    # A stream of its own: a new strategy version must not change what the reducer is asked.
    return tuple(draw_seeded(cases(space), f"2/5/{index}") for index in range(DRAWN))


# --- the graph -------------------------------------------------------------------------------------------------------

# Ops of one operand that keep its shape and dtype.
KEEPING: tuple[tuple[str, Callable[[int], dict[str, Attribute]]], ...] = (
    ("flip", lambda rank: {"dims": (rank - 1,)}),
    ("roll", lambda rank: {"shift": 1, "dim": 0}),
    ("neg", lambda rank: {}),
    ("abs", lambda rank: {}),
    ("mul_scalar", lambda rank: {"value": 3}),
    ("add_scalar", lambda rank: {"value": 2}),
    ("sort_values", lambda rank: {"dim": rank - 1, "descending": False}),
)


def compute_after(case: Case, random: Random) -> Case:
    """One more op on a result; the result may stay a result too."""
    known = specs(case)
    at = random.randrange(len(case.outputs))
    old = case.outputs[at]
    node = _keeping(_free(case, "w"), old.name, known[old.name], random)
    outputs = [*case.outputs]
    outputs[at] = Output(node.name, old.sharding if random.random() < 0.5 else None)
    if random.random() < 0.3:
        outputs.insert(random.randrange(len(outputs) + 1), old)
    return replace(case, nodes=(*case.nodes, node), outputs=tuple(outputs))


def reduce_after(case: Case, random: Random) -> Case:
    """A sum or an extreme of a result."""
    old = random.choice(case.outputs)
    rank = len(specs(case)[old.name].shape)
    attributes = (("dim", random.randrange(rank)), ("keepdim", random.random() < 0.5))
    node = Node(_free(case, "w"), random.choice(("sum", "amax", "amin")), (old.name,), attributes)
    outputs = tuple(Output(node.name) if output is old else output for output in case.outputs)
    return replace(case, nodes=(*case.nodes, node), outputs=outputs)


def combine_after(case: Case, random: Random) -> Case:
    """A result and a new input, or another value of the same kind, in one op."""
    known = specs(case)
    old = random.choice(case.outputs)
    name = _free(case, "w")
    partners = [value for value, spec in known.items() if spec == known[old.name]]
    inputs = case.inputs
    partner = random.choice(partners)
    if random.random() < 0.6:
        fresh = Input(
            _free(case, "z"), known[old.name], _data(known[old.name], random), replicated(len(known[old.name].shape))
        )
        inputs, partner = (*inputs, fresh), fresh.name
    operands = (old.name, partner) if random.random() < 0.5 else (partner, old.name)
    node = Node(name, random.choice(("add", "mul", "maximum", "sub")), operands)
    outputs = tuple(Output(name) if output is old else output for output in case.outputs)
    return replace(case, inputs=inputs, nodes=(*case.nodes, node), outputs=outputs)


def compute_before(case: Case, random: Random) -> Case:
    """One use of an input, or all of them, reads something computed from it."""
    value = random.choice(case.inputs)
    if value.name in index_extents(case):
        made = random.choice((("flip", {"dims": (len(value.spec.shape) - 1,)}), ("roll", {"shift": 1, "dim": 0})))
        node = Node(_free(case, "u"), made[0], (value.name,), tuple(sorted(made[1].items())))
    else:
        node = _keeping(_free(case, "u"), value.name, value.spec, random)
    users = _uses(case, value)
    if random.random() < 0.6:
        users = [random.choice(users)]
    nodes = [*case.nodes]
    for at, position in users:
        operands = nodes[at].operands
        nodes[at] = replace(nodes[at], operands=(*operands[:position], node.name, *operands[position + 1 :]))
    return replace(case, nodes=(node, *nodes))


def return_more(case: Case, random: Random) -> Case:
    """An intermediate, or something else computed from an input, is returned too."""
    unused = [node.name for node in case.nodes if node.name not in {output.name for output in case.outputs}]
    if unused and random.random() < 0.5:
        return replace(case, outputs=(*case.outputs, Output(random.choice(unused))))
    value = random.choice(case.inputs)
    node = _keeping(_free(case, "w"), value.name, value.spec, random)
    outputs = [*case.outputs]
    outputs.insert(random.randrange(len(outputs) + 1), Output(node.name))
    return replace(case, nodes=(*case.nodes, node), outputs=tuple(outputs))


def bury(case: Case, random: Random) -> Case:
    """Beside a drawn graph, of which one result is returned too."""
    other = random.choice([drawn for drawn in drawn() if drawn.mesh == case.mesh and len(drawn.nodes) < 5])
    names = {value.name: f"b{number}" for number, value in enumerate((*other.inputs, *other.nodes))}
    if set(names.values()) & {value.name for value in (*case.inputs, *case.nodes)}:
        raise CaseError("buried already")
    inputs = tuple(replace(value, name=names[value.name]) for value in other.inputs)
    nodes = tuple(
        replace(node, name=names[node.name], operands=tuple(names[name] for name in node.operands))
        for node in other.nodes
    )
    outputs = (Output(names[other.outputs[0].name], other.outputs[0].sharding),)
    if random.random() < 0.5:
        return replace(case, inputs=inputs + case.inputs, nodes=nodes + case.nodes, outputs=outputs + case.outputs)
    return replace(case, inputs=case.inputs + inputs, nodes=case.nodes + nodes, outputs=case.outputs + outputs)


def feed_apart(case: Case, random: Random) -> Case:
    """One of several uses of an input reads an input of its own."""
    value = random.choice(case.inputs)
    uses = _uses(case, value)
    if len(uses) < 2:
        raise CaseError("used once")
    at, position = random.choice(uses)
    fresh = replace(value, name=_free(case, "z"), payload=replace(value.payload, seed=random.randrange(4)))
    node = case.nodes[at]
    operands = (*node.operands[:position], fresh.name, *node.operands[position + 1 :])
    nodes = (*case.nodes[:at], replace(node, operands=operands), *case.nodes[at + 1 :])
    return replace(case, inputs=(*case.inputs, fresh), nodes=nodes)


# --- sizes -----------------------------------------------------------------------------------------------------------


def enlarge(case: Case, random: Random) -> Case:
    """One extent larger wherever it stands, or in one dim of all inputs."""
    value = random.choice(case.inputs)
    dim = random.randrange(len(value.spec.shape))
    old = value.spec.shape[dim]
    new = random.choice((old * 2, old * 4, old + 1, old * 3, old + 7, 16 * old))
    everywhere = random.random() < 0.5

    def resized(other: Input) -> Input:
        shape = tuple(
            new if size == old and (everywhere or position == dim) else size
            for position, size in enumerate(other.spec.shape)
        )
        payload = other.payload
        if payload.high == old and random.random() < 0.7:
            payload = replace(payload, high=new)
        return replace(other, spec=replace(other.spec, shape=shape), payload=payload)

    def rewritten(key: str, number: Attribute) -> Attribute:
        if key in ("end", "classes", "k") and number == old and random.random() < 0.5:
            return new
        if key in ("shape",) and isinstance(number, tuple):
            return tuple(new if size == old else size for size in number)
        return number

    nodes = tuple(
        replace(node, attributes=tuple((k, rewritten(k, v)) for k, v in node.attributes)) for node in case.nodes
    )
    return replace(case, inputs=tuple(map(resized, case.inputs)), nodes=nodes)


def enlarge_attribute(case: Case, random: Random) -> Case:
    at = random.randrange(len(case.nodes))
    node = case.nodes[at]
    keys = [k for k, v in node.attributes if isinstance(v, int) and not isinstance(v, bool) and "dim" not in k]
    key = random.choice(keys)

    def more(number: Attribute) -> Attribute:
        return number + random.choice((1, 2, 5, 30)) * (1 if number >= 0 else -1) if isinstance(number, int) else number

    attributes = tuple((k, more(v) if k == key else v) for k, v in node.attributes)
    return replace(case, nodes=(*case.nodes[:at], replace(node, attributes=attributes), *case.nodes[at + 1 :]))


def raise_rank(case: Case, random: Random) -> Case:
    """One more dim before those of all inputs, in attributes and layouts too."""
    size = random.choice((2, 4, 8))

    def layout(sharding: Sharding | None) -> Sharding | None:
        return None if sharding is None else ((), *sharding)

    def rewritten(key: str, value: Attribute) -> Attribute:
        if "dim" in key and isinstance(value, int) and not isinstance(value, bool):
            return value + 1 if value >= 0 else value
        if key == "dims" and isinstance(value, tuple):
            return tuple(item + 1 for item in value) if len(value) < 2 else (0, *(item + 1 for item in value))
        if key == "shape" and isinstance(value, tuple):
            return (size, *value)
        if key == "repeats" and isinstance(value, tuple):
            return (1, *value)
        return value

    return replace(
        case,
        inputs=tuple(
            replace(
                value,
                spec=replace(value.spec, shape=(size, *value.spec.shape)),
                sharding=((), *value.sharding),
                payload=replace(value.payload, dim=value.payload.dim + (value.payload.kind == "permutation")),
            )
            for value in case.inputs
        ),
        nodes=tuple(
            replace(
                node, attributes=tuple((k, rewritten(k, v)) for k, v in node.attributes), sharding=layout(node.sharding)
            )
            for node in case.nodes
        ),
        outputs=tuple(replace(output, sharding=layout(output.sharding)) for output in case.outputs),
    )


# --- the mesh and what lies on it ------------------------------------------------------------------------------------


def enlarge_mesh(case: Case, random: Random) -> Case:
    shape = tuple(size * random.choice((1, 2)) for size in case.mesh.shape)
    if max(shape) > 4:
        raise CaseError("large enough")
    return replace(case, mesh=replace(case.mesh, shape=shape))


def shard(case: Case, random: Random) -> Case:
    """An input, a node or an output is split over an axis, or over one more."""
    known = specs(case)
    field = random.choice(("inputs", "inputs", "nodes", "outputs"))
    holders = list(getattr(case, field))
    at = random.randrange(len(holders))
    rank = len(known[holders[at].name].shape)
    sharding = [*(holders[at].sharding or replicated(rank))]
    free = [axis for axis in case.mesh.axes if axis not in {used for axes in sharding for used in axes}]
    dim = random.randrange(rank)
    sharding[dim] = (*sharding[dim], random.choice(free)) if free and random.random() < 0.9 else sharding[dim]
    holders[at] = replace(holders[at], sharding=tuple(sharding))
    return replace(case, **{field: tuple(holders)})


def turn_axes(case: Case, random: Random) -> Case:
    """Mesh axes exchanged, in the mesh and wherever they are used."""
    turned = dict(zip(case.mesh.axes, reversed(case.mesh.axes), strict=True))

    def layout(sharding: Sharding | None) -> Sharding | None:
        return None if sharding is None else tuple(tuple(turned[axis] for axis in axes) for axes in sharding)

    return replace(
        case,
        mesh=replace(case.mesh, shape=tuple(reversed(case.mesh.shape))),
        inputs=tuple(replace(value, sharding=layout(value.sharding) or ()) for value in case.inputs),
        nodes=tuple(replace(node, sharding=layout(node.sharding)) for node in case.nodes),
        outputs=tuple(replace(output, sharding=layout(output.sharding)) for output in case.outputs),
    )


# --- values ----------------------------------------------------------------------------------------------------------


def change_payload(case: Case, random: Random) -> Case:
    at = random.randrange(len(case.inputs))
    value = case.inputs[at]
    extent = index_extents(case).get(value.name)
    if extent is None:
        payload = _data(value.spec, random)
    else:
        kind = random.choice(("random", "boundary", "duplicates", "permutation", "monotone"))
        low = min(value.payload.low, -extent) if value.payload.low < 0 else 0
        payload = Payload(kind, low, extent, random.randrange(len(value.spec.shape)), random.randrange(4))
    return replace(case, inputs=(*case.inputs[:at], replace(value, payload=payload), *case.inputs[at + 1 :]))


def change_dtype(case: Case, random: Random) -> Case:
    """One data dtype in place of another, everywhere."""
    old = random.choice([value.spec.dtype for value in case.inputs if value.name not in index_extents(case)])
    new = random.choice(("f32", "bf16", "i32"))
    indices = index_extents(case)
    if old == "bool":
        raise CaseError("masks stay")
    return replace(
        case,
        inputs=tuple(
            replace(value, spec=replace(value.spec, dtype=new))
            if value.spec.dtype == old and value.name not in indices
            else value
            for value in case.inputs
        ),
        nodes=tuple(
            replace(node, attributes=tuple((k, new if (k, v) == ("dtype", old) else v) for k, v in node.attributes))
            for node in case.nodes
        ),
    )


def add_option(case: Case, random: Random) -> Case:
    option = random.choice((("optimization_level", "1"), ("enable_const_eval", "false"), ("enable_trace", "true")))
    return replace(case, options=tuple(sorted(dict((*case.options, option)).items())))


EDITS: tuple[Edit, ...] = (
    compute_after,
    compute_after,
    reduce_after,
    combine_after,
    combine_after,
    compute_before,
    compute_before,
    return_more,
    bury,
    feed_apart,
    enlarge,
    enlarge,
    enlarge,
    enlarge_attribute,
    raise_rank,
    enlarge_mesh,
    shard,
    shard,
    shard,
    turn_axes,
    change_payload,
    change_payload,
    change_dtype,
    add_option,
)


def _free(case: Case, letter: str) -> str:
    taken = {value.name for value in (*case.inputs, *case.nodes)}
    return next(name for number in range(100) if (name := f"{letter}{number}") not in taken)


def _uses(case: Case, value: Input) -> list[tuple[int, int]]:
    """(node, operand position) of every use of an input."""
    return [
        (at, position)
        for at, node in enumerate(case.nodes)
        for position, name in enumerate(node.operands)
        if name == value.name
    ]


def _keeping(name: str, operand: str, spec: TensorSpec, random: Random) -> Node:
    if spec.dtype == "bool":
        return Node(name, "logical_not", (operand,))
    op, attributes = random.choice(KEEPING)
    return Node(name, op, (operand,), tuple(sorted(attributes(len(spec.shape)).items())))


def _data(spec: TensorSpec, random: Random) -> Payload:
    kind = "mask" if spec.dtype == "bool" else random.choice(("position", "small"))
    return Payload(kind, seed=random.randrange(4))
