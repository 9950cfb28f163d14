# SPDX-License-Identifier: Apache-2.0
"""Element by element arithmetic, with and without broadcasting. No float division: its rounding is not fixed by XLA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fuzz.ops.core import FLOATS, INTEGERS, NUMBERS, Accumulates, Decides, Op, Selects, register
from fuzz.ops.operands import Range, integer_range

if TYPE_CHECKING:
    from fuzz.ops.scope import Scope, Value

SCALARS = (2, 1, 3, -1, 5, 16)
DIVISORS = (2, 3, 8, 4, 7, 16, 32)


# --- draws ------------------------------------------------------------------------------------------------------------


def _second(scope: Scope, x: Value, *, small: bool = False) -> Value:
    """An operand for `x`: mostly its shape, sometimes one that broadcasts to it."""
    shape = x.shape
    if scope.chance(15):
        shape = tuple(1 if scope.chance(50) else size for size in shape)
    elif x.rank > 1 and scope.chance(15):
        shape = shape[scope.integer(1, x.rank - 1) :]
    return scope.new_data(shape, x.dtype, small=True) if small else scope.like(shape, x.dtype)


def _draw_arithmetic(scope: Scope, op: str) -> Value:
    x = scope.data(dtypes=NUMBERS)
    # Products of arbitrary floats of a deep graph overflow, and infinities hide every other difference.
    y = _second(scope, x, small=op == "mul" and x.dtype in FLOATS)
    return scope.apply(op, x, y, **_range(op, x, y))


def _range(op: str, x: Value, y: Value) -> Range:
    """The result's range, from those of the operands."""
    if x.low is None or x.high is None or y.low is None or y.high is None:
        return {}
    match op:
        case "add":
            low, high = x.low + y.low, x.high + y.high - 1
        case "sub":
            low, high = x.low - y.high + 1, x.high - y.low
        case "mul":
            corners = [a * b for a in (x.low, x.high - 1) for b in (y.low, y.high - 1)]
            low, high = min(corners), max(corners) + 1
        case "maximum":
            low, high = max(x.low, y.low), max(x.high, y.high)
        case _:
            low, high = min(x.low, y.low), min(x.high, y.high)
    return integer_range(x.dtype, low, high)


def _draw_sign(scope: Scope, op: str) -> Value:
    return scope.apply(op, scope.data(dtypes=NUMBERS))


def _draw_scalar(scope: Scope, op: str) -> Value:
    x, value = scope.data(dtypes=NUMBERS), scope.choose(SCALARS)
    known: Range = {}
    if x.low is not None and x.high is not None:
        ends = [end + value if op == "add_scalar" else end * value for end in (x.low, x.high - 1)]
        known = integer_range(x.dtype, min(ends), max(ends) + 1)
    return scope.apply(op, x, **known, value=value)


def _draw_division(scope: Scope, op: str) -> Value:
    x, value = scope.data(dtypes=INTEGERS), scope.choose(DIVISORS)
    if op == "remainder_scalar":
        return scope.apply(op, x, low=0, high=value, value=value)
    known: Range = {}
    if x.low is not None and x.high is not None:
        known = integer_range(x.dtype, x.low // value, (x.high - 1) // value + 1)
    return scope.apply(op, x, **known, value=value)


def _draw_clamp(scope: Scope) -> Value:
    x = scope.data(dtypes=NUMBERS)
    lowest = scope.choose((0, 1, -2, -100))
    highest = lowest + scope.choose((7, 3, 31, 255, 2049))
    return scope.apply("clamp", x, **integer_range(x.dtype, lowest, highest + 1), min=lowest, max=highest)


def _one_rounding(*_: object) -> int:
    return 1


register(
    Op(
        name="add",
        family="elementwise",
        doc="x + y",
        draw=lambda scope: _draw_arithmetic(scope, "add"),
        run=lambda x, y: x + y,
        source="({0} + {1})",
        semantics=Accumulates(_one_rounding, data=(0, 1)),
    ),
    Op(
        name="sub",
        family="elementwise",
        doc="x - y",
        draw=lambda scope: _draw_arithmetic(scope, "sub"),
        run=lambda x, y: x - y,
        source="({0} - {1})",
        semantics=Accumulates(_one_rounding, data=(0, 1), magnitude=torch.add),
    ),
    Op(
        name="mul",
        family="elementwise",
        doc="x * y",
        draw=lambda scope: _draw_arithmetic(scope, "mul"),
        run=lambda x, y: x * y,
        source="({0} * {1})",
        semantics=Accumulates(_one_rounding, data=(0, 1)),
    ),
    Op(
        name="neg",
        family="elementwise",
        doc="-x",
        draw=lambda scope: _draw_sign(scope, "neg"),
        run=lambda x: -x,
        source="(-{0})",
        semantics=Selects(),
    ),
    Op(
        name="abs",
        family="elementwise",
        doc="|x|",
        draw=lambda scope: _draw_sign(scope, "abs"),
        run=lambda x: x.abs(),
        source="{0}.abs()",
        semantics=Selects(),
    ),
    Op(
        name="maximum",
        family="elementwise",
        doc="the larger of x and y",
        draw=lambda scope: _draw_arithmetic(scope, "maximum"),
        run=lambda x, y: torch.maximum(x, y),
        source="torch.maximum({0}, {1})",
        semantics=Selects(data=(0, 1)),
    ),
    Op(
        name="minimum",
        family="elementwise",
        doc="the smaller of x and y",
        draw=lambda scope: _draw_arithmetic(scope, "minimum"),
        run=lambda x, y: torch.minimum(x, y),
        source="torch.minimum({0}, {1})",
        semantics=Selects(data=(0, 1)),
    ),
    Op(
        name="add_scalar",
        family="elementwise",
        doc="x + value",
        draw=lambda scope: _draw_scalar(scope, "add_scalar"),
        run=lambda x, *, value: x + value,
        source="({0} + {value})",
        semantics=Accumulates(_one_rounding, magnitude=lambda x, *, value: x + abs(value)),
    ),
    Op(
        name="mul_scalar",
        family="elementwise",
        doc="x * value",
        draw=lambda scope: _draw_scalar(scope, "mul_scalar"),
        run=lambda x, *, value: x * value,
        source="({0} * {value})",
        semantics=Accumulates(_one_rounding, magnitude=lambda x, *, value: x * abs(value)),
    ),
    Op(
        name="floor_divide_scalar",
        family="elementwise",
        doc="integers divided by a positive value, rounded down",
        draw=lambda scope: _draw_division(scope, "floor_divide_scalar"),
        run=lambda x, *, value: torch.floor_divide(x, value),
        source="torch.floor_divide({0}, {value})",
        semantics=Decides(),
    ),
    Op(
        name="remainder_scalar",
        family="elementwise",
        doc="integers modulo a positive value, in [0, value)",
        draw=lambda scope: _draw_division(scope, "remainder_scalar"),
        run=lambda x, *, value: torch.remainder(x, value),
        source="torch.remainder({0}, {value})",
        semantics=Decides(),
    ),
    Op(
        name="clamp",
        family="elementwise",
        doc="x limited to [min, max]",
        draw=_draw_clamp,
        run=lambda x, *, min, max: torch.clamp(x, min, max),
        source="torch.clamp({0}, {min}, {max})",
        semantics=Selects(),
    ),
)
