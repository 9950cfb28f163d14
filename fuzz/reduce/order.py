# SPDX-License-Identifier: Apache-2.0
"""What "simpler" means, defined once: a measure of cases, compared lexicographically.

The measure is a tuple of natural numbers of fixed length. Such tuples are well-ordered, so no sequence of ever simpler
cases is infinite: a reduction ends whatever its passes propose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from fuzz.case import Attribute, Case, Mesh, Node, Payload, Sharding

# Simplest first. Data say where they come from before anything else; `small` only keeps sums exact.
DATA_KINDS = ("position", "small")
# What a reader can write down comes first. Constant indices are rarely enough, boundaries are the most special.
RANGED_KINDS = ("monotone", "permutation", "constant", "random", "duplicates", "boundary")
# torch's own float and index types come first.
DTYPES = ("f32", "i64", "i32", "bf16", "bool")

# Numbers that are simplest at 1: at 0 a step is invalid, and a written value is not seen against zeros.
ONE_IS_SIMPLEST = frozenset({"step", "value", "k"})


@lru_cache(maxsize=64)
def complexity(case: Case) -> tuple[int, ...]:
    """How complex a case is, big structure first: a pass may grow what stands later to shrink what stands earlier."""
    computed = {node.name for node in case.nodes}
    shapes = [value.spec.shape for value in case.inputs]
    payloads = [value.payload for value in case.inputs]
    shardings = list(_shardings(case))
    return (
        len(case.nodes),
        len(case.outputs),
        sum(operand in computed for node in case.nodes for operand in node.operands),
        len(case.inputs),
        sum(len(node.operands) for node in case.nodes),
        case.mesh.size,
        sum(size > 1 for size in case.mesh.shape),
        _outer_devices(case.mesh),
        sum(len(axes) for sharding in shardings for axes in sharding),
        len(shardings) - len(case.inputs),
        axis_disorder(case),
        len(case.options),
        sum(len(shape) for shape in shapes),
        sum(extent > 1 for shape in shapes for extent in shape),
        sum(value.spec.elements for value in case.inputs),
        sum(sum(shape) for shape in shapes),
        sum(extent * outer for shape in shapes for outer, extent in enumerate(reversed(shape))),
        sum(DTYPES.index(value.spec.dtype) for value in case.inputs),
        sum(_kind_rank(payload) for payload in payloads),
        sum(2 * (abs(p.low) + abs(p.high) + p.dim + p.seed) + (p.low < 0) for p in payloads),
        sum(attribute_size(key, value) for node in case.nodes for key, value in node.attributes),
        sum(_attribute_disorder(node) for node in case.nodes),
        definition_disorder(case),
        sum(_kind_rank(payload) * place for place, payload in enumerate(reversed(payloads))),
        sum(name != old for old, name in canonical_names(case).items()),
    )


def _kind_rank(payload: Payload) -> int:
    # A mask is what bool has for positions.
    kinds = (*DATA_KINDS, *RANGED_KINDS)
    return kinds.index(payload.kind) if payload.kind in kinds else 0


def attribute_size(key: str, value: Attribute) -> int:
    """Distance of an attribute from its simplest value; negative numbers weigh a little more than their opposites."""
    if isinstance(value, tuple):
        return len(value) + sum(attribute_size("", item) for item in value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return 2 * abs(value - (key in ONE_IS_SIMPLEST)) + (value < 0)
    if isinstance(value, float):
        # Any whole number is simpler than a fraction.
        return 2 * abs(int(value) - (key in ONE_IS_SIMPLEST)) + (value < 0) + (0 if value.is_integer() else 1 << 20)
    return DTYPES.index(value) if key == "dtype" and value in DTYPES else 0


def _attribute_disorder(node: Node) -> int:
    """Pairs of numbers that are not in rising order: in tuples, and in the attributes that name dims."""
    dims = [value for key, value in node.attributes if names_dim(key) and isinstance(value, int)]
    return _inversions(dims) + sum(_inversions(value) for _, value in node.attributes if isinstance(value, tuple))


def names_dim(key: str) -> bool:
    """Whether an attribute of this name holds the number of a dim, or several."""
    return key.startswith("dim")


def canonical_names(case: Case) -> dict[str, str]:
    """The names values have by their position: x0, x1 .. for inputs, v0, v1 .. for nodes."""
    return {value.name: f"x{i}" for i, value in enumerate(case.inputs)} | {
        node.name: f"v{i}" for i, node in enumerate(case.nodes)
    }


def order_of_use(case: Case) -> tuple[str, ...]:
    """All values in the order in which a depth-first walk from the outputs needs them: operands before their users."""
    operands = {node.name: node.operands for node in case.nodes}
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            for operand in operands.get(name, ()):
                visit(operand)
            order[name] = None

    for output in case.outputs:
        visit(output.name)
    return tuple(order)


def definition_disorder(case: Case) -> int:
    """Pairs of inputs, and of nodes, that are not in the order in which they are used."""
    position = {name: i for i, name in enumerate(order_of_use(case))}
    return _inversions(position[v.name] for v in case.inputs if v.name in position) + _inversions(
        position[n.name] for n in case.nodes if n.name in position
    )


def axis_disorder(case: Case) -> int:
    """Pairs of mesh axes whose first uses, read from the first input on, are not in the order of the mesh."""
    used = dict.fromkeys(axis for sharding in _shardings(case) for axes in sharding for axis in axes)
    return _inversions(case.mesh.axes.index(axis) for axis in used)


def _outer_devices(mesh: Mesh) -> int:
    """Devices weighted by how far out their axis stands: of meshes of one size, 1xN is the simplest."""
    return sum(size * weight for weight, size in enumerate(reversed(mesh.shape)))


def _shardings(case: Case) -> Iterator[Sharding]:
    yield from (value.sharding for value in case.inputs)
    yield from (node.sharding for node in case.nodes if node.sharding is not None)
    yield from (output.sharding for output in case.outputs if output.sharding is not None)


def _inversions(numbers: Iterable[int]) -> int:
    sequence = list(numbers)
    return sum(later < earlier for i, earlier in enumerate(sequence) for later in sequence[i + 1 :])
