# SPDX-License-Identifier: Apache-2.0
"""Indexed writes that combine: duplicates in the index are the point; the order of writes changes roundings only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from fuzz.case import TensorSpec
from fuzz.ops.core import FLOATS, NUMBERS, Accumulates, Op, Selects, Semantics, register
from fuzz.ops.operands import addend, any_dim, index_pair, index_shape, indexed, result_limit, row_index

if TYPE_CHECKING:
    from fuzz.ops.scope import Scope, Value

# A product of this many small integers stays far below 2^24.
PRODUCT_TERMS = 6


def _draw_scatter_add(scope: Scope) -> Value:
    x = indexed(scope, dtypes=NUMBERS)
    dim = any_dim(scope, x)
    index = scope.index(index_shape(scope, x, dim, result_limit(scope)), x.shape[dim])
    return scope.apply("scatter_add", x, index, addend(scope, index.shape, x.dtype), dim=dim)


def _draw_scatter_reduce(scope: Scope, how: str) -> Value:
    x = indexed(scope, dtypes=FLOATS if how == "mean" else NUMBERS)
    dim = any_dim(scope, x)
    longest = PRODUCT_TERMS if how == "prod" else result_limit(scope)
    index = scope.index(index_shape(scope, x, dim, longest), x.shape[dim])
    if how == "prod":
        source = scope.new_data(index.shape, x.dtype, small=True)
    elif how in ("amin", "amax"):
        source = scope.like(index.shape, x.dtype)
    else:
        source = addend(scope, index.shape, x.dtype)
    # torch_xla 2.9 has no lowering for the other form, nor for the mean.
    include_self = not scope.chance(20)
    return scope.apply(f"scatter_reduce_{how}", x, index, source, dim=dim, include_self=include_self)


def _draw_index_add(scope: Scope) -> Value:
    x = indexed(scope, dtypes=NUMBERS)
    dim = any_dim(scope, x)
    across = math.prod(x.shape[:dim] + x.shape[dim + 1 :])
    index = row_index(scope, scope.shape(1, 1, max(1, result_limit(scope) // across)), x.shape[dim])
    shape = (*x.shape[:dim], index.shape[0], *x.shape[dim + 1 :])
    return scope.apply("index_add", x, index, addend(scope, shape, x.dtype), dim=dim)


def _draw_index_put_accumulate(scope: Scope) -> Value:
    x = indexed(scope, 2, dtypes=NUMBERS)
    inner = x.shape[2:]
    shape = scope.shape(1, 2, max(1, result_limit(scope) // math.prod(inner)))
    pair = index_pair(scope, x, shape)
    return scope.apply("index_put_accumulate", x, *pair, addend(scope, (*shape, *inner), x.dtype))


def _writes_along_dim(specs: Sequence[TensorSpec], attributes: dict[str, Any]) -> int:
    """All of an index line may name one element, whose own value is one more term."""
    shape = specs[1].shape
    return (shape[attributes["dim"]] if len(shape) > 1 else shape[0]) + 1


def _mean_terms(specs: Sequence[TensorSpec], attributes: dict[str, Any]) -> int:
    return _writes_along_dim(specs, attributes) + 1  # the division rounds once more


def _pairs(specs: Sequence[TensorSpec], _: dict[str, Any]) -> int:
    return specs[1].elements * specs[2].elements + 1 if specs[1].shape != specs[2].shape else specs[1].elements + 1


def _scatter_reduce(how: str, semantics: Semantics) -> Op:
    return Op(
        name=f"scatter_reduce_{how}",
        family="indexed write",
        doc=f"the {how} of all source elements that index sends to one element along dim, and of x if include_self",
        draw=lambda scope: _draw_scatter_reduce(scope, how),
        run=lambda x, index, source, *, dim, include_self: x.scatter_reduce(
            dim, index, source, how, include_self=include_self
        ),
        source=f"{{0}}.scatter_reduce({{dim}}, {{1}}, {{2}}, {how!r}, include_self={{include_self}})",
        semantics=semantics,
        indices=((1, "dim"),),
    )


register(
    Op(
        name="scatter_add",
        family="indexed write",
        doc="x plus all source elements that index sends to one element along dim",
        draw=_draw_scatter_add,
        run=lambda x, index, source, *, dim: x.scatter_add(dim, index, source),
        source="{0}.scatter_add({dim}, {1}, {2})",
        semantics=Accumulates(_writes_along_dim, data=(0, 2)),
        indices=((1, "dim"),),
    ),
    _scatter_reduce("sum", Accumulates(_writes_along_dim, data=(0, 2))),
    _scatter_reduce("prod", Accumulates(_writes_along_dim, data=(0, 2))),
    _scatter_reduce("mean", Accumulates(_mean_terms, data=(0, 2), exact_if_integral=False)),
    _scatter_reduce("amin", Selects(data=(0, 2))),
    _scatter_reduce("amax", Selects(data=(0, 2))),
    Op(
        name="index_add",
        family="indexed write",
        doc="slices of source are added to the slices of x along dim that a rank 1 index names",
        draw=_draw_index_add,
        run=lambda x, index, source, *, dim: x.index_add(dim, index, source),
        source="{0}.index_add({dim}, {1}, {2})",
        semantics=Accumulates(_writes_along_dim, data=(0, 2)),
        indices=((1, "dim"),),
    ),
    Op(
        name="index_put_accumulate",
        family="indexed write",
        doc="x with x[i, j] += source for every pair; i and j broadcast",
        draw=_draw_index_put_accumulate,
        run=lambda x, i, j, source: torch.index_put(x, (i, j), source, accumulate=True),
        source="torch.index_put({0}, ({1}, {2}), {3}, accumulate=True)",
        semantics=Accumulates(_pairs, data=(0, 3)),
        indices=((1, 0), (2, 1)),
    ),
)
