# SPDX-License-Identifier: Apache-2.0
"""Views, reorderings and joins: no arithmetic, but attributes that mean something else once a dim is sharded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from fuzz.ops.core import Moves, Op, register
from fuzz.ops.operands import any_dim, range_with, result_limit, scalar

if TYPE_CHECKING:
    from fuzz.ops.scope import Scope, Value

MAX_RANK = 5
MAX_CONCAT = 4


# --- draws ------------------------------------------------------------------------------------------------------------


def _permuted(scope: Scope, count: int) -> list[int]:
    remaining = list(range(count))
    return [remaining.pop(scope.integer(0, len(remaining) - 1)) for _ in range(count)]


def _draw_reshape(scope: Scope) -> Value:
    x = scope.data()
    shape = list(x.shape)
    match scope.choose(("merge", "split", "flatten")):
        case "merge" if x.rank > 1:
            dim = scope.integer(0, x.rank - 2)
            shape[dim : dim + 2] = [shape[dim] * shape[dim + 1]]
        case "split" if x.rank < MAX_RANK:
            dim = any_dim(scope, x)
            factor = scope.choose([f for f in (2, 4, 8, 3, 1, shape[dim]) if f and shape[dim] % f == 0])
            shape[dim : dim + 1] = [factor, shape[dim] // factor]
        case _:
            shape = [x.spec.elements]
    if scope.chance(25):
        shape[scope.integer(0, len(shape) - 1)] = -1
    return scope.apply("reshape", x, distinct=x.distinct, shape=tuple(shape))


def _draw_permute(scope: Scope) -> Value:
    # A rotation of three or more dims differs from its inverse: one applied the wrong way round shows.
    rotated = scope.chance(50)
    x = scope.data(3 if rotated else 2)
    first = scope.integer(1, x.rank - 1)
    dims = [*range(first, x.rank), *range(first)] if rotated else _permuted(scope, x.rank)
    return scope.apply("permute", x, distinct=x.distinct, dims=tuple(dims))


def _draw_transpose(scope: Scope) -> Value:
    x = scope.data(2)
    dim0, dim1 = _permuted(scope, x.rank)[:2]
    return scope.apply("transpose", x, distinct=x.distinct, dim0=dim0, dim1=dim1)


def _draw_expand(scope: Scope) -> Value:
    x = scope.data(max_rank=MAX_RANK - 1)
    room = max(1, result_limit(scope) // max(x.spec.elements, 1))
    shape = list(x.shape)
    for dim, size in enumerate(shape):
        if size == 1 and room > 1:
            shape[dim] = scope.integer(2, min(room, 16))
            room //= shape[dim]
    if tuple(shape) == x.shape or scope.chance(30):
        shape.insert(0, min(scope.size(), room))
    return scope.apply("expand", x, shape=tuple(shape))


def _draw_tile(scope: Scope) -> Value:
    x = scope.data()
    room = max(1, result_limit(scope) // max(x.spec.elements, 1))
    repeats = [1] * x.rank
    repeats[any_dim(scope, x)] = min(scope.choose((2, 3, 4)), room)
    if x.rank < MAX_RANK and scope.chance(20):
        repeats.insert(0, 1)
    return scope.apply("tile", x, repeats=tuple(repeats))


def _draw_flip(scope: Scope) -> Value:
    x = scope.data()
    dims = _permuted(scope, x.rank)[: scope.integer(1, min(x.rank, 2))]
    return scope.apply("flip", x, distinct=x.distinct, dims=tuple(sorted(dims)))


def _draw_roll(scope: Scope) -> Value:
    x = scope.data()
    dim = any_dim(scope, x)
    shift = scope.choose((1, -1, 2, x.shape[dim] // 2, x.shape[dim] - 1))
    return scope.apply("roll", x, distinct=x.distinct, shift=shift, dim=dim)


def _draw_slice(scope: Scope) -> Value:
    x = scope.data()
    dim = any_dim(scope, x)
    size = x.shape[dim]
    half = max(1, size // 2)
    # A prefix, a suffix and a middle touch the shards of a split dim differently.
    start, end = scope.choose(((0, half), (size - half, size), (size // 4, size // 4 + half), (0, size)))
    if scope.chance(30):
        start = scope.integer(0, size - 1)
        end = scope.integer(start + 1, size)
    step = scope.choose((1, 1, 1, 2, 3))
    return scope.apply("slice", x, distinct=x.distinct, dim=dim, start=start, end=end, step=step)


def _draw_select(scope: Scope) -> Value:
    x = scope.data(2)
    dim = any_dim(scope, x)
    return scope.apply("select", x, distinct=x.distinct, dim=dim, index=scope.integer(0, x.shape[dim] - 1))


def _draw_concat(scope: Scope) -> Value:
    x = scope.data()
    dim = any_dim(scope, x)
    across = math.prod(x.shape[:dim] + x.shape[dim + 1 :])
    parts = [x]
    room = max(1, result_limit(scope) // across)
    for _ in range(scope.integer(1, MAX_CONCAT - 1)):
        size = min(x.shape[dim] if scope.chance(60) else scope.size(), room)
        parts.append(scope.like((*x.shape[:dim], size, *x.shape[dim + 1 :]), x.dtype))
    return scope.apply("concat", *parts, dim=dim)


def _draw_pad(scope: Scope) -> Value:
    x = scope.data()
    amounts = [scope.choose((0, 1, 2, 3, 8)) for _ in range(2 * scope.integer(1, min(x.rank, 2)))]
    value = scalar(scope, x.dtype)
    return scope.apply("pad", x, **range_with(x, value), pads=tuple(amounts), value=value)


def _draw_unsqueeze(scope: Scope) -> Value:
    x = scope.data(max_rank=MAX_RANK - 1)
    return scope.apply("unsqueeze", x, distinct=x.distinct, dim=scope.integer(0, x.rank))


def _draw_squeeze(scope: Scope) -> Value:
    candidates = [value for value in scope.readable if value.rank > 1 and 1 in value.shape]
    if candidates:
        x = scope.choose(candidates)
        dim = scope.choose([dim for dim, size in enumerate(x.shape) if size == 1])
    else:
        shape = list(scope.shape(1, MAX_RANK - 1))
        dim = scope.integer(0, len(shape))
        shape.insert(dim, 1)
        x = scope.new_data(tuple(shape), scope.choose(scope.dtypes))
    return scope.apply("squeeze", x, distinct=x.distinct, dim=dim)


register(
    Op(
        name="reshape",
        family="shape",
        doc="the same elements in row-major order in another shape; one size may be -1",
        draw=_draw_reshape,
        run=lambda x, *, shape: x.reshape(shape),
        source="{0}.reshape({shape})",
        semantics=Moves(),
    ),
    Op(
        name="permute",
        family="shape",
        doc="out's dim k is x's dim dims[k]",
        draw=_draw_permute,
        run=lambda x, *, dims: x.permute(dims),
        source="{0}.permute({dims})",
        semantics=Moves(),
    ),
    Op(
        name="transpose",
        family="shape",
        doc="two dims swapped",
        draw=_draw_transpose,
        run=lambda x, *, dim0, dim1: x.transpose(dim0, dim1),
        source="{0}.transpose({dim0}, {dim1})",
        semantics=Moves(),
    ),
    Op(
        name="expand",
        family="shape",
        doc="dims of size 1 repeated, and new leading dims",
        draw=_draw_expand,
        run=lambda x, *, shape: x.expand(shape),
        source="{0}.expand({shape})",
        semantics=Moves(),
    ),
    Op(
        name="tile",
        family="shape",
        doc="x repeated repeats[k] times along dim k",
        draw=_draw_tile,
        run=lambda x, *, repeats: x.repeat(repeats),
        source="{0}.repeat({repeats})",
        semantics=Moves(),
    ),
    Op(
        name="flip",
        family="shape",
        doc="dims in reverse order",
        draw=_draw_flip,
        run=lambda x, *, dims: x.flip(dims),
        source="{0}.flip({dims})",
        semantics=Moves(),
    ),
    Op(
        name="roll",
        family="shape",
        doc="out[(i + shift) mod size] = x[i] along dim",
        draw=_draw_roll,
        run=lambda x, *, shift, dim: x.roll(shift, dim),
        source="{0}.roll({shift}, {dim})",
        semantics=Moves(),
    ),
    Op(
        name="slice",
        family="shape",
        doc="x[start:end:step] along dim",
        draw=_draw_slice,
        run=lambda x, *, dim, start, end, step: x[(slice(None),) * dim + (slice(start, end, step),)],
        source="{0}[(slice(None),) * {dim} + (slice({start}, {end}, {step}),)]",
        semantics=Moves(),
    ),
    Op(
        name="select",
        family="shape",
        doc="position index of dim, which disappears",
        draw=_draw_select,
        run=lambda x, *, dim, index: x.select(dim, index),
        source="{0}.select({dim}, {index})",
        semantics=Moves(),
    ),
    Op(
        name="concat",
        family="shape",
        doc="2 to 4 operands joined along dim",
        draw=_draw_concat,
        run=lambda *operands, dim: torch.cat(operands, dim),
        source="torch.cat(({operands}), {dim})",
        semantics=Moves(data=tuple(range(MAX_CONCAT))),
    ),
    Op(
        name="pad",
        family="shape",
        doc="value around the last dims: pads holds before, after of the last dim, then of the one before it",
        draw=_draw_pad,
        run=lambda x, *, pads, value: torch.nn.functional.pad(x, pads, value=value),
        source="torch.nn.functional.pad({0}, {pads}, value={value})",
        semantics=Moves(constant="value"),
    ),
    Op(
        name="unsqueeze",
        family="shape",
        doc="a new dim of size 1",
        draw=_draw_unsqueeze,
        run=lambda x, *, dim: x.unsqueeze(dim),
        source="{0}.unsqueeze({dim})",
        semantics=Moves(),
    ),
    Op(
        name="squeeze",
        family="shape",
        doc="dim, of size 1, removed",
        draw=_draw_squeeze,
        run=lambda x, *, dim: x.squeeze(dim),
        source="{0}.squeeze({dim})",
        semantics=Moves(),
    ),
)
