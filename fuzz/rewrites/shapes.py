# SPDX-License-Identifier: Apache-2.0
"""Other forms of views, reorderings and joins: as reads with counted positions, and as joined slices."""

from __future__ import annotations

from fuzz.case import Attribute
from fuzz.rewrites.core import Graph, Value, equivalent


@equivalent("flip", "index_select")
def _(g: Graph, x: Value, *, dims: tuple[int, ...]) -> Value:
    for dim in dims:
        dim %= x.rank
        last = x.shape[dim] - 1
        backwards = g.apply("add_scalar", g.apply("neg", g.counted(0, last + 1)), value=last)
        x = g.apply("index_select", x, backwards, dim=dim)
    return x


@equivalent("flip", "concat")
def _(g: Graph, x: Value, *, dims: tuple[int, ...]) -> Value | None:
    if any(x.shape[dim] > 8 for dim in dims):
        return None
    for dim in dims:
        dim %= x.rank
        x = g.joined([g.part(x, dim, at, at + 1) for at in reversed(range(x.shape[dim]))], dim)
    return x


@equivalent("roll", "concat")
def _(g: Graph, x: Value, *, shift: int, dim: int) -> Value:
    size = x.shape[dim]
    cut = -shift % size
    return g.joined([g.part(x, dim, cut, size), g.part(x, dim, 0, cut)], dim)


@equivalent("roll", "index_select")
def _(g: Graph, x: Value, *, shift: int, dim: int) -> Value:
    size = x.shape[dim]
    turned = g.apply("add_scalar", g.counted(0, size), value=-shift % size)
    return g.apply("index_select", x, g.apply("remainder_scalar", turned, value=size), dim=dim)


@equivalent("concat", "slice_scatter")
def _(g: Graph, *parts: Value, dim: int) -> Value:
    length = sum(part.shape[dim] for part in parts)
    first = parts[0]
    whole = g.full((*first.shape[:dim], length, *first.shape[dim + 1 :]), 0, first.dtype)
    start = 0
    for part in parts:
        end = start + part.shape[dim]
        whole = g.apply("slice_scatter", whole, part, dim=dim, start=start, end=end, step=1)
        start = end
    return whole


@equivalent("pad", "concat")
def _(g: Graph, x: Value, *, pads: tuple[int, ...], value: Attribute) -> Value | None:
    if min(pads) < 0:
        return None
    for dim, before, after in _padded(x, pads):
        sides = [
            [g.full((*x.shape[:dim], amount, *x.shape[dim + 1 :]), value, x.dtype)] if amount else []
            for amount in (before, after)
        ]
        x = g.joined([*sides[0], x, *sides[1]], dim)
    return x


@equivalent("pad", "slice_scatter")
def _(g: Graph, x: Value, *, pads: tuple[int, ...], value: Attribute) -> Value | None:
    if min(pads) < 0:
        return None
    for dim, before, after in _padded(x, pads):
        end = before + x.shape[dim]
        ground = g.full((*x.shape[:dim], end + after, *x.shape[dim + 1 :]), value, x.dtype)
        x = g.apply("slice_scatter", ground, x, dim=dim, start=before, end=end, step=1)
    return x


def _padded(x: Value, pads: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(dim, elements before, elements after) for each dim that grows; pads speaks of the last dim first."""
    pairs = zip(pads[::2], pads[1::2], strict=True)
    return [(x.rank - 1 - back, before, after) for back, (before, after) in enumerate(pairs) if before or after]


@equivalent("slice", "index_select")
def _(g: Graph, x: Value, *, dim: int, start: int, end: int, step: int) -> Value:
    return g.apply("index_select", x, g.counted(*slice(start, end, step).indices(x.shape[dim])), dim=dim)


@equivalent("select", "slice")
def _(g: Graph, x: Value, *, dim: int, index: int) -> Value:
    at = index % x.shape[dim]
    return g.apply("squeeze", g.part(x, dim, at, at + 1), dim=dim)


@equivalent("tile", "concat")
def _(g: Graph, x: Value, *, repeats: tuple[int, ...]) -> Value | None:
    if max(repeats) > 8 or min(repeats) < 1:
        return None
    x = g.reshape(x, (1,) * (len(repeats) - x.rank) + x.shape)
    for dim, count in enumerate(repeats):
        x = g.joined([x] * count, dim)
    return x


@equivalent("transpose", "permute")
def _(g: Graph, x: Value, *, dim0: int, dim1: int) -> Value:
    dims = list(range(x.rank))
    dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return g.apply("permute", x, dims=tuple(dims))


@equivalent("permute", "transpose")
def _(g: Graph, x: Value, *, dims: tuple[int, ...]) -> Value:
    now = list(range(x.rank))
    for at, wanted in enumerate(dims):
        other = now.index(wanted % len(now))
        if other != at:
            now[at], now[other] = now[other], now[at]
            x = g.apply("transpose", x, dim0=at, dim1=other)
    return x


@equivalent("unsqueeze", "reshape")
def _(g: Graph, x: Value, *, dim: int) -> Value:
    return g.apply("reshape", x, shape=(*x.shape[:dim], 1, *x.shape[dim:]))


@equivalent("squeeze", "reshape")
def _(g: Graph, x: Value, *, dim: int) -> Value:
    return g.reshape(x, (*x.shape[:dim], *x.shape[dim + 1 :]) if x.shape[dim] == 1 else x.shape)
