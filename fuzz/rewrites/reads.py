# SPDX-License-Identifier: Apache-2.0
"""Other forms of indexed reads: as each other, and as a comparison of the index with all places."""

from __future__ import annotations

import math

from fuzz.rewrites.core import Graph, Value, along, equivalent

COMPARED = "arange == index"


def hits(g: Graph, index: Value, extent: int, dim: int) -> Value:
    """Truth values with one more dim, behind `dim`: whether that place is the one the index element names."""
    index = g.apply("unsqueeze", g.cast(index, "i64"), dim=dim + 1)
    return g.apply("eq", index, g.places(extent, dim + 1, index.rank))


def picked(g: Graph, hit: Value, x: Value, dim: int) -> Value:
    """The element of `x` that is hit along `dim`, which disappears; exactly one must be."""
    if x.dtype == "bool":
        return g.apply("any", g.apply("logical_and", hit, x), dim=dim, keepdim=False)
    chosen = g.apply("where", hit, x, g.full((1,) * x.rank, 0, x.dtype))
    return g.cast(g.apply("sum", chosen, dim=dim, keepdim=False), x.dtype)


@equivalent("gather", "take_along_dim")
def _(g: Graph, x: Value, index: Value, *, dim: int) -> Value:
    return g.apply("take_along_dim", g.corner(x, index.shape, dim), index, dim=dim)


@equivalent("gather", COMPARED)
def _(g: Graph, x: Value, index: Value, *, dim: int) -> Value:
    column = g.apply("unsqueeze", g.corner(x, index.shape, dim), dim=dim)
    return picked(g, hits(g, index, x.shape[dim], dim), column, dim + 1)


@equivalent("take_along_dim", "gather")
def _(g: Graph, x: Value, index: Value, *, dim: int) -> Value:
    common = [max(sizes) for sizes in zip(x.shape, index.shape, strict=True)]
    common[dim] = x.shape[dim]
    data = g.expand(x, common)
    common[dim] = index.shape[dim]
    return g.apply("gather", data, g.expand(index, common), dim=dim)


@equivalent("take_along_dim", COMPARED)
def _(g: Graph, x: Value, index: Value, *, dim: int) -> Value:
    return picked(g, hits(g, index, x.shape[dim], dim), g.apply("unsqueeze", x, dim=dim), dim + 1)


@equivalent("take", "index_select")
def _(g: Graph, x: Value, index: Value) -> Value:
    return _rows(g, g.reshape(x, (x.spec.elements,)), g.within(index, x.spec.elements), 0)


@equivalent("index_select", "gather")
def _(g: Graph, x: Value, index: Value, *, dim: int) -> Value:
    wanted = (*x.shape[:dim], index.shape[0], *x.shape[dim + 1 :])
    row = g.reshape(g.cast(index, "i64"), along(dim, x.rank, index.shape[0]))
    return g.apply("gather", x, g.expand(row, wanted), dim=dim)


@equivalent("index_select", "indexing")
def _(g: Graph, x: Value, index: Value, *, dim: int) -> Value | None:
    if dim > 1:
        return None
    return g.apply("index_dim1" if dim else "index", x, index)


@equivalent("index_select", COMPARED)
def _(g: Graph, x: Value, index: Value, *, dim: int) -> Value:
    row = g.reshape(index, along(dim, x.rank, index.shape[0]))
    return picked(g, hits(g, row, x.shape[dim], dim), g.apply("unsqueeze", x, dim=dim), dim + 1)


@equivalent("embedding", "indexing")
def _(g: Graph, index: Value, table: Value) -> Value:
    return g.apply("index", table, index)


@equivalent("embedding", "index_select")
def _(g: Graph, index: Value, table: Value) -> Value:
    return _rows(g, table, index, 0)


@equivalent("embedding", "one_hot @ table")
def _(g: Graph, index: Value, table: Value) -> Value:
    flat = g.reshape(g.cast(index, "i64"), (index.spec.elements,))
    rows = g.cast(g.apply("one_hot", flat, classes=table.shape[0]), table.dtype)
    return g.reshape(g.apply("matmul", rows, table), (*index.shape, table.shape[1]))


@equivalent("index", "index_select")
def _(g: Graph, x: Value, index: Value) -> Value:
    return _rows(g, x, g.within(index, x.shape[0]), 0)


@equivalent("index", "embedding")
def _(g: Graph, x: Value, index: Value) -> Value | None:
    return g.apply("embedding", g.within(index, x.shape[0]), x) if x.rank == 2 and x.dtype != "bool" else None


@equivalent("index2", "index_select")
def _(g: Graph, x: Value, i: Value, j: Value) -> Value:
    return _rows(g, g.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])), flat_position(g, x, i, j), 0)


@equivalent("index_dim1", "index_select")
def _(g: Graph, x: Value, index: Value) -> Value:
    return _rows(g, x, g.within(index, x.shape[1]), 1)


def _rows(g: Graph, x: Value, index: Value, dim: int) -> Value:
    """Slices of `x` named by an index of any rank, whose dims take the place of `dim`."""
    rows = g.apply("index_select", x, g.reshape(index, (math.prod(index.shape),)), dim=dim)
    return g.reshape(rows, (*x.shape[:dim], *index.shape, *x.shape[dim + 1 :]))


def flat_position(g: Graph, x: Value, i: Value, j: Value) -> Value:
    """Positions (i, j) in the first two dims of `x`, row-major."""
    row = g.apply("mul_scalar", g.within(i, x.shape[0]), value=x.shape[1])
    return g.apply("add", row, g.within(j, x.shape[1]))
