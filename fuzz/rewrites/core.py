# SPDX-License-Identifier: Apache-2.0
"""What an equivalent form is, and the graph it is written into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fuzz.case import Attribute, Case, CaseError, Node, TensorSpec
from fuzz.ops.core import infer, specs
from fuzz.ops.shapes import MAX_CONCAT
from fuzz.reduce.edits import renamed

# Elements of one value: comparing every index with every place multiplies sizes.
LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the graph that a form is written in."""

    name: str
    spec: TensorSpec

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @property
    def rank(self) -> int:
        return len(self.spec.shape)

    @property
    def dtype(self) -> str:
        return self.spec.dtype


# Called like the op's own `run`: write(graph, *operands, **attributes). None where the form covers no such operands.
Write = Callable[..., Value | None]


@dataclass(frozen=True, slots=True)
class Form:
    """Another way to write an op."""

    name: str  # what the op is written as
    write: Write


_FORMS: dict[str, list[Form]] = {}


def equivalent(op: str, name: str) -> Callable[[Write], Write]:
    """Register the decorated function as a form of an op: `name` says, in a word or two, what it is written as."""

    def add(write: Write) -> Write:
        _FORMS.setdefault(op, []).append(Form(name, write))
        return write

    return add


def of_op(op: str) -> tuple[Form, ...]:
    """The forms of an op, in order of registration."""
    return tuple(_FORMS.get(op, ()))


@dataclass
class Graph:
    """The nodes that take the place of one node, while a form writes them."""

    prefix: str  # of the names of new nodes
    nonnegative: frozenset[str]  # integer values of which no element is below 0
    nodes: list[Node] = field(default_factory=list)

    def apply(self, op: str, *operands: Value, **attributes: Attribute) -> Value:
        """Add a node. Raises CaseError where torch rejects it or its result is too large to be worth a run."""
        pairs = tuple(sorted(attributes.items()))
        spec = infer(op, [operand.spec for operand in operands], pairs)
        if spec.elements > LARGEST:
            raise CaseError(f"{op}: {spec.elements} elements are too many for an equivalent form")
        name = f"{self.prefix}_{len(self.nodes)}"
        self.nodes.append(Node(name, op, tuple(operand.name for operand in operands), pairs))
        return Value(name, spec)

    # --- what many forms need; each of them adds no node where there is nothing to do ---------------------------------

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        return x if x.shape == tuple(shape) else self.apply("reshape", x, shape=tuple(shape))

    def expand(self, x: Value, shape: Sequence[int]) -> Value:
        return x if x.shape == tuple(shape) else self.apply("expand", x, shape=tuple(shape))

    def cast(self, x: Value, dtype: str) -> Value:
        return x if x.dtype == dtype else self.apply("cast", x, dtype=dtype)

    def part(self, x: Value, dim: int, start: int, end: int) -> Value:
        whole = (start, end) == (0, x.shape[dim])
        return x if whole else self.apply("slice", x, dim=dim, start=start, end=end, step=1)

    def corner(self, x: Value, shape: Sequence[int], but: int) -> Value:
        """The first elements of all dims, as many as `shape` says, but all of dim `but`."""
        for dim, size in enumerate(shape):
            if dim != but:
                x = self.part(x, dim, 0, size)
        return x

    def joined(self, parts: Sequence[Value], dim: int) -> Value:
        """The parts one after the other, without empty ones."""
        filled = [part for part in parts if part.spec.elements]
        whole = filled[0]
        for first in range(1, len(filled), MAX_CONCAT - 1):
            whole = self.apply("concat", whole, *filled[first : first + MAX_CONCAT - 1], dim=dim)
        return whole

    def full(self, shape: Sequence[int], value: Attribute, dtype: str) -> Value:
        return self.apply("full", shape=tuple(shape), value=value, dtype=dtype)

    def counted(self, start: int, end: int, step: int = 1) -> Value:
        """start, start + step, .. below end, of rank 1."""
        return self.apply("arange", start=start, end=end, step=step, dtype="i64")

    def places(self, extent: int, dim: int, rank: int) -> Value:
        """0 .. extent - 1 along `dim`, of this rank and size 1 in all other dims."""
        return self.reshape(self.counted(0, extent), along(dim, rank, extent))

    def within(self, index: Value, extent: int) -> Value:
        """The index as i64, with positions that count from the end made positive."""
        wide = self.cast(index, "i64")
        return wide if index.name in self.nonnegative else self.apply("remainder_scalar", wide, value=extent)


def along(dim: int, rank: int, extent: int) -> tuple[int, ...]:
    """A shape of this rank with all its elements in one dim."""
    return tuple(extent if other == dim else 1 for other in range(rank))


def forms(case: Case) -> Iterator[tuple[str, Case]]:
    """All ways to write one op of the case otherwise: (for example "as one_hot", the case).

    Inputs, shardings, constraints and outputs stay; values get canonical names. Raises CaseError for a graph torch
    rejects.
    """
    known = specs(case)
    alone = len({node.name for node in case.nodes if of_op(node.op)}) == 1
    for at, node in enumerate(case.nodes):
        for form in of_op(node.op):
            nodes = _written(case, node, form, known)
            if nodes:
                name = f"as {form.name}" if alone else f"with {node.op} as {form.name}"
                yield name, renamed(replace(case, nodes=case.nodes[:at] + nodes + case.nodes[at + 1 :]))


def _written(case: Case, node: Node, form: Form, known: dict[str, TensorSpec]) -> tuple[Node, ...]:
    """The nodes of a form; none where it does not apply."""
    graph = Graph(f"{node.name}_form", _nonnegative(case))
    operands = [Value(name, known[name]) for name in node.operands]
    try:
        result = form.write(graph, *operands, **_attributes(node, operands))
    except CaseError:  # torch has no such op for this dtype, or the form would be huge
        return ()
    if result is None or result.spec != known[node.name]:
        return ()
    needed = {result.name}
    nodes: list[Node] = []
    for new in reversed(graph.nodes):
        if new.name in needed:
            needed.update(new.operands)
            nodes.insert(0, replace(new, name=node.name, sharding=node.sharding) if new.name == result.name else new)
    return tuple(nodes)


def _attributes(node: Node, operands: Sequence[Value]) -> dict[str, Any]:
    """Attributes by name; a `dim` that counts from the end counts from the start."""
    attributes: dict[str, Any] = node.keywords
    dim = attributes.get("dim")
    if isinstance(dim, int) and dim < 0:
        attributes["dim"] = dim + max(operand.rank for operand in operands) + (node.op == "unsqueeze")
    return attributes


def _nonnegative(case: Case) -> frozenset[str]:
    fed = {value.name for value in case.inputs if value.payload.low >= 0 and value.payload.kind != "small"}
    counted = {
        node.name
        for node in case.nodes
        if node.op == "arange" and all(isinstance(n := node.keywords[key], int) and n >= 0 for key in ("start", "step"))
    }
    return frozenset(fed | counted)
