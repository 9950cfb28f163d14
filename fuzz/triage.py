# SPDX-License-Identifier: Apache-2.0
"""Patterns: which cases look like a known finding, and where in a graph a failure starts.

A pattern says which ops a reduced case has, with which operands sharded how. What a bucket is named after is in
`fuzz.mechanism`, error texts are in `fuzz.signature`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fuzz.case import Case, Node, Output, Sharding, is_uneven
from fuzz.document import DocumentError
from fuzz.plain import read
from oracles.outcome import MISMATCHING, Outcome

ANY = "any"
REPLICATED = "replicated"
DIM = "dim"
OTHER = "other"
BOTH = "both"


@dataclass(frozen=True, slots=True)
class Role:
    """How one operand (or the result) of an op is sharded, seen from the op.

    `placement`: along the op's own `dim` attribute, along other dims, both, not at all, or any: the compiler decides.
    """

    placement: str
    uneven: bool = False

    def __str__(self) -> str:
        return f"{self.placement} uneven" if self.uneven else self.placement

    def covers(self, other: Role) -> bool:
        """Whether a tensor placed like `other` has at least this sharding."""
        if ANY in (self.placement, other.placement) or self.placement == REPLICATED:
            return True
        return other.placement in (self.placement, BOTH) and (other.uneven or not self.uneven)


@dataclass(frozen=True, slots=True)
class NodePattern:
    """One op of a pattern. `result` is a demand on the result's sharding, from a constraint or an output."""

    op: str
    operands: tuple[Role, ...]
    result: Role

    def __str__(self) -> str:
        text = f"{self.op}({', '.join(map(str, self.operands))})"
        return text if self.result.placement in (ANY, REPLICATED) else f"{text}->{self.result}"

    def covers(self, other: NodePattern) -> bool:
        if self.op != other.op or len(self.operands) > len(other.operands):
            return False
        # A result left to the compiler (ANY in the case) does not have the sharding that this pattern demands.
        if self.result.placement not in (ANY, REPLICATED) and other.result.placement == ANY:
            return False
        pairs = zip(self.operands, other.operands, strict=False)
        return self.result.covers(other.result) and all(mine.covers(theirs) for mine, theirs in pairs)


@dataclass(frozen=True, slots=True)
class Pattern:
    """The ops of a reduced case and their shardings. The empty one says nothing and covers every other."""

    nodes: tuple[NodePattern, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.nodes)) or "any case"

    def covers(self, other: Pattern) -> bool:
        """Whether the other has all these ops, each at least as sharded. Connections are not compared."""
        return _assign(self.nodes, other.nodes)

    def to_plain(self) -> list[list[Any]]:
        return [
            [node.op, [[role.placement, role.uneven] for role in (*node.operands, node.result)]] for node in self.nodes
        ]

    @classmethod
    def from_plain(cls, data: object, place: str = "") -> Pattern:
        """Raises DocumentError."""
        nodes = []
        for number, (op, roles) in enumerate(read(_PlainPattern, {"nodes": data}, place).nodes):
            if not roles:
                raise DocumentError("an op without a result", f"{place}[{number}]")
            *operands, result = (Role(placement, uneven) for placement, uneven in roles)
            nodes.append(NodePattern(op, tuple(operands), result))
        return cls(tuple(nodes))


@dataclass(frozen=True, slots=True)
class _PlainPattern:
    """Per op its name, and placement and evenness of its operands and its result."""

    nodes: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]


ANY_CASE = Pattern()


def pattern(case: Case) -> Pattern:
    """The pattern of a case: its live ops, each with how its operands are sharded."""
    live = case.live()
    inputs = {value.name: value for value in live.inputs}
    returned = {output.name: output.sharding for output in live.outputs if output.sharding is not None}
    nodes = []
    for node in live.nodes:
        roles = []
        for operand in node.operands:
            value = inputs.get(operand)
            if value is None:
                roles.append(Role(ANY))
            else:
                uneven = is_uneven(value.spec.shape, value.sharding, live.mesh)
                roles.append(Role(_placement(node, value.sharding), uneven))
        # Evenness of a result needs its shape, hence torch; a bucket does not depend on it.
        demand = node.sharding if node.sharding is not None else returned.get(node.name)
        result = Role(ANY) if demand is None else Role(_placement(node, demand))
        nodes.append(NodePattern(node.op, tuple(roles), result))
    return Pattern(tuple(nodes))


def _placement(node: Node, sharding: Sharding) -> str:
    rank = len(sharding)
    sharded = {dim for dim, axes in enumerate(sharding) if axes}
    attribute = node.keywords.get("dim", node.keywords.get("dims"))
    dims = attribute if isinstance(attribute, tuple) else (attribute,)
    own = {dim % rank for dim in dims if isinstance(dim, int) and rank}
    if not sharded:
        return REPLICATED
    if sharded <= own:
        return DIM
    return BOTH if sharded & own else OTHER


def _assign(wanted: Sequence[NodePattern], available: Sequence[NodePattern]) -> bool:
    """Whether every wanted node can have a node of its own.

    By augmenting paths (Kuhn): trying all assignments takes for ever on a pattern of many equal nodes.
    """
    taken: dict[int, int] = {}  # available -> wanted

    def finds(number: int, tried: set[int]) -> bool:
        for position, node in enumerate(available):
            if position not in tried and wanted[number].covers(node):
                tried.add(position)
                if position not in taken or finds(taken[position], tried):
                    taken[position] = number
                    return True
        return False

    return len(wanted) <= len(available) and all(finds(number, set()) for number in range(len(wanted)))


def bucket_id(key: str) -> str:
    """8 hex digits that stand for the key on the command line and in file names."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def earliest_wrong(case: Case, run: Callable[[Case], Outcome]) -> tuple[Case, Outcome] | None:
    """The first node, in execution order, whose value alone comes out wrong: its truncated case and outcome.

    Errors travel along the graph; the op where they first show names the failure. None if no truncation is wrong.
    """
    live = case.live()
    shardings: Mapping[str, Sharding | None] = {output.name: output.sharding for output in live.outputs}
    for node in live.nodes:
        truncated = replace(live, outputs=(Output(node.name, shardings.get(node.name)),)).live()
        outcome = run(truncated)
        if outcome.verdict in MISMATCHING:
            return truncated, replace(outcome, op=node.op)
    return None
