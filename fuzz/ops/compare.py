# SPDX-License-Identifier: Apache-2.0
"""Comparisons, logic, selection by masks, and changes of dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from fuzz.ops.core import FLOATS, INTEGERS, TORCH_DTYPES, Converts, Decides, Moves, Op, register
from fuzz.ops.operands import integer_range, range_with, scalar

if TYPE_CHECKING:
    from fuzz.ops.scope import Scope, Value

# Every integer up to this magnitude has its own value in the float: 24 and 8 bits of significand.
EXACT_INTEGERS = {"f32": 1 << 24, "bf16": 1 << 8}

COMPARISONS: dict[str, tuple[str, Callable[..., torch.Tensor]]] = {
    "eq": ("==", torch.eq),
    "ne": ("!=", torch.ne),
    "lt": ("<", torch.lt),
    "le": ("<=", torch.le),
    "gt": (">", torch.gt),
    "ge": (">=", torch.ge),
}


def _draw_comparison(scope: Scope, op: str) -> Value:
    x = scope.data(exact=True)
    return scope.apply(op, x, scope.like(x.shape, x.dtype, exact=True))


def _draw_comparison_scalar(scope: Scope, op: str) -> Value:
    x = scope.data(exact=True)
    return scope.apply(op, x, value=scalar(scope, x.dtype))


def _comparison(name: str) -> tuple[Op, Op]:
    sign, compute = COMPARISONS[name]
    tensors = Op(
        name=name,
        family="comparison",
        doc=f"x {sign} y",
        draw=lambda scope: _draw_comparison(scope, name),
        run=lambda x, y: compute(x, y),
        source=f"({{0}} {sign} {{1}})",
        semantics=Decides(),
    )
    with_scalar = Op(
        name=f"{name}_scalar",
        family="comparison",
        doc=f"x {sign} value",
        draw=lambda scope: _draw_comparison_scalar(scope, f"{name}_scalar"),
        run=lambda x, *, value: compute(x, value),
        source=f"({{0}} {sign} {{value}})",
        semantics=Decides(),
    )
    return tensors, with_scalar


def _draw_logical(scope: Scope, op: str) -> Value:
    x = scope.data(dtypes=("bool",))
    return scope.apply(op, x, scope.mask(x.shape))


def _draw_where(scope: Scope) -> Value:
    x = scope.data()
    return scope.apply("where", scope.mask(x.shape), x, scope.like(x.shape, x.dtype))


def _draw_masked_fill(scope: Scope) -> Value:
    x = scope.data()
    # A mask of the leading dims only, as in routers: one truth value per row.
    shape = (*x.shape[:-1], 1) if x.rank > 1 and scope.chance(25) else x.shape
    value = scalar(scope, x.dtype)
    return scope.apply("masked_fill", x, scope.mask(shape), **range_with(x, value), value=value)


def _draw_cast(scope: Scope) -> Value:
    x = scope.data()
    if x.dtype in FLOATS:
        return scope.apply("cast", x, dtype=scope.choose(FLOATS))
    if x.dtype == "bool":
        dtype = scope.choose((*INTEGERS, *FLOATS))
        return scope.apply("cast", x, **integer_range(dtype, 0, 2), dtype=dtype)
    dtype = scope.choose([*INTEGERS, *(name for name in FLOATS if _holds(name, x))])
    return scope.apply("cast", x, **integer_range(dtype, x.low, x.high), dtype=dtype)


def _holds(dtype: str, x: Value) -> bool:
    limit = EXACT_INTEGERS[dtype]
    return x.low is not None and x.high is not None and -limit <= x.low and x.high <= limit


def _draw_to_bool(scope: Scope) -> Value:
    return scope.apply("to_bool", scope.data(exact=True))


register(
    *(op for name in COMPARISONS for op in _comparison(name)),
    Op(
        name="logical_and",
        family="comparison",
        doc="x and y, of truth values",
        draw=lambda scope: _draw_logical(scope, "logical_and"),
        run=lambda x, y: torch.logical_and(x, y),
        source="torch.logical_and({0}, {1})",
        semantics=Decides(),
    ),
    Op(
        name="logical_or",
        family="comparison",
        doc="x or y, of truth values",
        draw=lambda scope: _draw_logical(scope, "logical_or"),
        run=lambda x, y: torch.logical_or(x, y),
        source="torch.logical_or({0}, {1})",
        semantics=Decides(),
    ),
    Op(
        name="logical_not",
        family="comparison",
        doc="not x, of truth values",
        draw=lambda scope: scope.apply("logical_not", scope.data(dtypes=("bool",))),
        run=lambda x: torch.logical_not(x),
        source="torch.logical_not({0})",
        semantics=Decides(),
    ),
    Op(
        name="where",
        family="comparison",
        doc="x where the mask is true, else y",
        draw=_draw_where,
        run=lambda mask, x, y: torch.where(mask, x, y),
        source="torch.where({0}, {1}, {2})",
        semantics=Moves(data=(1, 2)),
    ),
    Op(
        name="masked_fill",
        family="comparison",
        doc="value where the mask is true, else x",
        draw=_draw_masked_fill,
        run=lambda x, mask, *, value: x.masked_fill(mask, value),
        source="{0}.masked_fill({1}, {value})",
        semantics=Moves(constant="value"),
    ),
    Op(
        name="cast",
        family="comparison",
        doc="x in another dtype: floats, integers, truth values to numbers, integers to floats that hold them",
        draw=_draw_cast,
        run=lambda x, *, dtype: x.to(TORCH_DTYPES[dtype]),
        source="{0}.to({dtype})",
        semantics=Converts(),
    ),
    Op(
        name="to_bool",
        family="comparison",
        doc="whether x is not zero",
        draw=_draw_to_bool,
        run=lambda x: x.to(torch.bool),
        source="{0}.to(torch.bool)",
        semantics=Decides(),
    ),
)
