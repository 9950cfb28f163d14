# SPDX-License-Identifier: Apache-2.0
"""Ops that compute element by element: against Python's own numbers, and against XLA where the two could differ."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oracles.stages.elements import carrier
from oracles.stages.numerics import EXACT, TT
from oracles.stages.program import NotUnderstood, TensorType

Run = Callable[..., Any]
SMALLEST = -(2**31)
int32s = st.integers(SMALLEST, 2**31 - 1)
NUMBERS = [-7, -2, -1, 0, 1, 2, 3, 8]


def wrap(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def on_integers(run_op: Run, name: str, *values: int, element: str = "si32", result: str | None = None) -> Any:
    operands = [torch.tensor([value], dtype=carrier(element)) for value in values]
    return run_op(name, operands, [TensorType((1,), result or element)], {})[0].item()


def on_floats(run_op: Run, name: str, *values: float, result: str = "f32") -> Any:
    operands = [torch.tensor([value]) for value in values]
    return run_op(name, operands, [TensorType((1,), result)], {})[0].item()


# --- integers --------------------------------------------------------------------------------------------------------

BINARY: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "maximum": max,
    "minimum": min,
}


@pytest.mark.parametrize("dialect", ["stablehlo", "ttir", "ttnn"])
@pytest.mark.parametrize("name", sorted(BINARY))
@given(a=int32s, b=int32s)
def test_integer_arithmetic_wraps(run_op: Run, dialect: str, name: str, a: int, b: int) -> None:
    assert on_integers(run_op, f"{dialect}.{name}", a, b) == wrap(BINARY[name](a, b))


@given(a=st.integers(0, 2**32 - 1), b=st.integers(0, 2**32 - 1))
def test_unsigned_arithmetic_wraps_at_its_own_width(run_op: Run, a: int, b: int) -> None:
    for name, expected in (("add", a + b), ("subtract", a - b), ("multiply", a * b)):
        assert on_integers(run_op, f"ttir.{name}", a, b, element="ui32") == expected % 2**32


@pytest.mark.parametrize(("name", "compute"), [("and", operator.and_), ("or", operator.or_), ("xor", operator.xor)])
@given(a=int32s, b=int32s)
def test_bitwise_ops_are_those_of_python(
    run_op: Run, name: str, compute: Callable[[int, int], int], a: int, b: int
) -> None:
    for op in (f"stablehlo.{name}", f"ttir.bitwise_{name}", f"ttnn.bitwise_{name}"):
        assert on_integers(run_op, op, a, b) == compute(a, b)


@pytest.mark.parametrize("name", ["stablehlo.not", "ttir.bitwise_not", "ttnn.bitwise_not"])
def test_bitwise_not_flips_the_bits_of_the_type(run_op: Run, name: str) -> None:
    assert on_integers(run_op, name, 5) == -6
    assert on_integers(run_op, name, 5, element="ui32") == 2**32 - 6
    assert on_integers(run_op, name, 0, element="i1") is True


@pytest.mark.parametrize("name", ["stablehlo.divide", "ttir.div", "ttnn.divide"])
@given(a=int32s, b=int32s.filter(bool))
def test_integer_division_truncates_toward_zero(run_op: Run, name: str, a: int, b: int) -> None:
    truncated = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    assert on_integers(run_op, name, a, b) == wrap(truncated)


@pytest.mark.parametrize("name", ["stablehlo.remainder", "ttir.remainder"])
@given(a=int32s, b=int32s.filter(bool))
def test_the_remainder_of_stablehlo_and_ttir_has_the_sign_of_the_dividend(
    run_op: Run, name: str, a: int, b: int
) -> None:
    assert on_integers(run_op, name, a, b) == int(math.copysign(abs(a) % abs(b), a))


@given(a=int32s, b=int32s.filter(bool))
def test_the_remainder_of_ttnn_has_the_sign_of_the_divisor(run_op: Run, a: int, b: int) -> None:
    assert on_integers(run_op, "ttnn.remainder", a, b) == a % b


@pytest.mark.parametrize(("name", "expected"), [("ttir.remainder", -1.5), ("ttnn.remainder", 1.5)])
def test_remainders_of_floats_differ_alike(run_op: Run, name: str, expected: float) -> None:
    assert on_floats(run_op, name, -4.5, 3.0) == expected


@pytest.mark.parametrize(
    "name",
    ["stablehlo.divide", "ttir.div", "ttnn.divide", "stablehlo.remainder", "ttir.remainder", "ttnn.remainder"],
)
@pytest.mark.parametrize("element", ["si32", "i64"])
def test_the_smallest_integer_over_minus_one_does_not_kill_the_process(run_op: Run, name: str, element: str) -> None:
    """The CPU traps it; XLA gives the smallest integer again, and no remainder."""
    smallest = int(torch.iinfo(carrier(element)).min)
    expected = smallest if "div" in name else 0
    assert on_integers(run_op, name, smallest, -1, element=element) == expected


@pytest.mark.parametrize(
    "name",
    ["stablehlo.divide", "ttir.div", "ttnn.divide", "stablehlo.remainder", "ttir.remainder", "ttnn.remainder"],
)
def test_an_integer_over_zero_is_not_understood(run_op: Run, name: str) -> None:
    with pytest.raises(NotUnderstood, match="by zero"):
        on_integers(run_op, name, 1, 0)


def test_unsigned_division_knows_no_minus_one(run_op: Run) -> None:
    assert on_integers(run_op, "ttir.div", 255, 255, element="ui8") == 1
    assert on_integers(run_op, "ttir.div", 7, 2**32 - 1, element="ui32") == 0


@pytest.mark.parametrize("name", ["ttir.right_shift", "ttnn.bitwise_right_shift"])
def test_right_shifts_keep_the_sign_of_signed_types_alone(run_op: Run, name: str) -> None:
    assert on_integers(run_op, name, -8, 1) == -4
    assert on_integers(run_op, name, 2**32 - 8, 1, element="ui32") == 2**31 - 4


@pytest.mark.parametrize(
    ("names", "compute"),
    [
        ("stablehlo.abs ttir.abs ttnn.abs", abs),
        ("stablehlo.negate ttir.neg ttnn.neg", operator.neg),
        ("stablehlo.sign ttir.sign ttnn.sign", lambda x: (x > 0) - (x < 0)),
    ],
)
def test_unary_ops_are_those_of_python(run_op: Run, names: str, compute: Callable[[int], int]) -> None:
    for name in names.split():
        assert [on_integers(run_op, name, number) for number in NUMBERS] == [compute(number) for number in NUMBERS]


@pytest.mark.parametrize("name", ["stablehlo.power", "ttir.pow", "ttnn.pow_tensor"])
def test_powers_wrap(run_op: Run, name: str) -> None:
    assert on_integers(run_op, name, 3, 4) == 81
    assert on_integers(run_op, name, 10, 10) == wrap(10**10)


# --- floats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stablehlo.divide", "ttir.div", "ttnn.divide"])
def test_floats_divide_by_zero(run_op: Run, name: str) -> None:
    assert on_floats(run_op, name, -1.0, 0.0) == -math.inf
    assert on_floats(run_op, name, 3.0, 2.0) == 1.5


@pytest.mark.parametrize(
    ("names", "compute"),
    [
        ("stablehlo.floor ttir.floor ttnn.floor", math.floor),
        ("stablehlo.ceil ttir.ceil ttnn.ceil", math.ceil),
        ("stablehlo.abs ttir.abs ttnn.abs", abs),
    ],
)
@given(value=st.floats(-1000, 1000, width=32))
def test_rounding_is_that_of_python(run_op: Run, names: str, compute: Callable[[float], float], value: float) -> None:
    for name in names.split():
        assert on_floats(run_op, name, value) == compute(value)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize("dialect", ["stablehlo", "ttir", "ttnn"])
def test_nan_survives_maximum_and_minimum(run_op: Run, dialect: str, name: str) -> None:
    assert math.isnan(on_floats(run_op, f"{dialect}.{name}", 1.0, math.nan))
    assert math.isnan(on_floats(run_op, f"{dialect}.{name}", math.nan, 1.0))


@pytest.mark.parametrize("name", ["stablehlo.sign", "ttir.sign", "ttnn.sign"])
def test_nan_has_no_sign(run_op: Run, name: str) -> None:
    assert math.isnan(on_floats(run_op, name, math.nan))


@pytest.mark.parametrize("name", ["stablehlo.is_finite", "ttir.isfinite", "ttnn.isfinite"])
def test_infinities_and_nan_are_not_finite(run_op: Run, name: str) -> None:
    answers = [on_floats(run_op, name, value, result="i1") for value in (1.0, math.inf, -math.inf, math.nan)]
    assert answers == [True, False, False, False]


def test_unary_functions_of_floats_agree_with_xla(with_xla: Run) -> None:
    value = torch.tensor([-torch.inf, -2.5, -0.0, 0.0, 0.5, 3.0, torch.inf, torch.nan])
    for name in ("abs", "negate", "sign", "floor", "ceil"):
        ours, theirs = with_xla(
            f"""
            func.func @main(%x: tensor<8xf32>) -> tensor<8xf32> {{
              %0 = stablehlo.{name} %x : tensor<8xf32>
              return %0 : tensor<8xf32>
            }}
            """,
            value,
        )
        assert torch.equal(ours[0].nan_to_num(7), theirs[0].nan_to_num(7)), name


# --- truth -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["ttir", "ttnn"])
@pytest.mark.parametrize(
    ("name", "truths"),
    [
        ("logical_and", [False, False, False, True]),
        ("logical_or", [False, True, True, True]),
        ("logical_xor", [False, True, True, False]),
    ],
)
@pytest.mark.parametrize("element", ["i1", "bf16", "si32"])
def test_anything_but_zero_is_true(run_op: Run, dialect: str, name: str, truths: list[bool], element: str) -> None:
    a = torch.tensor([0, 0, 3, 3]).to(carrier(element))
    b = torch.tensor([0, 2, 0, 2]).to(carrier(element))
    (result,) = run_op(f"{dialect}.{name}", [a, b], [TensorType((4,), "bf16")], {})
    assert result.tolist() == truths


def test_logical_not_is_about_zero(run_op: Run) -> None:
    value = torch.tensor([0.0, 2.0]).bfloat16()
    (result,) = run_op("ttnn.logical_not", [value], [TensorType((2,), "bf16")], {})
    assert (result.tolist(), result.dtype) == ([1.0, 0.0], torch.bfloat16)


@pytest.mark.parametrize(("name", "xla", "expected"), [("add", "or", [0, 1, 1, 1]), ("multiply", "and", [0, 0, 0, 1])])
def test_truth_values_add_and_multiply_as_or_and_and(run_op: Run, name: str, xla: str, expected: list[int]) -> None:
    a, b = torch.tensor([False, False, True, True]), torch.tensor([False, True, False, True])
    for op in (f"stablehlo.{name}", f"ttir.{name}", f"stablehlo.{xla}"):
        assert run_op(op, [a, b], [TensorType((4,), "i1")], {})[0].int().tolist() == expected


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


@pytest.mark.parametrize("name", sorted(COMPARISONS))
@given(a=st.floats(width=32), b=st.floats(width=32))
def test_comparisons_of_floats_are_those_of_python(run_op: Run, name: str, a: float, b: float) -> None:
    expected = COMPARISONS[name](a, b)
    operands = [torch.tensor([a]), torch.tensor([b])]
    for op, attributes in (
        (f"ttir.{name}", {}),
        (f"ttnn.{name}", {}),
        ("stablehlo.compare", {"comparison_direction": name.upper(), "compare_type": "FLOAT"}),
    ):
        assert run_op(op, operands, [TensorType((1,), "i1")], attributes)[0].item() is expected


def test_unsigned_numbers_compare_as_such(run_op: Run) -> None:
    assert on_integers(run_op, "ttir.gt", 2**32 - 1, 1, element="ui32", result="i1") is True


def test_the_total_order_compares_what_floats_leave_open(run_op: Run) -> None:
    """StableHLO spec, compare: -NaN < -inf < -0 < +0 < inf < NaN."""
    ascending = torch.tensor([-torch.nan, -torch.inf, -0.0, 0.0, torch.inf, torch.nan])
    attributes = {"comparison_direction": "LT", "compare_type": "TOTALORDER"}
    (result,) = run_op("stablehlo.compare", [ascending[:-1], ascending[1:]], [TensorType((5,), "i1")], attributes)
    assert result.tolist() == [True] * 5
    (same,) = run_op(
        "stablehlo.compare", [ascending, ascending], [TensorType((6,), "i1")],
        {"comparison_direction": "EQ", "compare_type": "TOTALORDER"},
    )  # fmt: skip
    assert same.tolist() == [True] * 6


# --- choices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stablehlo.select", "ttir.where", "ttnn.where"])
def test_select_takes_the_first_where_it_is_true(run_op: Run, name: str) -> None:
    operands = [torch.tensor([True, False]), torch.tensor([1, 2]), torch.tensor([3, 4])]
    assert run_op(name, operands, [TensorType((2,), "i64")], {})[0].tolist() == [1, 4]


def test_the_condition_of_ttnn_is_a_number(run_op: Run) -> None:
    operands = [torch.tensor([0.5, 0.0]).bfloat16(), torch.tensor([1, 2]), torch.tensor([3, 4])]
    assert run_op("ttnn.where", operands, [TensorType((2,), "si32")], {})[0].tolist() == [1, 4]


@pytest.mark.parametrize(
    ("name", "order"),
    [("stablehlo.clamp", (1, 0, 2)), ("ttir.clamp_tensor", (0, 1, 2)), ("ttnn.clamp_tensor", (0, 1, 2))],
)
@given(value=int32s, low=int32s, high=int32s)
def test_clamp_raises_to_low_and_then_lowers_to_high(
    run_op: Run, name: str, order: tuple[int, ...], value: int, low: int, high: int
) -> None:
    operands = (value, low, high)
    got = on_integers(run_op, name, *(operands[place] for place in order))
    assert got == min(max(value, low), high)


def test_nan_survives_clamp(run_op: Run) -> None:
    assert math.isnan(on_floats(run_op, "stablehlo.clamp", 0.0, math.nan, 1.0))


@pytest.mark.parametrize("name", ["ttir.clamp_scalar", "ttnn.clamp_scalar"])
@pytest.mark.parametrize("bounds", [{"min": 0, "max": 2**31 - 1}, {"min": 0.0, "max": 2.0**31}])
def test_clamp_by_scalars_keeps_every_digit_of_an_integer(run_op: Run, name: str, bounds: dict[str, float]) -> None:
    value = torch.tensor([2**24 + 1, -5], dtype=torch.int32)
    assert run_op(name, [value], [TensorType((2,), "si32")], bounds)[0].tolist() == [2**24 + 1, 0]


@pytest.mark.parametrize("name", ["ttir.clamp_scalar", "ttnn.clamp_scalar"])
def test_clamp_by_scalars_bounds_floats(run_op: Run, name: str) -> None:
    value = torch.tensor([-2.5, 0.5, 2.5])
    assert run_op(name, [value], [TensorType((3,), "f32")], {"min": -1.0, "max": 2.0})[0].tolist() == [-1, 0.5, 2]


def test_clamp_by_scalars_takes_bounds_that_the_type_cannot_hold(run_op: Run) -> None:
    value = torch.tensor([-2.5, 0.5]).bfloat16()
    bounds = {"min": 0.0, "max": 3.4028234663852886e38}
    assert run_op("ttnn.clamp_scalar", [value], [TensorType((2,), "bf16")], bounds)[0].tolist() == [0, 0.5]


@pytest.mark.parametrize("dialect", ["ttir", "ttnn"])
def test_operands_of_tt_broadcast_like_those_of_numpy(run_op: Run, dialect: str) -> None:
    a, b = torch.arange(3)[:, None], torch.arange(4) * 10
    (result,) = run_op(f"{dialect}.add", [a, b], [TensorType((3, 4), "i64")], {})
    assert torch.equal(result, a + b)


# --- activations -----------------------------------------------------------------------------------------------------


def test_a_function_fused_behind_an_op_is_applied_to_its_result(run_op: Run) -> None:
    operands = [torch.tensor([7.0, -7.0]), torch.tensor([2.0, 2.0])]
    attributes = {"activations": ({"op_type": "floor"},)}
    assert run_op("ttnn.divide", operands, [TensorType((2,), "f32")], attributes)[0].tolist() == [3, -4]


@pytest.mark.parametrize("place", ["activations", "input_tensor_a_activations", "input_tensor_b_activations"])
def test_an_unknown_fused_function_is_not_understood(run_op: Run, place: str) -> None:
    operands = [torch.ones(1), torch.ones(1)]
    with pytest.raises(NotUnderstood, match="activation"):
        run_op("ttnn.add", operands, [TensorType((1,), "f32")], {place: ({"op_type": "gelu_approx"},)})


# --- conversions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stablehlo.convert", "ttir.typecast", "ttnn.typecast"])
def test_conversion_to_truth_asks_for_zero(run_op: Run, name: str) -> None:
    (result,) = run_op(name, [torch.tensor([0.0, 0.5, -3.0])], [TensorType((3,), "i1")], {})
    assert result.tolist() == [False, True, True]


@pytest.mark.parametrize("name", ["stablehlo.convert", "ttir.typecast", "ttnn.typecast"])
def test_conversion_between_integers_wraps(run_op: Run, name: str) -> None:
    (result,) = run_op(name, [torch.tensor([2**32 + 5, -1])], [TensorType((2,), "i32")], {})
    assert result.tolist() == [5, -1]


@pytest.mark.parametrize("name", ["stablehlo.convert", "ttir.typecast", "ttnn.typecast"])
def test_conversion_of_floats_to_integers_truncates(run_op: Run, name: str) -> None:
    (result,) = run_op(name, [torch.tensor([2.9, -2.9])], [TensorType((2,), "i32")], {}, EXACT)
    assert result.tolist() == [2, -2]


def test_conversion_of_truth_gives_one_and_zero(run_op: Run) -> None:
    (result,) = run_op("ttnn.typecast", [torch.tensor([True, False])], [TensorType((2,), "bf16")], {}, TT)
    assert result.tolist() == [1.0, 0.0]


def test_a_typecast_on_the_chip_follows_its_number_formats(run_op: Run) -> None:
    integers = torch.tensor([2004], dtype=torch.int32)
    assert run_op("ttnn.typecast", [integers], [TensorType((1,), "bf16")], {}, TT)[0].item() == 2008
    assert run_op("ttir.typecast", [integers], [TensorType((1,), "bf16")], {}, EXACT)[0].item() == 2000
