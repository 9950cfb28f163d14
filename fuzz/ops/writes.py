# SPDX-License-Identifier: Apache-2.0
"""Indexed writes that copy: each result element is the base's, a written one, or a constant.

Where two writes could meet, the index has no duplicates: torch leaves open which of them wins. Writes that add up or
reduce are in `accumulating_writes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from fuzz.ops.core import Decides, Moves, Op, register
from fuzz.ops.operands import (
    any_dim,
    index_pair,
    index_shape,
    indexed,
    range_with,
    result_limit,
    scalar,
    unique_row_index,
)

if TYPE_CHECKING:
    from fuzz.ops.scope import Scope, Value


# --- draws ------------------------------------------------------------------------------------------------------------


def _draw_scatter(scope: Scope) -> Value:
    x = indexed(scope)
    dim = any_dim(scope, x)
    shape = index_shape(scope, x, dim, x.shape[dim])
    index = scope.new_unique_index(shape, x.shape[dim], dim)
    # Only the corner of the source that the index covers is written.
    source_shape = tuple(size + scope.choose((0, 0, 0, 0, 0, 1)) for size in shape)
    return scope.apply("scatter", x, index, scope.like(source_shape, x.dtype), dim=dim)


def _draw_scatter_value(scope: Scope) -> Value:
    x = indexed(scope)
    dim = any_dim(scope, x)
    # More writes than places is defined too, but torch_xla 2.9 rejects it.
    longest = result_limit(scope) if scope.chance(5) else x.shape[dim]
    index = scope.index(index_shape(scope, x, dim, longest), x.shape[dim])
    value = scalar(scope, x.dtype)
    return scope.apply("scatter_value", x, index, **range_with(x, value), dim=dim, value=value)


def _draw_index_copy(scope: Scope) -> Value:
    x = indexed(scope)
    dim = any_dim(scope, x)
    length = min(scope.size(), x.shape[dim])
    index = unique_row_index(scope, length, x.shape[dim])
    shape = (*x.shape[:dim], length, *x.shape[dim + 1 :])
    return scope.apply("index_copy", x, index, scope.like(shape, x.dtype), dim=dim)


def _draw_index_fill(scope: Scope) -> Value:
    x = indexed(scope)
    dim = any_dim(scope, x)
    index = scope.index((scope.size(),), x.shape[dim])  # torch takes no narrower index here
    value = scalar(scope, x.dtype)
    return scope.apply("index_fill", x, index, **range_with(x, value), dim=dim, value=value)


def _draw_index_put(scope: Scope) -> Value:
    x = indexed(scope, 2)
    rows, columns = min(scope.size(), x.shape[0]), min(scope.size(), x.shape[1])
    if scope.chance(35):
        # An (n, 1) index broadcast against an (m,) one: distinct rows times distinct columns never meet twice.
        i = scope.new_unique_index((rows, 1), x.shape[0])
        j = unique_row_index(scope, columns, x.shape[1])
        targets: tuple[int, ...] = (rows, columns)
    else:
        i = unique_row_index(scope, rows, x.shape[0])
        j = scope.index((rows,), x.shape[1], negative=True)
        targets = (rows,)
    return scope.apply("index_put", x, i, j, scope.like((*targets, *x.shape[2:]), x.dtype))


def _draw_index_put_value(scope: Scope) -> Value:
    x = indexed(scope, 2)
    shape = scope.shape(1, 2)
    value = scalar(scope, x.dtype)
    return scope.apply("index_put_value", x, *index_pair(scope, x, shape), **range_with(x, value), value=value)


def _draw_slice_scatter(scope: Scope) -> Value:
    x = indexed(scope)
    dim = any_dim(scope, x)
    start = scope.integer(0, x.shape[dim] - 1)
    end = scope.integer(start + 1, x.shape[dim])
    step = scope.choose((1, 1, 1, 2, 3))
    shape = (*x.shape[:dim], math.ceil((end - start) / step), *x.shape[dim + 1 :])
    source = scope.like(shape, x.dtype)
    return scope.apply("slice_scatter", x, source, dim=dim, start=start, end=end, step=step)


def _slice_scatter(x: torch.Tensor, source: torch.Tensor, *, dim: int, start: int, end: int, step: int) -> torch.Tensor:
    if source.shape[dim] != len(range(*slice(start, end, step).indices(x.shape[dim]))):
        # torch's meta kernel accepts any size.
        raise RuntimeError(f"slice_scatter: {source.shape[dim]} elements do not fit {start}:{end}:{step}")
    return torch.slice_scatter(x, source, dim, start, end, step)


def _draw_select_scatter(scope: Scope) -> Value:
    x = indexed(scope, 2)
    dim = any_dim(scope, x)
    source = scope.like(x.shape[:dim] + x.shape[dim + 1 :], x.dtype)
    return scope.apply("select_scatter", x, source, dim=dim, index=scope.integer(0, x.shape[dim] - 1))


def _draw_one_hot(scope: Scope) -> Value:
    classes = scope.size()
    index = scope.index(scope.shape(1, 3, max(1, result_limit(scope) // classes)), classes)
    return scope.apply("one_hot", index, low=0, high=2, classes=classes)


# --- whether torch defines the result ---------------------------------------------------------------------------------


def _agree(x: torch.Tensor, locate: Callable[[torch.Tensor], torch.Tensor], written: torch.Tensor) -> bool:
    """Whether all writes to one element of `x` carry one value.

    `locate` reads with the op's own indices: from the flat positions of `x` it gets the position each write goes to.
    """
    try:
        targets = locate(torch.arange(x.numel()).reshape(x.shape))
    except (IndexError, RuntimeError):  # an index out of range: nothing is defined
        return False
    exact = written.expand(targets.shape).flatten().to(torch.float64 if written.is_floating_point() else torch.int64)
    lowest, highest = (
        torch.zeros(x.numel(), dtype=exact.dtype).scatter_reduce(0, targets.flatten(), exact, how, include_self=False)
        for how in ("amin", "amax")
    )
    return torch.equal(lowest, highest)


def _scatter_defined(x: torch.Tensor, index: torch.Tensor, source: torch.Tensor, *, dim: int) -> bool:
    corner = source[tuple(slice(size) for size in index.shape)]
    return _agree(x, lambda positions: positions.gather(dim, index), corner)


register(
    Op(
        name="scatter",
        family="indexed write",
        doc="out[.., index[.., j, ..], ..] = source[.., j, ..] along dim, elsewhere x",
        draw=_draw_scatter,
        run=lambda x, index, source, *, dim: x.scatter(dim, index, source),
        source="{0}.scatter({dim}, {1}, {2})",
        semantics=Moves(data=(0, 2)),
        indices=((1, "dim"),),
        defined=_scatter_defined,
    ),
    Op(
        name="scatter_value",
        family="indexed write",
        doc="out[.., index[.., j, ..], ..] = value along dim, elsewhere x",
        draw=_draw_scatter_value,
        run=lambda x, index, *, dim, value: x.scatter(dim, index, value),
        source="{0}.scatter({dim}, {1}, {value})",
        semantics=Moves(constant="value"),
        indices=((1, "dim"),),
    ),
    Op(
        name="index_copy",
        family="indexed write",
        doc="slices of source replace the slices of x along dim that a rank 1 index names",
        draw=_draw_index_copy,
        run=lambda x, index, source, *, dim: x.index_copy(dim, index, source),
        source="{0}.index_copy({dim}, {1}, {2})",
        semantics=Moves(data=(0, 2)),
        indices=((1, "dim"),),
        defined=lambda x, index, source, *, dim: _agree(x, lambda p: p.index_select(dim, index), source),
    ),
    Op(
        name="index_fill",
        family="indexed write",
        doc="the slices of x along dim that a rank 1 index names become value",
        draw=_draw_index_fill,
        run=lambda x, index, *, dim, value: x.index_fill(dim, index, value),
        source="{0}.index_fill({dim}, {1}, {value})",
        semantics=Moves(constant="value"),
        indices=((1, "dim"),),
    ),
    Op(
        name="index_put",
        family="indexed write",
        doc="x with x[i, j] = source; i and j broadcast",
        draw=_draw_index_put,
        run=lambda x, i, j, source: torch.index_put(x, (i, j), source),
        source="torch.index_put({0}, ({1}, {2}), {3})",
        semantics=Moves(data=(0, 3)),
        indices=((1, 0), (2, 1)),
        defined=lambda x, i, j, source: _agree(x, lambda p: p[i, j], source),
    ),
    Op(
        name="index_put_value",
        family="indexed write",
        doc="x with x[i, j] = value",
        draw=_draw_index_put_value,
        run=lambda x, i, j, *, value: torch.index_put(x, (i, j), torch.full((), value, dtype=x.dtype, device=x.device)),
        source="torch.index_put({0}, ({1}, {2}), torch.full((), {value}, dtype={0}.dtype, device={0}.device))",
        semantics=Moves(constant="value"),
        indices=((1, 0), (2, 1)),
    ),
    Op(
        name="slice_scatter",
        family="indexed write",
        doc="x with the slice start:end:step along dim replaced by source",
        draw=_draw_slice_scatter,
        run=_slice_scatter,
        source="torch.slice_scatter({0}, {1}, {dim}, {start}, {end}, {step})",
        semantics=Moves(data=(0, 1)),
    ),
    Op(
        name="select_scatter",
        family="indexed write",
        doc="x with position index of dim replaced by source, which has one dim less",
        draw=_draw_select_scatter,
        run=lambda x, source, *, dim, index: torch.select_scatter(x, source, dim, index),
        source="torch.select_scatter({0}, {1}, {dim}, {index})",
        semantics=Moves(data=(0, 1)),
    ),
    Op(
        name="one_hot",
        family="indexed write",
        doc="out[.., c] = 1 where index[..] is c, else 0 (i64)",
        draw=_draw_one_hot,
        run=lambda index, *, classes: torch.nn.functional.one_hot(index, classes),
        source="torch.nn.functional.one_hot({0}, {classes})",
        semantics=Decides(),
    ),
)
