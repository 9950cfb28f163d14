# SPDX-License-Identifier: Apache-2.0
"""What a planted fault is, and the two ways to state one: by what a case looks like, and by what it computes.

A fault of the second kind runs the graph twice, as torch computes it and as a faulty compiler would, and fails where
the results differ: so it meets the values that payloads really have, as a real target does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

import torch

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Case, CaseError, Input, Mesh, Node, Sharding, replicated
from fuzz.ops.core import call, get, specs
from fuzz.payloads import values


@dataclass(frozen=True)
class Fault:
    """A stand-in for a compiler bug, and the one case every reduction of it must end at."""

    fails: Callable[[Case], bool]
    minimal: str
    starts: tuple[str, ...] = ()  # larger failing cases written by hand

    @property
    def name(self) -> str:
        return self.fails.__name__

    @property
    def text(self) -> str:
        """The minimal case, as `write` writes it."""
        return dedent(self.minimal).lstrip()


# --- by what a case looks like ---------------------------------------------------------------------------------------


def nodes(case: Case, *ops: str) -> list[Node]:
    return [node for node in case.nodes if node.op in ops]


def inputs(case: Case, node: Node) -> list[Input | None]:
    """The operands, None for those that are computed."""
    return [case.input(operand) for operand in node.operands]


def pieces(case: Case, value: Input | None, dim: object) -> int:
    """Number of shards an input's dim is cut into; 1 for what is no input, or has no such dim."""
    if value is None or not isinstance(dim, int) or dim >= len(value.sharding):
        return 1
    return _pieces(case.mesh, value.sharding, dim)


def split(case: Case, node: Node, position: int) -> bool:
    """Whether an operand is an input of which no device has all."""
    value = inputs(case, node)[position]
    return value is not None and any(pieces(case, value, d) > 1 for d in range(len(value.sharding)))


def shape(case: Case, name: str) -> tuple[int, ...]:
    return specs(case)[name].shape


def dtype(case: Case, name: str) -> str:
    return specs(case)[name].dtype


def dim(node: Node) -> Any:
    return node.keywords["dim"]


# --- by what a case computes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """One op at work: its node, the values of its operands, and how they lie on the mesh."""

    node: Node
    operands: list[torch.Tensor]
    layouts: list[Sharding]
    mesh: Mesh

    def pieces(self, position: int, dim: int) -> int:
        """Number of shards an operand's dim is cut into."""
        return _pieces(self.mesh, self.layouts[position], dim) if dim < len(self.layouts[position]) else 1

    def right(self, *operands: torch.Tensor, **attributes: Any) -> torch.Tensor:
        """What torch computes, from the operands or from others, with some attributes changed."""
        return call(get(self.node.op), operands or self.operands, {**self.node.keywords, **attributes}, "cpu")


def computes_wrongly(op: str) -> Callable[[Callable[[Use], torch.Tensor | None]], Callable[[Case], bool]]:
    """A fault from a faulty implementation of one op, which returns None where it does what torch does."""

    def plant(faulty: Callable[[Use], torch.Tensor | None]) -> Callable[[Case], bool]:
        def fails(case: Case) -> bool:
            if not any(node.op == op for node in case.nodes):
                return False
            given = {value.name: values(value.spec, value.payload) for value in case.inputs}
            right = _computed(case, given, op, None)
            wrong = None if right is None else _computed(case, given, op, faulty)
            return right is not None and (wrong is None or any(map(_differ, right, wrong)))

        fails.__name__, fails.__doc__ = faulty.__name__, faulty.__doc__
        return fails

    return plant


def _computed(
    case: Case, given: dict[str, torch.Tensor], op: str, faulty: Callable[[Use], torch.Tensor | None] | None
) -> list[torch.Tensor] | None:
    """The outputs; None where torch rejects the case or leaves the result open."""
    results = dict(given)
    layouts = {value.name: value.sharding for value in case.inputs}
    for node in case.nodes:
        use = Use(node, [results[name] for name in node.operands], [layouts[name] for name in node.operands], case.mesh)
        defined = get(node.op).defined
        try:
            if defined is not None and not defined(*use.operands, **node.keywords):
                return None
            result = faulty(use) if faulty is not None and node.op == op else None
            results[node.name] = use.right() if result is None else result
        except (IndexError, RuntimeError, CaseError):
            return None
        layouts[node.name] = _layout(node, use, results[node.name])
    return [results[output.name] for output in case.outputs]


def _layout(node: Node, use: Use, result: torch.Tensor) -> Sharding:
    """As a simple partitioner has it: as demanded, else like the first operand of the same shape."""
    if node.sharding is not None:
        return node.sharding
    for operand, layout in zip(use.operands, use.layouts, strict=True):
        if operand.shape == result.shape:
            return layout
    return replicated(result.dim())


def _differ(right: torch.Tensor, wrong: torch.Tensor) -> bool:
    return right.shape != wrong.shape or not torch.equal(right.nan_to_num(), wrong.nan_to_num())


def _pieces(mesh: Mesh, sharding: Sharding, dim: int) -> int:
    return math.prod(mesh.sizes[axis] for axis in sharding[dim])
