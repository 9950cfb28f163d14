# SPDX-License-Identifier: Apache-2.0
"""Ops that compute element by element (StableHLO spec; TTIROps.td and TTNNOps.td, elementwise ops).

TTIR and TTNN broadcast their operands like numpy; StableHLO's have one shape, except for clamp.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from oracles.stages.elements import FLOATS, total_order
from oracles.stages.machine import formatted, local
from oracles.stages.numerics import Numerics
from oracles.stages.program import NotUnderstood, Operation


def _sign(value: torch.Tensor) -> torch.Tensor:
    """NaN stays (StableHLO spec, sign); torch makes it 0."""
    return torch.where(value.isnan(), value, torch.sign(value))


# Unary functions that TTNN fuses into a binary op, before it on either operand or behind it.
FUSED = "activations input_tensor_a_activations input_tensor_b_activations"
_FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "abs": torch.abs,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "neg": torch.neg,
    "sign": _sign,
}


def _truth(value: torch.Tensor) -> torch.Tensor:
    return value if value.dtype is torch.bool else value != 0


def _binary(names: str, compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    @local(names, attributes=FUSED)
    def binary(op: Operation, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        a = _activated(op, "input_tensor_a_activations", a)
        b = _activated(op, "input_tensor_b_activations", b)
        return _activated(op, "activations", compute(a, b))


def _activated(op: Operation, place: str, value: torch.Tensor) -> torch.Tensor:
    for activation in op.attributes.get(place, ()):
        function = _FUNCTIONS.get(activation.get("op_type")) if len(activation) == 1 else None
        if function is None:
            raise NotUnderstood(f"{op.name} with activation {activation}")
        value = function(value)
    return value


def _unary(names: str, compute: Callable[[torch.Tensor], torch.Tensor]) -> None:
    @local(names)
    def unary(op: Operation, value: torch.Tensor) -> torch.Tensor:
        return compute(value)


def _add(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a | b if a.dtype is torch.bool else a + b


def _multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a & b if a.dtype is torch.bool else a * b


def _divide(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Integers round toward zero; StableHLO and TTIR leave division by zero open."""
    if a.is_floating_point():
        return a / b
    if bool((b == 0).any()):
        raise NotUnderstood("integer division by zero")
    # The smallest number by -1 overflows: StableHLO and TT wrap, the CPU under torch kills the process.
    return torch.where(b == -1, -a, torch.div(a, _no_overflow(b), rounding_mode="trunc"))


def _no_overflow(divisor: torch.Tensor) -> torch.Tensor:
    """1 instead of -1, which leaves the same remainder."""
    return torch.where(divisor == -1, torch.ones_like(divisor), divisor)


def _remainder(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The sign of the dividend, as C's % (StableHLO spec, remainder)."""
    return torch.fmod(a, _checked_divisor(b))


def _checked_divisor(divisor: torch.Tensor) -> torch.Tensor:
    if divisor.is_floating_point():
        return divisor
    if bool((divisor == 0).any()):
        raise NotUnderstood("integer remainder by zero")
    return _no_overflow(divisor)


def _python_remainder(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The sign of the divisor, as Python's % and torch.remainder (TTNN API, remainder)."""
    return torch.remainder(a, _checked_divisor(b))


_binary("stablehlo.add ttir.add ttnn.add", _add)
_binary("stablehlo.subtract ttir.subtract ttnn.subtract", torch.sub)
_binary("stablehlo.multiply ttir.multiply ttnn.multiply", _multiply)
_binary("stablehlo.divide ttir.div ttnn.divide", _divide)
_binary("stablehlo.remainder ttir.remainder", _remainder)
_binary("ttnn.remainder", _python_remainder)
# Arithmetic for signed types (TTIROps.td, RightShiftOp); in a wide carrier an unsigned value shifts in zeros.
_binary("ttir.right_shift ttnn.bitwise_right_shift", torch.bitwise_right_shift)
_binary("stablehlo.maximum ttir.maximum ttnn.maximum", torch.maximum)
_binary("stablehlo.minimum ttir.minimum ttnn.minimum", torch.minimum)
_binary("stablehlo.power ttir.pow ttnn.pow_tensor", torch.pow)
_binary("ttir.logical_and ttnn.logical_and", lambda a, b: _truth(a) & _truth(b))
_binary("ttir.logical_or ttnn.logical_or", lambda a, b: _truth(a) | _truth(b))
_binary("ttir.logical_xor ttnn.logical_xor", lambda a, b: _truth(a) ^ _truth(b))
_binary("stablehlo.and ttir.bitwise_and ttnn.bitwise_and", torch.bitwise_and)
_binary("stablehlo.or ttir.bitwise_or ttnn.bitwise_or", torch.bitwise_or)
_binary("stablehlo.xor ttir.bitwise_xor ttnn.bitwise_xor", torch.bitwise_xor)
_binary("ttir.eq ttnn.eq", torch.eq)
_binary("ttir.ne ttnn.ne", torch.ne)
_binary("ttir.lt ttnn.lt", torch.lt)
_binary("ttir.le ttnn.le", torch.le)
_binary("ttir.gt ttnn.gt", torch.gt)
_binary("ttir.ge ttnn.ge", torch.ge)
_unary("stablehlo.abs ttir.abs ttnn.abs", torch.abs)
_unary("stablehlo.negate ttir.neg ttnn.neg", torch.neg)
_unary("stablehlo.sign ttir.sign ttnn.sign", _sign)
_unary("stablehlo.floor ttir.floor ttnn.floor", torch.floor)
_unary("stablehlo.ceil ttir.ceil ttnn.ceil", torch.ceil)
_unary("stablehlo.not ttir.bitwise_not ttnn.bitwise_not", torch.bitwise_not)
_unary("ttir.logical_not ttnn.logical_not", lambda value: ~_truth(value))
_unary("stablehlo.is_finite ttir.isfinite ttnn.isfinite", torch.isfinite)


_DIRECTIONS = {"EQ": torch.eq, "NE": torch.ne, "LT": torch.lt, "LE": torch.le, "GT": torch.gt, "GE": torch.ge}


@local("stablehlo.compare", attributes="comparison_direction compare_type")
def compare(op: Operation, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """TOTALORDER puts -0 below 0 and NaN with a sign at the ends (StableHLO spec, compare)."""
    if op.attributes.get("compare_type") == "TOTALORDER":
        a, b = total_order(a), total_order(b)
    return _DIRECTIONS[op.attributes["comparison_direction"]](a, b)


@local("stablehlo.select ttir.where ttnn.where")
def select(op: Operation, condition: torch.Tensor, chosen: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """`chosen` where the condition is not zero, else `other`."""
    return torch.where(_truth(condition), chosen, other)


@local("stablehlo.clamp")
def clamp(op: Operation, low: torch.Tensor, value: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """min(max(value, low), high); NaN stays (StableHLO spec, clamp)."""
    return torch.minimum(torch.maximum(value, low), high)


@local("ttir.clamp_tensor ttnn.clamp_tensor")
def clamp_tensor(op: Operation, value: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """min(max(value, low), high) (TTIROps.td, ClampTensorOp)."""
    return torch.minimum(torch.maximum(value, low), high)


@local("ttir.clamp_scalar ttnn.clamp_scalar", attributes="min max")
def clamp_scalar(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """min(max(value, min), max) (TTIROps.td, ClampScalarOp)."""
    low, high = op.attributes["min"], op.attributes["max"]
    # torch would clamp integers between floats in f32, and refuses a bound that bf16 cannot hold.
    wide = value.double() if isinstance(low, float) or isinstance(high, float) else value
    return wide.clamp(low, high)


@local("stablehlo.convert")
def convert(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Change of element type; anything but zero becomes true, floats truncate (StableHLO spec, convert)."""
    return _truth(value) if op.type.element == "i1" else value


@formatted("ttir.typecast ttnn.typecast", attributes="conservative_folding")
def typecast(op: Operation, numerics: Numerics, value: torch.Tensor) -> torch.Tensor:
    """Change of element type (TTIROps.td, TypecastOp; TTNNOps.td, TypecastOp)."""
    if op.type.element == "i1":
        return _truth(value)
    if op.type.element not in FLOATS and not value.is_floating_point():
        return value
    return numerics.typecast(value, op.type.element)
