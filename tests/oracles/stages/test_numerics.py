# SPDX-License-Identifier: Apache-2.0
"""The number formats of the chip, against what was observed on the simulator (docs: "TT numbers")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oracles.stages import numerics
from oracles.stages.numerics import EXACT, RULES, TT, WIDE, Numerics, round_significand
from oracles.stages.program import NotUnderstood, TensorType

Run = Callable[..., Any]
F32 = torch.float32
ROUTER_WEIGHTS = torch.tensor([[160.0], [1.0]])


def only(*rules: str) -> Numerics:
    return Numerics(frozenset(rules))


def stored(value: torch.Tensor, element: str, rules: Numerics = TT) -> torch.Tensor:
    """A typecast as the machine runs it: converted, then held in the element type."""
    return rules.store(rules.typecast(value, element), element)


# --- storage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "given_value", "held"),
    [
        ("bf16", 257.0, 256.0),  # a tie goes to even
        ("bf16", 259.0, 260.0),
        ("f32", 2.0**24 + 1, 2.0**24),
        ("si32", 2**31, -(2**31)),
        ("i64", 2**53 + 1, 2**53 + 1),
        ("ui16", -1, 65535),
        ("ui32", 2**32 + 3, 3),
        ("ui8", 256, 0),
    ],
)
def test_storage_keeps_what_the_element_type_holds(element: str, given_value: float, held: float) -> None:
    kind = torch.int64 if isinstance(given_value, int) else torch.float64
    assert EXACT.store(torch.tensor([given_value], dtype=kind), element).tolist() == [held]


@pytest.mark.parametrize(
    ("element", "value"), [("bf16", 257.0), ("f32", 2.0**24 + 1), ("si32", 2**40), ("ui16", 70000), ("ui32", -1)]
)
def test_without_storage_every_digit_stays(element: str, value: float) -> None:
    kind = torch.int64 if isinstance(value, int) else torch.float64
    assert WIDE.store(torch.tensor([value], dtype=kind), element).tolist() == [value]


def test_truth_values_stay_truth_values_without_storage() -> None:
    assert WIDE.store(torch.tensor([0, 2]), "i1").dtype is torch.bool


def test_storage_is_the_only_rule_that_is_documented() -> None:
    """Every other rule makes a suspicion, not a finding."""
    assert [rule.name for rule in RULES.values() if rule.documented] == ["storage"]


def test_the_chip_has_all_rules_and_what_comes_before_it_only_storage() -> None:
    assert (TT.rules, EXACT.rules, WIDE.rules) == (frozenset(RULES), {"storage"}, frozenset())


def test_a_rule_can_be_taken_away() -> None:
    assert TT.without("ties_away", "storage").rules == frozenset(RULES) - {"ties_away", "storage"}


# --- typecasts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("integer", "expected"), [(2004, 2008), (-2004, -2008), (257, 258), (259, 260), (258, 258)])
def test_integers_become_bf16_with_ties_away_from_zero(integer: int, expected: float) -> None:
    assert stored(torch.tensor([integer], dtype=torch.int32), "bf16").item() == expected


def test_without_that_rule_ties_go_to_even() -> None:
    integers = torch.tensor([2004, 257], dtype=torch.int32)
    assert stored(integers, "bf16", EXACT).tolist() == [2000.0, 256.0]


def test_floats_become_bf16_with_ties_to_even() -> None:
    assert stored(torch.tensor([2004.0, 257.0]), "bf16").tolist() == [2000.0, 256.0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.4, 0), (0.5, 1), (2.5, 3), (3.5, 4), (65534.5, 65535), (65535.5, 65535), (1e9, 65535), (-3.0, 0), (-0.4, 0)],
)
def test_f32_becomes_u16_by_rounding_half_up_and_saturates(value: float, expected: int) -> None:
    assert stored(torch.tensor([value], dtype=F32), "ui16").item() == expected


def test_infinities_saturate_u16_and_nan_becomes_zero() -> None:
    value = torch.tensor([torch.inf, -torch.inf, torch.nan])
    assert stored(value, "ui16").tolist() == [65535, 0, 0]


def test_without_that_rule_u16_truncates_and_wraps() -> None:
    assert stored(torch.tensor([2.5, 65536.0]), "ui16", EXACT).tolist() == [2, 0]


@pytest.mark.parametrize("element", ["si32", "ui32"])
@pytest.mark.parametrize("rules", [EXACT, TT, WIDE])
def test_f32_becomes_other_integers_by_truncation(element: str, rules: Numerics) -> None:
    assert stored(torch.tensor([2.9, 7.0, 16777216.0]), element, rules).tolist() == [2, 7, 2**24]


def test_negative_f32_truncates_toward_zero() -> None:
    assert stored(torch.tensor([-2.9]), "si32").item() == -2


def test_u32_and_f32_convert_exactly_up_to_24_bits() -> None:
    integers = torch.tensor([2**24 - 1, 2**24, 2**24 + 1])
    assert stored(integers, "f32").tolist() == [2**24 - 1, 2**24, 2**24]


# --- matrix products -------------------------------------------------------------------------------------------------


def router_rows(groups: int = 448, experts: int = 160) -> tuple[torch.Tensor, torch.Tensor]:
    """[t, e] for every pair, in f32, and the flat index 160 t + e that a product with the weights shall give."""
    t = torch.arange(groups).repeat_interleave(experts)
    e = torch.arange(experts).repeat(groups)
    return torch.stack([t, e], 1).to(F32), t * 160 + e


def test_an_f32_matmul_of_flat_indices_is_wrong_from_2561_on() -> None:
    rows, flat = router_rows()
    product = TT.matmul(rows, ROUTER_WEIGHTS, "f32")[:, 0]
    wrong = product != flat
    assert (flat[wrong][0].item(), product[wrong][0].item()) == (2561, 2562)
    assert not bool(wrong[flat < 2561].any())


def test_an_f32_matmul_of_flat_indices_is_wrong_as_often_and_as_much_as_observed() -> None:
    """61,824 of 71,680 pairs, at most by 16."""
    rows, flat = router_rows()
    error = (TT.matmul(rows, ROUTER_WEIGHTS, "f32")[:, 0] - flat).abs()
    assert (int((error > 0).sum()), len(flat), error.max().item()) == (61_824, 71_680, 16.0)


def test_the_upper_pass_alone_is_low_fidelity() -> None:
    """On the simulator low fidelity is first wrong at 129, which becomes 128."""
    rows, flat = router_rows(2)
    upper, _ = numerics._split(rows.double(), numerics.UPPER_BITS[0])
    product = (upper @ ROUTER_WEIGHTS.double())[:, 0]
    wrong = product != flat
    assert (flat[wrong][0].item(), product[wrong][0].item()) == (129, 128)


@pytest.mark.parametrize("group", [2, 8, 16])
def test_the_observed_figures_hold_for_any_group_of_products(group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "MATMUL_GROUP", group)
    rows, flat = router_rows(64)
    product = TT.matmul(rows, ROUTER_WEIGHTS, "f32")[:, 0]
    assert flat[product != flat][0].item() == 2561


def test_the_first_operand_keeps_11_bits_and_the_second_10() -> None:
    one = torch.ones(1, 1)
    kept = [TT.matmul(torch.tensor([[value]]), one, "f32").item() for value in (2047.0, 4095.0)]
    assert kept == [2047.0, 4096.0]
    kept = [TT.matmul(one, torch.tensor([[value]]), "f32").item() for value in (1023.0, 2047.0)]
    assert kept == [1023.0, 2048.0]


def test_without_that_rule_products_are_exact() -> None:
    rows, flat = router_rows(64)
    product = TT.without("tf32_matmul").matmul(rows, ROUTER_WEIGHTS, "f32")[:, 0]
    assert torch.equal(product, flat.double())


def test_a_bf16_matmul_is_rounded_by_its_storage_alone() -> None:
    value = torch.tensor([[257.0]])
    assert TT.matmul(value, torch.ones(1, 1), "bf16").item() == 257.0


def test_matmul_is_batched_like_that_of_torch() -> None:
    a, b = torch.arange(24.0).reshape(2, 1, 3, 4), torch.arange(40.0).reshape(2, 4, 5)
    product = TT.matmul(a, b, "f32")
    assert product.shape == (2, 2, 3, 5)
    assert torch.equal(product, a.double() @ b.double())


def test_matmul_sums_over_more_than_one_group() -> None:
    assert TT.matmul(torch.ones(1, 40), torch.ones(40, 1), "f32").item() == 40.0


def test_matmul_over_nothing_is_zero() -> None:
    assert TT.matmul(torch.ones(2, 0), torch.ones(0, 3), "f32").tolist() == [[0.0] * 3] * 2


def test_infinities_pass_through_matmul() -> None:
    product = TT.matmul(torch.tensor([[torch.inf, 1.0], [1.0, 1.0]]), torch.ones(2, 1), "f32")
    assert product.tolist() == [[torch.inf], [2.0]]


@given(st.lists(st.integers(-1023, 1023), min_size=2, max_size=2))
def test_single_products_of_few_bits_are_exact(factors: list[int]) -> None:
    """What 11 and 10 bits hold is multiplied pass by pass without a loss."""
    a, b = (torch.tensor([[float(factor)]]) for factor in factors)
    error = TT.matmul(a, b, "f32").item() - factors[0] * factors[1]
    largest = abs(factors[0] * factors[1])
    assert abs(error) <= 4 * largest * 2**-10


# --- rounding --------------------------------------------------------------------------------------------------------


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_rounding_to_24_bits_is_that_of_f32(value: float) -> None:
    doubled = torch.tensor([value], dtype=torch.float64)
    assert round_significand(doubled, 24).item() == value


@given(st.floats(2.0**-100, 2.0**100, width=32), st.booleans())
def test_rounding_to_8_bits_is_that_of_bf16(value: float, negative: bool) -> None:
    signed = torch.tensor([-value if negative else value])
    assert round_significand(signed.double(), 8).item() == signed.bfloat16().item()


def test_rounding_leaves_what_is_not_finite() -> None:
    value = torch.tensor([torch.inf, -torch.inf], dtype=torch.float64)
    assert round_significand(value, 8).tolist() == value.tolist()


# --- scatter and embedding -------------------------------------------------------------------------------------------


def added_in_bf16(run_op: Run, name: str, rules: Numerics) -> float:
    """256 + 1 + 1 in one element."""
    table, source = torch.tensor([256.0, 0.0]).bfloat16(), torch.ones(2).bfloat16()
    if name == "ttnn.scatter":
        attributes = {"dim": 0, "scatter_reduce_type": "sum"}
        operands = [table, torch.tensor([0, 0]), source]
    else:
        attributes = {"column": True, "reduce": "sum", "sizes": (2,), "windows": (1,)}
        operands = [table[None], torch.zeros(1, 1, 2, dtype=torch.int64), source[None]]
    (result,) = run_op(name, operands, [TensorType(tuple(operands[0].shape), "bf16")], attributes, rules)
    return float(result.flatten()[0])


@pytest.mark.parametrize("name", ["ttnn.scatter", "ttnn.rows_scatter"])
def test_a_bf16_scatter_rounds_after_every_addition(run_op: Run, name: str) -> None:
    assert added_in_bf16(run_op, name, TT) == 256.0


@pytest.mark.parametrize("name", ["ttnn.scatter", "ttnn.rows_scatter"])
def test_without_that_rule_a_bf16_scatter_rounds_once(run_op: Run, name: str) -> None:
    assert added_in_bf16(run_op, name, TT.without("bf16_accumulation")) == 258.0


def test_rows_of_a_bf16_scatter_round_after_every_addition_too(run_op: Run) -> None:
    """torch has a path of its own for whole rows, which adds in f32."""
    table, source = torch.full((1, 4, 32), 256.0).bfloat16(), torch.ones(1, 64, 32).bfloat16()
    index = torch.zeros(1, 1, 64, dtype=torch.int64)
    attributes = {"column": False, "reduce": "sum", "sizes": (4,), "windows": (1,)}
    (result,) = run_op("ttnn.rows_scatter", [table, index, source], [TensorType((1, 4, 32), "bf16")], attributes, TT)
    assert result[0, 0].tolist() == [256.0] * 32


@pytest.mark.parametrize(("dtype", "element"), [(torch.float32, "f32"), (torch.int32, "si32")])
def test_an_embedding_reads_garbage_out_of_range(run_op: Run, dtype: torch.dtype, element: str) -> None:
    weight = torch.tensor([[1, 2], [3, 4]], dtype=dtype)
    (result,) = run_op("ttnn.embedding", [torch.tensor([1, 2]), weight], [TensorType((2, 2), element)], {}, TT)
    assert result[0].tolist() == [3, 4]
    assert result[1].isnan().all() if dtype is F32 else result[1].tolist() == [2**31 - 1] * 2


@pytest.mark.parametrize("rules", [EXACT, WIDE, only("storage", "tf32_matmul")])
def test_without_that_rule_an_embedding_out_of_range_is_not_understood(run_op: Run, rules: Numerics) -> None:
    with pytest.raises(NotUnderstood, match="out of range"):
        run_op("ttnn.embedding", [torch.tensor([2]), torch.ones(2, 2)], [TensorType((1, 2), "f32")], {}, rules)
