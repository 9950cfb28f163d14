# SPDX-License-Identifier: Apache-2.0
"""Element types in torch: what carries them, how they wrap, and how constants get in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oracles.stages.elements import CARRIERS, carrier, from_bytes, from_literals, total_order, widened, wrapped
from oracles.stages.program import NotUnderstood

# (lowest, highest) of every integer type.
RANGES = {
    "i8": (-(2**7), 2**7 - 1),
    "si8": (-(2**7), 2**7 - 1),
    "ui8": (0, 2**8 - 1),
    "i16": (-(2**15), 2**15 - 1),
    "si16": (-(2**15), 2**15 - 1),
    "ui16": (0, 2**16 - 1),
    "i32": (-(2**31), 2**31 - 1),
    "si32": (-(2**31), 2**31 - 1),
    "ui32": (0, 2**32 - 1),
    "i64": (-(2**63), 2**63 - 1),
    "si64": (-(2**63), 2**63 - 1),
    "index": (-(2**63), 2**63 - 1),
}


@pytest.mark.parametrize("element", sorted(RANGES))
def test_a_carrier_holds_the_ends_of_its_type(element: str) -> None:
    ends = list(RANGES[element])
    assert torch.tensor(ends, dtype=carrier(element)).tolist() == ends


def test_every_integer_type_has_a_range_here() -> None:
    assert set(CARRIERS) == {*RANGES, "f64", "f32", "f16", "bf16", "i1"}


@pytest.mark.parametrize("element", ["ui64", "i4", "f8E4M3FN", "complex<f32>", "!quant.uniform<i8:f32, 1.0>"])
def test_an_element_type_without_a_carrier_is_not_understood(element: str) -> None:
    with pytest.raises(NotUnderstood, match="element type"):
        carrier(element)


@pytest.mark.parametrize(("element", "modulus"), [("ui16", 2**16), ("ui32", 2**32)])
def test_unsigned_types_wrap_where_their_carrier_is_wider(element: str, modulus: int) -> None:
    beyond = torch.tensor([-1, modulus, modulus + 5, 7], dtype=carrier(element))
    assert wrapped(beyond, element).tolist() == [modulus - 1, 0, 5, 7]


@pytest.mark.parametrize("element", ["i64", "si32", "f32"])
def test_other_types_are_left_alone(element: str) -> None:
    value = torch.tensor([-1, 7], dtype=carrier(element))
    assert wrapped(value, element) is value


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [(torch.bfloat16, torch.float64), (torch.int32, torch.int64), (torch.bool, torch.int64)],
)
def test_sums_are_taken_in_the_widest_type_of_the_kind(dtype: torch.dtype, wide: torch.dtype) -> None:
    assert widened(torch.ones(1, dtype=dtype)).dtype is wide


def test_total_order_ranks_signed_zeros_and_signed_nans() -> None:
    """StableHLO spec, compare: -NaN < -inf < ... < -0 < +0 < ... < inf < NaN."""
    ascending = torch.tensor([-torch.nan, -torch.inf, -1.5, -1.0, -0.0, 0.0, 1.0, 1.5, torch.inf, torch.nan])
    ranks = total_order(ascending)
    assert bool((ranks[1:] > ranks[:-1]).all())


@given(st.floats(allow_nan=False, width=32), st.floats(allow_nan=False, width=32))
def test_total_order_is_the_usual_one_on_numbers_that_differ(first: float, second: float) -> None:
    a, b = total_order(torch.tensor([first, second]))
    assert bool(a < b) == (first < second or (first == second == 0.0 and str(first) < str(second)))


@pytest.mark.parametrize(
    ("element", "dtype", "values"),
    [
        ("si32", np.int32, [-1, 2**31 - 1]),
        ("i64", np.int64, [-(2**63), 5]),
        ("ui16", np.uint16, [65535, 1]),
        ("ui32", np.uint32, [2**32 - 1, 2]),
        ("ui8", np.uint8, [255, 3]),
        ("f32", np.float32, [1.5, -np.inf]),
    ],
)
def test_raw_bytes_are_little_endian_elements(element: str, dtype: type, values: list[float]) -> None:
    read = from_bytes(np.array(values, dtype=dtype).tobytes(), element)
    assert read.dtype is carrier(element)
    assert read.tolist() == values


def test_raw_bytes_of_bf16_are_the_upper_halves_of_f32() -> None:
    assert from_bytes(bytes.fromhex("803F00C0"), "bf16").tolist() == [1.0, -2.0]


def test_literals_of_floats_may_be_the_hex_of_their_bits() -> None:
    read = from_literals(["0x7FC0", "0xFF80", "-2.5", "1.0e+02"], "bf16")
    assert bool(read[0].isnan())
    assert read[1:].tolist() == [-torch.inf, -2.5, 100.0]


def test_literals_of_f32_survive_to_the_last_bit() -> None:
    assert from_literals(["0x3F800001", "1.00000012"], "f32").tolist() == [1 + 2**-23] * 2


def test_literals_of_wide_integers_do_not_pass_through_floats() -> None:
    assert from_literals(["9007199254740993", "-9223372036854775808"], "i64").tolist() == [2**53 + 1, -(2**63)]


def test_literals_of_truth_values_are_words() -> None:
    assert from_literals(["true", "false"], "i1").tolist() == [True, False]
