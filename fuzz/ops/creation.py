# SPDX-License-Identifier: Apache-2.0
"""Tensors made in the graph from attributes alone. A partitioner must offset these per shard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fuzz.ops.core import TORCH_DTYPES, Moves, Op, register
from fuzz.ops.operands import LONG_EXTENTS, integer_range, result_limit, scalar

if TYPE_CHECKING:
    from fuzz.ops.scope import Scope, Value


def _draw_arange(scope: Scope) -> Value:
    # bf16 skips integers above 256, and how arange rounds them is an implementation's choice.
    dtype = scope.choose(["i64", "i32", *(name for name in scope.dtypes if name == "f32")])
    extents = [extent for extent in LONG_EXTENTS if extent <= result_limit(scope)]
    length = scope.choose(extents) if extents and scope.chance(20) else scope.size()
    start = 0 if scope.chance(75) else scope.integer(-3, 5)
    step = scope.choose((1, 1, 1, 2, 3))
    end = start + length * step
    known = integer_range(dtype, start, end - step + 1)
    return scope.apply("arange", **known, distinct=True, start=start, end=end, step=step, dtype=dtype)


def _draw_full(scope: Scope) -> Value:
    dtype = scope.choose(scope.dtypes)
    value = scalar(scope, dtype)
    return scope.apply("full", **integer_range(dtype, value, value + 1), shape=scope.shape(), value=value, dtype=dtype)


register(
    Op(
        name="arange",
        family="creation",
        doc="start, start + step, .. below end, rank 1",
        draw=_draw_arange,
        run=lambda *, start, end, step, dtype, device: torch.arange(
            start, end, step, dtype=TORCH_DTYPES[dtype], device=device
        ),
        source="torch.arange({start}, {end}, {step}, dtype={dtype}, device=device)",
        semantics=Moves(data=()),
        creates=True,
    ),
    Op(
        name="full",
        family="creation",
        doc="a tensor of one value",
        draw=_draw_full,
        run=lambda *, shape, value, dtype, device: torch.full(shape, value, dtype=TORCH_DTYPES[dtype], device=device),
        source="torch.full({shape}, {value}, dtype={dtype}, device=device)",
        semantics=Moves(data=()),
        creates=True,
    ),
)
