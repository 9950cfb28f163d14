# SPDX-License-Identifier: Apache-2.0
"""Indexed reads: every result element is a copy of the data element that an index names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from fuzz.ops.core import NUMBERS, Moves, Op, register
from fuzz.ops.operands import any_dim, index_pair, index_shape, indexed, result_limit, row_index

if TYPE_CHECKING:
    from fuzz.ops.scope import Scope, Value


def _draw_gather(scope: Scope) -> Value:
    x = indexed(scope)
    dim = any_dim(scope, x)
    index = scope.index(index_shape(scope, x, dim, result_limit(scope)), x.shape[dim])
    return scope.apply("gather", x, index, dim=dim)


def _draw_take_along_dim(scope: Scope) -> Value:
    x = indexed(scope)
    dim = any_dim(scope, x)
    # Like gather, but the other dims broadcast instead of being cut.
    shape = [1 if scope.chance(25) else size for size in x.shape]
    across = math.prod(x.shape[:dim] + x.shape[dim + 1 :])
    shape[dim] = max(1, min(scope.size(), result_limit(scope) // across))
    return scope.apply("take_along_dim", x, scope.index(tuple(shape), x.shape[dim]), dim=dim)


def _draw_take(scope: Scope) -> Value:
    x = indexed(scope)
    return scope.apply("take", x, scope.index(scope.shape(1, 3), x.spec.elements, negative=True))


def _draw_index_select(scope: Scope) -> Value:
    x = indexed(scope)
    dim = any_dim(scope, x)
    index = row_index(scope, scope.shape(1, 1, _room(scope, x, (dim,))), x.shape[dim])
    return scope.apply("index_select", x, index, dim=dim)


def _draw_embedding(scope: Scope) -> Value:
    table = indexed(scope, 2, 2, NUMBERS)
    index = row_index(scope, scope.shape(1, 3, _room(scope, table, (0,))), table.shape[0])
    return scope.apply("embedding", index, table)


def _draw_index(scope: Scope) -> Value:
    x = indexed(scope)
    index = row_index(scope, scope.shape(1, 2, _room(scope, x, (0,))), x.shape[0], negative=True)
    return scope.apply("index", x, index)


def _draw_index2(scope: Scope) -> Value:
    x = indexed(scope, 2)
    shape = scope.shape(1, 2, _room(scope, x, (0, 1)))
    return scope.apply("index2", x, *index_pair(scope, x, shape))


def _draw_index_dim1(scope: Scope) -> Value:
    x = indexed(scope, 2)
    index = row_index(scope, scope.shape(1, 2, _room(scope, x, (1,))), x.shape[1], negative=True)
    return scope.apply("index_dim1", x, index)


def _room(scope: Scope, x: Value, dims: tuple[int, ...]) -> int:
    """Index elements that fit in the size limit when each reads a slice of `x` without `dims`."""
    slice_elements = math.prod(size for dim, size in enumerate(x.shape) if dim not in dims)
    return max(1, result_limit(scope) // max(slice_elements, 1))


register(
    Op(
        name="gather",
        family="indexed read",
        doc="out[.., j, ..] = x[.., index[.., j, ..], ..] along dim; the index may be smaller in other dims",
        draw=_draw_gather,
        run=lambda x, index, *, dim: x.gather(dim, index),
        source="{0}.gather({dim}, {1})",
        semantics=Moves(),
        indices=((1, "dim"),),
    ),
    Op(
        name="take_along_dim",
        family="indexed read",
        doc="gather whose index broadcasts in the other dims",
        draw=_draw_take_along_dim,
        run=lambda x, index, *, dim: torch.take_along_dim(x, index, dim),
        source="torch.take_along_dim({0}, {1}, {dim})",
        semantics=Moves(),
        indices=((1, "dim"),),
    ),
    Op(
        name="take",
        family="indexed read",
        doc="out[..] = x.flatten()[index[..]]",
        draw=_draw_take,
        run=lambda x, index: torch.take(x, index),
        source="torch.take({0}, {1})",
        semantics=Moves(),
        indices=((1, "flat"),),
    ),
    Op(
        name="index_select",
        family="indexed read",
        doc="slices of x along dim, named by a rank 1 index",
        draw=_draw_index_select,
        run=lambda x, index, *, dim: x.index_select(dim, index),
        source="{0}.index_select({dim}, {1})",
        semantics=Moves(),
        indices=((1, "dim"),),
    ),
    Op(
        name="embedding",
        family="indexed read",
        doc="out[.., :] = table[index[..], :]",
        draw=_draw_embedding,
        run=lambda index, table: torch.nn.functional.embedding(index, table),
        source="torch.nn.functional.embedding({0}, {1})",
        semantics=Moves(data=(1,)),
        indices=((0, 0),),
    ),
    Op(
        name="index",
        family="indexed read",
        doc="x[i]: slices of dim 0; negative positions count from the end",
        draw=_draw_index,
        run=lambda x, i: x[i],
        source="{0}[{1}]",
        semantics=Moves(),
        indices=((1, 0),),
    ),
    Op(
        name="index2",
        family="indexed read",
        doc="x[i, j]: one slice per pair of positions in dims 0 and 1",
        draw=_draw_index2,
        run=lambda x, i, j: x[i, j],
        source="{0}[{1}, {2}]",
        semantics=Moves(),
        indices=((1, 0), (2, 1)),
    ),
    Op(
        name="index_dim1",
        family="indexed read",
        doc="x[:, j]: slices of dim 1",
        draw=_draw_index_dim1,
        run=lambda x, j: x[:, j],
        source="{0}[:, {1}]",
        semantics=Moves(),
        indices=((1, 1),),
    ),
)
