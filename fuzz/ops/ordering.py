# SPDX-License-Identifier: Apache-2.0
"""Orderings along a dim: the values in order, and the positions they came from.

Where values tie, torch leaves the positions open. Such positions are compared by what they point at, and are never
used as indices: only operands without ties give a result with a known range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fuzz.ops.core import NUMBERS, Chooses, Op, Selects, register
from fuzz.ops.operands import Range, any_dim

if TYPE_CHECKING:
    from fuzz.ops.scope import Scope, Value

# Vocabularies in small: positions past 256 do not fit bf16.
VOCABULARIES = (300, 1025, 600)
# Expert counts of routers, one group, and a beam; limited by the extent.
TOP = (2, 1, 4, 8, 6, 3, 50)
BF16_CONSECUTIVE = 256


def _operand(scope: Scope) -> tuple[Value, int, Range]:
    """What to order, along which dim, and the range of the positions: stated only where no values tie along it."""
    if scope.chance(60):
        if scope.chance(40):
            shape: tuple[int, ...] = (scope.choose((4, 2, 8)), scope.choose(VOCABULARIES))
            dim = 1
        else:
            shape = scope.shape()
            dim = scope.integer(0, len(shape) - 1)
        holding = [d for d in scope.dtypes if d in NUMBERS and (d != "bf16" or shape[dim] <= BF16_CONSECUTIVE)]
        x = scope.new_ranked(shape, scope.choose(holding or ["f32"]), dim)
        return x, dim, {"low": 0, "high": shape[dim]}
    x = scope.data(dtypes=NUMBERS, exact=True)
    dim = any_dim(scope, x)
    return x, dim, {"low": 0, "high": x.shape[dim]} if x.distinct else {}


def _draw_topk(scope: Scope, op: str) -> Value:
    x, dim, positions = _operand(scope)
    k = min(scope.choose(TOP), x.shape[dim])
    known, distinct = (positions, False) if op == "topk_indices" else (_same_range(x), x.distinct)
    return scope.apply(op, x, **known, distinct=distinct, k=k, dim=dim, largest=not scope.chance(25))


def _draw_sort(scope: Scope, op: str) -> Value:
    x, dim, positions = _operand(scope)
    known, distinct = (positions, False) if op == "sort_indices" else (_same_range(x), x.distinct)
    return scope.apply(op, x, **known, distinct=distinct, dim=dim, descending=scope.chance(50))


def _draw_position(scope: Scope, op: str) -> Value:
    x, dim, positions = _operand(scope)
    return scope.apply(op, x, **positions, dim=dim, keepdim=scope.chance(50))


def _same_range(x: Value) -> Range:
    return {"low": x.low, "high": x.high} if x.low is not None and x.high is not None else {}


register(
    Op(
        name="topk_values",
        family="ordering",
        doc="the k largest (or smallest) elements along dim, in order",
        draw=lambda scope: _draw_topk(scope, "topk_values"),
        run=lambda x, *, k, dim, largest: torch.topk(x, k, dim, largest).values,
        source="torch.topk({0}, {k}, {dim}, {largest}).values",
        semantics=Selects(),
    ),
    Op(
        name="topk_indices",
        family="ordering",
        doc="positions along dim of the k largest (or smallest) elements, in order",
        draw=lambda scope: _draw_topk(scope, "topk_indices"),
        run=lambda x, *, k, dim, largest: torch.topk(x, k, dim, largest).indices,
        source="torch.topk({0}, {k}, {dim}, {largest}).indices",
        semantics=Chooses(),
    ),
    Op(
        name="sort_values",
        family="ordering",
        doc="the elements along dim in order",
        draw=lambda scope: _draw_sort(scope, "sort_values"),
        run=lambda x, *, dim, descending: torch.sort(x, dim=dim, descending=descending, stable=True).values,
        source="torch.sort({0}, dim={dim}, descending={descending}, stable=True).values",
        semantics=Selects(),
    ),
    Op(
        name="sort_indices",
        family="ordering",
        doc="positions along dim of the elements in order",
        draw=lambda scope: _draw_sort(scope, "sort_indices"),
        run=lambda x, *, dim, descending: torch.sort(x, dim=dim, descending=descending, stable=True).indices,
        source="torch.sort({0}, dim={dim}, descending={descending}, stable=True).indices",
        semantics=Chooses(),
    ),
    Op(
        name="argmax",
        family="ordering",
        doc="position of the largest element along dim",
        draw=lambda scope: _draw_position(scope, "argmax"),
        run=lambda x, *, dim, keepdim: x.argmax(dim, keepdim=keepdim),
        source="{0}.argmax({dim}, keepdim={keepdim})",
        semantics=Chooses(),
    ),
    Op(
        name="argmin",
        family="ordering",
        doc="position of the smallest element along dim",
        draw=lambda scope: _draw_position(scope, "argmin"),
        run=lambda x, *, dim, keepdim: x.argmin(dim, keepdim=keepdim),
        source="{0}.argmin({dim}, keepdim={keepdim})",
        semantics=Chooses(),
    ),
)
