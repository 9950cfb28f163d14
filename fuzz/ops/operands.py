# SPDX-License-Identifier: Apache-2.0
"""Operand draws that several op families share: dims, index shapes, indices without duplicates, scalars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from fuzz.case import DTYPES
from fuzz.ops.core import INTEGERS

if TYPE_CHECKING:
    from fuzz.ops.scope import Scope, Value

# Past the extents at which index arithmetic has failed: 8 and 11 significant bits, kernel widths. The last goes so far
# past 16 bits that a random index often does too.
LONG_EXTENTS = (257, 513, 1025, 2049, 4097, 16385, 98305, 98305)
LONG_ROWS = (2, 8, 5, 32, 3)
# Larger results only cost time: what fails on a large tensor fails on one just past the boundary.
RESULT_ELEMENTS = 1 << 18


class Range(TypedDict, total=False):
    """Keyword arguments of `Scope.apply` that state an integer result's range, half open; empty where unknown."""

    low: int
    high: int


def integer_range(dtype: str, low: int | None, high: int | None) -> Range:
    """The range, unless it is unknown, the dtype has none, or the result could wrap."""
    if low is None or high is None or dtype not in INTEGERS:
        return {}
    limit = 1 << (31 if dtype == "i32" else 63)
    return {"low": low, "high": high} if -limit <= low and high <= limit else {}


def range_with(value: Value, constant: int | bool) -> Range:
    """The range of a tensor in which some elements became `constant`."""
    if value.low is None or value.high is None:
        return {}
    return integer_range(value.dtype, min(value.low, constant), max(value.high, constant + 1))


def result_limit(scope: Scope) -> int:
    """Elements a drawn op's result, or a new operand, may have."""
    return min(scope.max_elements, RESULT_ELEMENTS)


def any_dim(scope: Scope, value: Value) -> int:
    return scope.integer(0, value.rank - 1)


def indexed(scope: Scope, min_rank: int = 1, max_rank: int = 5, dtypes: Sequence[str] = DTYPES) -> Value:
    """Data to index into: sometimes a new tensor with one extent just past a boundary."""
    extents = [extent for extent in LONG_EXTENTS if extent * LONG_ROWS[0] <= result_limit(scope)]
    if not extents or min_rank > 2 or max_rank < 2 or not scope.chance(15):
        return scope.data(min_rank, max_rank, dtypes)
    extent = scope.choose(extents)
    rows = scope.choose([rows for rows in LONG_ROWS if rows * extent <= result_limit(scope)])
    allowed = [dtype for dtype in scope.dtypes if dtype in dtypes] or list(dtypes)
    return scope.new_data((extent, rows) if scope.chance(50) else (rows, extent), scope.choose(allowed))


def index_shape(scope: Scope, data: Value, dim: int, longest: int) -> tuple[int, ...]:
    """Shape of a gather or scatter index: `longest` at most along `dim`, at most the data's in the other dims."""
    shape = list(data.shape)
    for other in range(data.rank):
        if other != dim and scope.chance(15):
            shape[other] = scope.integer(1, shape[other])
    across = math.prod(shape[:dim] + shape[dim + 1 :])
    shape[dim] = max(1, min(scope.size(), longest, result_limit(scope) // max(across, 1)))
    return tuple(shape)


def row_index(scope: Scope, shape: tuple[int, ...], extent: int, *, negative: bool = False) -> Value:
    """Positions in a dim of `extent`: fed, computed earlier, or counted in the graph; now and then in i32."""
    index = _wide_index(scope, shape, extent, negative)
    return _narrow(scope, index) if scope.chance(15) else index


def index_pair(scope: Scope, x: Value, shape: tuple[int, ...]) -> tuple[Value, Value]:
    """Positions in dims 0 and 1 of `x`, as in `x[arange(batch), i]`. Mostly of one dtype: torch_xla 2.9 wants that."""
    first, second = (_wide_index(scope, shape, extent, negative=True) for extent in x.shape[:2])
    narrow = scope.chance(15)
    mixed = scope.chance(3)
    return (
        _narrow(scope, first) if narrow else first,
        _narrow(scope, second) if narrow != mixed else second,
    )


def _wide_index(scope: Scope, shape: tuple[int, ...], extent: int, negative: bool) -> Value:
    if len(shape) == 1 and shape[0] <= extent and scope.chance(25):
        return counted(scope, shape[0])
    return scope.index(shape, extent, negative=negative)


def _narrow(scope: Scope, index: Value) -> Value:
    """Narrow ids are what tokenisers feed, and a path of their own through every compiler."""
    return scope.apply("cast", index, **integer_range("i32", index.low, index.high), dtype="i32")


def counted(scope: Scope, length: int) -> Value:
    """0, 1, 2, .. made in the graph: the iota that a partitioner must offset per shard."""
    return scope.apply("arange", low=0, high=length, distinct=True, start=0, end=length, step=1, dtype="i64")


def unique_row_index(scope: Scope, length: int, extent: int) -> Value:
    """A rank 1 index without duplicates, `length` <= `extent`."""
    return counted(scope, length) if scope.chance(25) else scope.new_unique_index((length,), extent)


def addend(scope: Scope, shape: tuple[int, ...], dtype: str) -> Value:
    """What gets summed: mostly small integers, so that sums are exact in every float and errors stand out."""
    return scope.new_data(shape, dtype, small=True) if scope.chance(70) else scope.like(shape, dtype)


def scalar(scope: Scope, dtype: str) -> int | bool:
    """A constant to write or compare with. No position payload holds 0 or -1; every dtype holds all of them."""
    return scope.choose((True, False)) if dtype == "bool" else scope.choose((1, 0, -1, 7, 100))
