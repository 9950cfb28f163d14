# SPDX-License-Identifier: Apache-2.0
"""Other forms of reductions and orderings."""

from __future__ import annotations

from fuzz.ops.core import FLOATS
from fuzz.rewrites.core import Graph, Value, equivalent

Dims = int | tuple[int, ...]


@equivalent("sum", "cumsum")
def _(g: Graph, x: Value, *, dim: Dims, keepdim: bool) -> Value | None:
    if not isinstance(dim, int):
        return None
    total = g.part(g.apply("cumsum", x, dim=dim), dim, x.shape[dim] - 1, x.shape[dim])
    return total if keepdim else g.apply("squeeze", total, dim=dim)


@equivalent("mean", "sum")
def _(g: Graph, x: Value, *, dim: Dims, keepdim: bool) -> Value:
    total = g.apply("sum", x, dim=dim, keepdim=keepdim)
    return g.apply("mul_scalar", total, value=total.spec.elements / x.spec.elements)


@equivalent("amax", "amin of -x")
def _(g: Graph, x: Value, *, dim: Dims, keepdim: bool) -> Value:
    return g.apply("neg", g.apply("amin", g.apply("neg", x), dim=dim, keepdim=keepdim))


@equivalent("amin", "amax of -x")
def _(g: Graph, x: Value, *, dim: Dims, keepdim: bool) -> Value:
    return g.apply("neg", g.apply("amax", g.apply("neg", x), dim=dim, keepdim=keepdim))


@equivalent("any", "amax")
def _(g: Graph, x: Value, *, dim: int, keepdim: bool) -> Value:
    return g.apply("to_bool", g.apply("amax", g.cast(x, "f32"), dim=dim, keepdim=keepdim))


@equivalent("any", "all")
def _(g: Graph, x: Value, *, dim: int, keepdim: bool) -> Value:
    none = g.apply("all", g.apply("logical_not", x), dim=dim, keepdim=keepdim)
    return g.apply("logical_not", none)


@equivalent("all", "amin")
def _(g: Graph, x: Value, *, dim: int, keepdim: bool) -> Value:
    return g.apply("to_bool", g.apply("amin", g.cast(x, "f32"), dim=dim, keepdim=keepdim))


@equivalent("all", "any")
def _(g: Graph, x: Value, *, dim: int, keepdim: bool) -> Value:
    some = g.apply("any", g.apply("logical_not", x), dim=dim, keepdim=keepdim)
    return g.apply("logical_not", some)


@equivalent("prod", "a chain of mul")
def _(g: Graph, x: Value, *, dim: int, keepdim: bool) -> Value | None:
    if x.shape[dim] > 8:
        return None
    x = x if x.dtype in FLOATS else g.cast(x, "i64")
    result, *others = [g.part(x, dim, at, at + 1) for at in range(x.shape[dim])]
    for other in others:
        result = g.apply("mul", result, other)
    return result if keepdim else g.apply("squeeze", result, dim=dim)


@equivalent("cumsum", "a masked sum")
def _(g: Graph, x: Value, *, dim: int) -> Value:
    size, rank = x.shape[dim], x.rank + 1
    # Truth values have no zero to be masked with, and integers sum in i64.
    x = x if x.dtype in FLOATS else g.cast(x, "i64")
    before = g.apply("le", g.places(size, dim + 1, rank), g.places(size, dim, rank))
    terms = g.apply("where", before, g.apply("unsqueeze", x, dim=dim), g.full((1,) * rank, 0, x.dtype))
    return g.apply("sum", terms, dim=dim + 1, keepdim=False)


@equivalent("matmul", "mul and sum")
def _(g: Graph, x: Value, y: Value) -> Value:
    # Every product as an element of its own, summed over the last dim of x.
    dim = x.rank - 1
    products = g.apply("mul", g.apply("unsqueeze", x, dim=dim + 1), g.apply("unsqueeze", y, dim=y.rank - 2))
    return g.cast(g.apply("sum", products, dim=dim, keepdim=False), x.dtype)


@equivalent("einsum", "mul and sum")
def _(g: Graph, x: Value, y: Value, *, equation: str) -> Value | None:
    operands, result = equation.split("->")
    letters = result + "".join(sorted(set(operands) - set(result) - {","}))
    if any(len(set(names)) != len(names) for names in operands.split(",")):
        return None
    aligned = []
    for value, names in zip((x, y), operands.split(","), strict=True):
        ordered = sorted(names, key=letters.index)
        if ordered != list(names):
            value = g.apply("permute", value, dims=tuple(map(names.index, ordered)))
        sizes = dict(zip(ordered, value.shape, strict=True))
        aligned.append(g.reshape(value, [sizes.get(letter, 1) for letter in letters]))
    summed = tuple(range(len(result), len(letters)))
    return g.cast(g.apply("sum", g.apply("mul", *aligned), dim=summed, keepdim=False), x.dtype)


# --- orderings --------------------------------------------------------------------------------------------------------


@equivalent("topk_values", "sort")
def _(g: Graph, x: Value, *, k: int, dim: int, largest: bool) -> Value:
    return g.part(g.apply("sort_values", x, dim=dim, descending=largest), dim, 0, k)


@equivalent("topk_indices", "sort")
def _(g: Graph, x: Value, *, k: int, dim: int, largest: bool) -> Value:
    return g.part(g.apply("sort_indices", x, dim=dim, descending=largest), dim, 0, k)


@equivalent("sort_values", "topk")
def _(g: Graph, x: Value, *, dim: int, descending: bool) -> Value:
    return g.apply("topk_values", x, k=x.shape[dim], dim=dim, largest=descending)


@equivalent("sort_indices", "topk")
def _(g: Graph, x: Value, *, dim: int, descending: bool) -> Value:
    return g.apply("topk_indices", x, k=x.shape[dim], dim=dim, largest=descending)


@equivalent("argmax", "argmin of -x")
def _(g: Graph, x: Value, *, dim: int, keepdim: bool) -> Value:
    return g.apply("argmin", g.apply("neg", x), dim=dim, keepdim=keepdim)


@equivalent("argmax", "topk")
def _(g: Graph, x: Value, *, dim: int, keepdim: bool) -> Value:
    return _first(g, x, dim, keepdim, largest=True)


@equivalent("argmin", "argmax of -x")
def _(g: Graph, x: Value, *, dim: int, keepdim: bool) -> Value:
    return g.apply("argmax", g.apply("neg", x), dim=dim, keepdim=keepdim)


@equivalent("argmin", "topk")
def _(g: Graph, x: Value, *, dim: int, keepdim: bool) -> Value:
    return _first(g, x, dim, keepdim, largest=False)


def _first(g: Graph, x: Value, dim: int, keepdim: bool, *, largest: bool) -> Value:
    position = g.apply("topk_indices", x, k=1, dim=dim, largest=largest)
    return position if keepdim else g.apply("squeeze", position, dim=dim)
