# SPDX-License-Identifier: Apache-2.0
"""Sums, products, extremes and contractions along dims: what a sharded dim turns into a collective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from fuzz.case import TensorSpec
from fuzz.ops.core import FLOATS, NUMBERS, Accumulates, Decides, Op, Selects, register
from fuzz.ops.operands import Range, any_dim, integer_range, result_limit

if TYPE_CHECKING:
    from fuzz.ops.scope import Scope, Value

# A product of this many small integers stays far below 2^24.
PRODUCT_TERMS = 8
# The contractions of routers and experts: vector by matrix, batched matrix by vector, tokens by experts by choices.
EQUATIONS = ("bi,ij->bj", "bij,bj->bi", "te,tke->tk", "bij,bjk->bik", "bij,kj->bik")


# --- draws ------------------------------------------------------------------------------------------------------------


def _draw_sum(scope: Scope) -> Value:
    x = scope.data(dtypes=(*NUMBERS, "bool"))
    dim = _dims(scope, x)
    count = _extent(x.shape, dim)
    known: Range = {"low": 0, "high": count + 1} if x.dtype == "bool" else {}
    if x.low is not None and x.high is not None:
        known = integer_range("i64", x.low * count, (x.high - 1) * count + 1)
    return scope.apply("sum", x, **known, dim=dim, keepdim=scope.chance(40))


def _draw_mean(scope: Scope) -> Value:
    x = scope.data(dtypes=FLOATS)
    return scope.apply("mean", x, dim=_dims(scope, x), keepdim=scope.chance(40))


def _draw_extreme(scope: Scope, op: str) -> Value:
    x = _below_zero(scope) if scope.chance(35) else scope.data(dtypes=NUMBERS)
    known = integer_range(x.dtype, x.low, x.high)
    return scope.apply(op, x, **known, dim=_dims(scope, x), keepdim=scope.chance(40))


def _below_zero(scope: Scope) -> Value:
    """Negative values, as logarithms of probabilities are: zeros that do not belong there are larger."""
    shape = scope.shape()
    dtype = scope.choose([name for name in scope.dtypes if name in NUMBERS] or FLOATS)
    return scope.new_ranked(shape, dtype, scope.integer(0, len(shape) - 1), negative=True)


def _draw_logical(scope: Scope, op: str) -> Value:
    x = scope.data(dtypes=("bool",))
    return scope.apply(op, x, dim=any_dim(scope, x), keepdim=scope.chance(40))


def _draw_prod(scope: Scope) -> Value:
    shape = list(scope.shape())
    dim = scope.integer(0, len(shape) - 1)
    shape[dim] = min(shape[dim], PRODUCT_TERMS)
    dtype = scope.choose([name for name in scope.dtypes if name in NUMBERS] or FLOATS)
    x = scope.new_data(tuple(shape), dtype, small=True)
    return scope.apply("prod", x, dim=dim, keepdim=scope.chance(40))


def _draw_cumsum(scope: Scope) -> Value:
    # Of i32 and truth values torch makes i64; torch_xla 2.9 keeps the dtype, so a sum of truth values is one again.
    x = scope.data(dtypes=("i32", "bool") if scope.chance(15) else (*FLOATS, "i64"))
    dim = any_dim(scope, x)
    known: Range = {"low": 0, "high": x.shape[dim] + 1} if x.dtype == "bool" else {}
    if x.low is not None and x.high is not None:
        low, high = x.low * x.shape[dim], (x.high - 1) * x.shape[dim] + 1
        known = integer_range("i64", min(x.low, low), max(x.high, high))
    return scope.apply("cumsum", x, **known, dim=dim)


def _draw_matmul(scope: Scope) -> Value:
    x = scope.data(2, 4, NUMBERS)
    columns = max(1, min(scope.size(), result_limit(scope) // max(x.spec.elements // x.shape[-1], x.shape[-1])))
    batch = x.shape[:-2] if scope.chance(70) else ()
    y = scope.new_data((*batch, x.shape[-1], columns), x.dtype, small=True)
    return scope.apply("matmul", x, y)


def _draw_einsum(scope: Scope) -> Value:
    equation = scope.choose(EQUATIONS)
    first, second = equation.split("->")[0].split(",")
    x = scope.data(len(first), len(first), NUMBERS)
    sizes = dict(zip(first, x.shape, strict=True))
    for letter in second:
        sizes.setdefault(letter, scope.choose((4, 8, 2, 16, 3)))
    y = scope.new_data(tuple(sizes[letter] for letter in second), x.dtype, small=True)
    return scope.apply("einsum", x, y, equation=equation)


def _dims(scope: Scope, x: Value) -> int | tuple[int, ...]:
    """One dim, or a tuple of one or two."""
    first = any_dim(scope, x)
    return first if x.rank == 1 or scope.chance(70) else tuple(sorted({first, any_dim(scope, x)}))


# --- roundings behind one result element ------------------------------------------------------------------------------


def _extent(shape: tuple[int, ...], dim: int | tuple[int, ...]) -> int:
    """Elements that meet in one result when `dim`, one or several, is reduced."""
    return math.prod(shape[d] for d in ((dim,) if isinstance(dim, int) else dim))


def _reduced(specs: Sequence[TensorSpec], attributes: dict[str, Any]) -> int:
    return _extent(specs[0].shape, attributes["dim"])


def _reduced_and_divided(specs: Sequence[TensorSpec], attributes: dict[str, Any]) -> int:
    return _reduced(specs, attributes) + 1


def _inner(specs: Sequence[TensorSpec], _: dict[str, Any]) -> int:
    return specs[0].shape[-1] + 1  # a rounding per product, one per addition, one for the result


def _contracted(specs: Sequence[TensorSpec], attributes: dict[str, Any]) -> int:
    operands, result = str(attributes["equation"]).split("->")
    sizes = {
        letter: size
        for letters, spec in zip(operands.split(","), specs, strict=True)
        for letter, size in zip(letters, spec.shape, strict=True)
    }
    return math.prod(size for letter, size in sizes.items() if letter not in result) + 1


register(
    Op(
        name="sum",
        family="reduction",
        doc="sum over the dims in dim; integers and truth values sum in i64",
        draw=_draw_sum,
        run=lambda x, *, dim, keepdim: x.sum(dim, keepdim=keepdim),
        source="{0}.sum({dim}, keepdim={keepdim})",
        semantics=Accumulates(_reduced),
    ),
    Op(
        name="mean",
        family="reduction",
        doc="mean over the dims in dim",
        draw=_draw_mean,
        run=lambda x, *, dim, keepdim: x.mean(dim, keepdim=keepdim),
        source="{0}.mean({dim}, keepdim={keepdim})",
        semantics=Accumulates(_reduced_and_divided, exact_if_integral=False),
    ),
    Op(
        name="amax",
        family="reduction",
        doc="the largest element over the dims in dim",
        draw=lambda scope: _draw_extreme(scope, "amax"),
        run=lambda x, *, dim, keepdim: x.amax(dim, keepdim=keepdim),
        source="{0}.amax({dim}, keepdim={keepdim})",
        semantics=Selects(),
    ),
    Op(
        name="amin",
        family="reduction",
        doc="the smallest element over the dims in dim",
        draw=lambda scope: _draw_extreme(scope, "amin"),
        run=lambda x, *, dim, keepdim: x.amin(dim, keepdim=keepdim),
        source="{0}.amin({dim}, keepdim={keepdim})",
        semantics=Selects(),
    ),
    Op(
        name="any",
        family="reduction",
        doc="whether any truth value along dim holds",
        draw=lambda scope: _draw_logical(scope, "any"),
        run=lambda x, *, dim, keepdim: x.any(dim, keepdim=keepdim),
        source="{0}.any({dim}, keepdim={keepdim})",
        semantics=Decides(),
    ),
    Op(
        name="all",
        family="reduction",
        doc="whether all truth values along dim hold",
        draw=lambda scope: _draw_logical(scope, "all"),
        run=lambda x, *, dim, keepdim: x.all(dim, keepdim=keepdim),
        source="{0}.all({dim}, keepdim={keepdim})",
        semantics=Decides(),
    ),
    Op(
        name="prod",
        family="reduction",
        doc="product along dim; integers multiply in i64",
        draw=_draw_prod,
        run=lambda x, *, dim, keepdim: x.prod(dim, keepdim=keepdim),
        source="{0}.prod({dim}, keepdim={keepdim})",
        semantics=Accumulates(_reduced),
    ),
    Op(
        name="cumsum",
        family="reduction",
        doc="running sum along dim; integers and truth values sum in i64",
        draw=_draw_cumsum,
        run=lambda x, *, dim: x.cumsum(dim),
        source="{0}.cumsum({dim})",
        semantics=Accumulates(_reduced),
    ),
    Op(
        name="matmul",
        family="reduction",
        doc="x @ y over the last dim of x; batched above rank 2",
        draw=_draw_matmul,
        run=lambda x, y: x @ y,
        source="({0} @ {1})",
        semantics=Accumulates(_inner, data=(0, 1)),
    ),
    Op(
        name="einsum",
        family="reduction",
        doc=f"a contraction of two operands: one of {EQUATIONS}",
        draw=_draw_einsum,
        run=lambda x, y, *, equation: torch.einsum(equation, x, y),
        source="torch.einsum({equation}, {0}, {1})",
        semantics=Accumulates(_contracted, data=(0, 1)),
    ),
)
