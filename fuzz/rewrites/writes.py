# SPDX-License-Identifier: Apache-2.0
"""Other forms of indexed writes: as each other, as joined slices, and as a comparison of the index with all places."""

from __future__ import annotations

from fuzz.case import Attribute
from fuzz.rewrites.core import Graph, Value, along, equivalent
from fuzz.rewrites.reads import COMPARED, flat_position, hits

# The lowest finite value: what a maximum over written values ignores.
LOWEST: dict[str, Attribute] = {
    "f32": -((2.0 - 2.0**-23) * 2.0**127),
    "bf16": -((2.0 - 2.0**-7) * 2.0**127),
    "i32": -(1 << 31),
    "i64": -(1 << 63),
}


def _hit(g: Graph, hit: Value, dim: int) -> Value:
    """Which places along dim are written at all."""
    return g.apply("any", hit, dim=dim, keepdim=False)


def _covers(x: Value, index: Value, dim: int) -> bool:
    """Whether the index is as large as `x` in all other dims."""
    return all(mine == theirs for d, (mine, theirs) in enumerate(zip(x.shape, index.shape, strict=True)) if d != dim)


def _sources(g: Graph, hit: Value, source: Value, neutral: Attribute, dim: int) -> Value:
    """What each index element would write to each place: the source where it hits, else a neutral value."""
    corner = source
    for d, size in enumerate(hit.shape[: dim + 1] + hit.shape[dim + 2 :]):
        corner = g.part(corner, d, 0, size)
    return g.apply(
        "where", hit, g.apply("unsqueeze", corner, dim=dim + 1), g.full((1,) * hit.rank, neutral, source.dtype)
    )


def _spread(g: Graph, x: Value, index: Value, dim: int) -> Value:
    """A rank 1 index for dim as a scatter wants it: of the rank of `x`, repeated over all other dims."""
    row = g.reshape(g.cast(index, "i64"), along(dim, x.rank, index.shape[0]))
    return g.expand(row, (*x.shape[:dim], index.shape[0], *x.shape[dim + 1 :]))


def _row_hit(g: Graph, x: Value, index: Value, dim: int) -> Value:
    """Which places along dim a rank 1 index names; size 1 in all other dims."""
    return g.reshape(_hit(g, hits(g, index, x.shape[dim], 0), 0), along(dim, x.rank, x.shape[dim]))


# --- writes that copy -------------------------------------------------------------------------------------------------


@equivalent("scatter", COMPARED)
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int) -> Value | None:
    if not _covers(x, index, dim) or x.dtype == "bool":
        return None
    hit = hits(g, index, x.shape[dim], dim)
    # Writes that meet carry one value, so the largest of them is it.
    written = g.apply("amax", _sources(g, hit, source, LOWEST[x.dtype], dim), dim=dim, keepdim=False)
    return g.apply("where", _hit(g, hit, dim), written, x)


@equivalent("scatter", "index_put")
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int) -> Value | None:
    if x.rank != 2:
        return None
    own = g.expand(g.places(index.shape[1 - dim], 1 - dim, 2), index.shape)
    pair = (own, index) if dim else (index, own)
    for d, size in enumerate(index.shape):
        source = g.part(source, d, 0, size)
    return g.apply("index_put", x, *pair, source)


@equivalent("scatter_value", COMPARED)
def _(g: Graph, x: Value, index: Value, *, dim: int, value: Attribute) -> Value | None:
    if not _covers(x, index, dim):
        return None
    return g.apply("masked_fill", x, _hit(g, hits(g, index, x.shape[dim], dim), dim), value=value)


@equivalent("scatter_value", "scatter")
def _(g: Graph, x: Value, index: Value, *, dim: int, value: Attribute) -> Value:
    return g.apply("scatter", x, index, g.full(index.shape, value, x.dtype), dim=dim)


@equivalent("index_copy", "scatter")
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int) -> Value:
    return g.apply("scatter", x, _spread(g, x, index, dim), source, dim=dim)


@equivalent("index_copy", "index_put")
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int) -> Value | None:
    if x.rank < 2 or dim > 1:
        return None
    # An index of rank 1 would have to be shaped (n, 1) for the first dim, and counts along the other.
    named = g.reshape(g.cast(index, "i64"), along(dim, 2, index.shape[0]))
    own = g.places(x.shape[1 - dim], 1 - dim, 2)
    return g.apply("index_put", x, *((own, named) if dim else (named, own)), source)


@equivalent("index_fill", COMPARED)
def _(g: Graph, x: Value, index: Value, *, dim: int, value: Attribute) -> Value:
    return g.apply("masked_fill", x, _row_hit(g, x, index, dim), value=value)


@equivalent("index_fill", "scatter_value")
def _(g: Graph, x: Value, index: Value, *, dim: int, value: Attribute) -> Value:
    return g.apply("scatter_value", x, _spread(g, x, index, dim), dim=dim, value=value)


def _merged(g: Graph, x: Value) -> Value:
    """The first two dims as one."""
    return g.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


@equivalent("index_put", "index_copy")
def _(g: Graph, x: Value, i: Value, j: Value, source: Value) -> Value:
    flat = flat_position(g, x, i, j)
    rows = g.reshape(source, (flat.spec.elements, *x.shape[2:]))
    written = g.apply("index_copy", _merged(g, x), g.reshape(flat, (flat.spec.elements,)), rows, dim=0)
    return g.reshape(written, x.shape)


@equivalent("index_put_value", "index_fill")
def _(g: Graph, x: Value, i: Value, j: Value, *, value: Attribute) -> Value:
    flat = flat_position(g, x, i, j)
    index = g.reshape(flat, (flat.spec.elements,))
    return g.reshape(g.apply("index_fill", _merged(g, x), index, dim=0, value=value), x.shape)


@equivalent("slice_scatter", "concat")
def _(g: Graph, x: Value, source: Value, *, dim: int, start: int, end: int, step: int) -> Value | None:
    first, last, stride = slice(start, end, step).indices(x.shape[dim])
    if stride != 1:
        return None
    return g.joined([g.part(x, dim, 0, first), source, g.part(x, dim, last, x.shape[dim])], dim)


@equivalent("slice_scatter", "index_copy")
def _(g: Graph, x: Value, source: Value, *, dim: int, start: int, end: int, step: int) -> Value:
    return g.apply("index_copy", x, g.counted(*slice(start, end, step).indices(x.shape[dim])), source, dim=dim)


@equivalent("select_scatter", "concat")
def _(g: Graph, x: Value, source: Value, *, dim: int, index: int) -> Value:
    at = index % x.shape[dim]
    row = g.apply("unsqueeze", source, dim=dim)
    return g.joined([g.part(x, dim, 0, at), row, g.part(x, dim, at + 1, x.shape[dim])], dim)


@equivalent("select_scatter", COMPARED)
def _(g: Graph, x: Value, source: Value, *, dim: int, index: int) -> Value:
    here = g.apply("eq_scalar", g.places(x.shape[dim], dim, x.rank), value=index % x.shape[dim])
    return g.apply("where", here, g.apply("unsqueeze", source, dim=dim), x)


@equivalent("one_hot", COMPARED)
def _(g: Graph, index: Value, *, classes: int) -> Value:
    return g.cast(hits(g, index, classes, index.rank - 1), "i64")


# --- writes that combine ----------------------------------------------------------------------------------------------


@equivalent("scatter_add", "scatter_reduce")
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int) -> Value:
    return g.apply("scatter_reduce_sum", x, index, source, dim=dim, include_self=True)


@equivalent("scatter_add", COMPARED)
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int) -> Value | None:
    return _combined(g, x, index, source, dim, 0, "sum", "add")


@equivalent("scatter_reduce_sum", "scatter_add")
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int, include_self: bool) -> Value | None:
    return g.apply("scatter_add", x, index, source, dim=dim) if include_self else None


@equivalent("scatter_reduce_sum", COMPARED)
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int, include_self: bool) -> Value | None:
    return _combined(g, x, index, source, dim, 0, "sum", "add", include_self)


@equivalent("scatter_reduce_prod", COMPARED)
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int, include_self: bool) -> Value | None:
    return _combined(g, x, index, source, dim, 1, "prod", "mul", include_self)


@equivalent("scatter_reduce_amax", COMPARED)
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int, include_self: bool) -> Value | None:
    return _combined(g, x, index, source, dim, LOWEST[x.dtype], "amax", "maximum", include_self)


@equivalent("scatter_reduce_amin", "scatter_reduce(amax) of -x")
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int, include_self: bool) -> Value:
    turned = (g.apply("neg", x), index, g.apply("neg", source))
    return g.apply("neg", g.apply("scatter_reduce_amax", *turned, dim=dim, include_self=include_self))


def _combined(
    g: Graph,
    x: Value,
    index: Value,
    source: Value,
    dim: int,
    neutral: Attribute,
    reduction: str,
    combine: str,
    include_self: bool = True,
) -> Value | None:
    """All that is written to one place reduced over the index, then combined with what was there."""
    if not _covers(x, index, dim):
        return None
    hit = hits(g, index, x.shape[dim], dim)
    written = g.apply(reduction, _sources(g, hit, source, neutral, dim), dim=dim, keepdim=False)
    written = g.cast(written, x.dtype)
    return g.apply(combine, x, written) if include_self else g.apply("where", _hit(g, hit, dim), written, x)


@equivalent("index_add", "scatter_add")
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int) -> Value:
    return g.apply("scatter_add", x, _spread(g, x, index, dim), source, dim=dim)


@equivalent("index_add", "one_hot @ source")
def _(g: Graph, x: Value, index: Value, source: Value, *, dim: int) -> Value | None:
    if dim != 0:
        return None
    named = g.apply("one_hot", g.cast(index, "i64"), classes=x.shape[0])
    columns = g.apply("transpose", g.cast(named, x.dtype), dim0=0, dim1=1)
    rows = g.reshape(source, (source.shape[0], source.spec.elements // source.shape[0]))
    return g.apply("add", x, g.reshape(g.apply("matmul", columns, rows), x.shape))


@equivalent("index_put_accumulate", "index_add")
def _(g: Graph, x: Value, i: Value, j: Value, source: Value) -> Value:
    flat = flat_position(g, x, i, j)
    rows = g.reshape(source, (flat.spec.elements, *x.shape[2:]))
    index = g.reshape(flat, (flat.spec.elements,))
    return g.reshape(g.apply("index_add", _merged(g, x), index, rows, dim=0), x.shape)
