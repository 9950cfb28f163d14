# SPDX-License-Identifier: Apache-2.0
"""Other forms of arithmetic, comparisons and selection by masks."""

from __future__ import annotations

from fuzz.case import Attribute
from fuzz.rewrites.core import Graph, Value, equivalent

# x < y is y > x, and so on.
TURNED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def _full(g: Graph, x: Value, value: Attribute) -> Value:
    return g.full((1,) * x.rank, value, x.dtype)


def _turned(op: str, other: str) -> None:
    @equivalent(op, f"{other}(y, x)")
    def _(g: Graph, x: Value, y: Value) -> Value:
        return g.apply(other, y, x)


for _op, _other in TURNED.items():
    _turned(_op, _other)


@equivalent("eq", "ge and le")
def _(g: Graph, x: Value, y: Value) -> Value:
    return g.apply("logical_and", g.apply("ge", x, y), g.apply("le", x, y))


@equivalent("ne", "not eq")
def _(g: Graph, x: Value, y: Value) -> Value:
    return g.apply("logical_not", g.apply("eq", x, y))


@equivalent("add_scalar", "add of a tensor")
def _(g: Graph, x: Value, *, value: Attribute) -> Value:
    return g.apply("add", x, _full(g, x, value))


@equivalent("mul_scalar", "mul by a tensor")
def _(g: Graph, x: Value, *, value: Attribute) -> Value:
    return g.apply("mul", x, _full(g, x, value))


@equivalent("sub", "add of -y")
def _(g: Graph, x: Value, y: Value) -> Value:
    return g.apply("add", x, g.apply("neg", y))


@equivalent("neg", "mul by -1")
def _(g: Graph, x: Value) -> Value:
    return g.apply("mul_scalar", x, value=-1)


@equivalent("abs", "maximum of x and -x")
def _(g: Graph, x: Value) -> Value:
    return g.apply("maximum", x, g.apply("neg", x))


@equivalent("maximum", "where")
def _(g: Graph, x: Value, y: Value) -> Value:
    return g.apply("where", g.apply("gt", x, y), x, y)


@equivalent("minimum", "where")
def _(g: Graph, x: Value, y: Value) -> Value:
    return g.apply("where", g.apply("lt", x, y), x, y)


@equivalent("clamp", "maximum and minimum")
def _(g: Graph, x: Value, *, min: Attribute, max: Attribute) -> Value:
    return g.apply("minimum", g.apply("maximum", x, _full(g, x, min)), _full(g, x, max))


@equivalent("remainder_scalar", "floor_divide")
def _(g: Graph, x: Value, *, value: int) -> Value:
    whole = g.apply("mul_scalar", g.apply("floor_divide_scalar", x, value=value), value=value)
    return g.apply("sub", x, whole)


@equivalent("masked_fill", "where")
def _(g: Graph, x: Value, mask: Value, *, value: Attribute) -> Value:
    return g.apply("where", mask, _full(g, x, value), x)


@equivalent("where", "where(not mask, y, x)")
def _(g: Graph, mask: Value, x: Value, y: Value) -> Value:
    return g.apply("where", g.apply("logical_not", mask), y, x)


@equivalent("logical_and", "not (not x or not y)")
def _(g: Graph, x: Value, y: Value) -> Value:
    either = g.apply("logical_or", g.apply("logical_not", x), g.apply("logical_not", y))
    return g.apply("logical_not", either)


@equivalent("logical_or", "not (not x and not y)")
def _(g: Graph, x: Value, y: Value) -> Value:
    both = g.apply("logical_and", g.apply("logical_not", x), g.apply("logical_not", y))
    return g.apply("logical_not", both)


@equivalent("to_bool", "ne 0")
def _(g: Graph, x: Value) -> Value | None:
    return g.apply("ne_scalar", x, value=0) if x.dtype != "bool" else None
