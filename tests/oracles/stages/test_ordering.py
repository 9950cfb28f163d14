# SPDX-License-Identifier: Apache-2.0
"""Sorting: comparators against XLA, the named ops of TTIR and TTNN against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.stages.program import NotUnderstood, TensorType

Run = Callable[..., Any]
EXAMPLES = 20
SHAPE = (3, 7)
# Ties, both zeros, both infinities: where order is decided by more than size.
floats = st.sampled_from((0.0, -0.0, 1.0, -1.0, 1.5, torch.inf, -torch.inf))
integers = st.integers(-3, 3)
rows = SHAPE[0] * SHAPE[1]


def sort_function(element: str, dim: int, comparator: str) -> str:
    """Sorts %x and where its elements come from, stably; the comparator reads %a, %b of %x and %i, %j of positions."""
    shape = "x".join(map(str, SHAPE))
    value, position = f"tensor<{shape}x{element}>", f"tensor<{shape}xi32>"
    return f"""
    func.func @main(%x: {value}) -> ({value}, {position}) {{
      %position = stablehlo.iota dim = {dim} : {position}
      %0:2 = "stablehlo.sort"(%x, %position) <{{dimension = {dim} : i64, is_stable = true}}> ({{
        ^bb0(%a: tensor<{element}>, %b: tensor<{element}>, %i: tensor<i32>, %j: tensor<i32>):
          {comparator}
          stablehlo.return %first : tensor<i1>
      }}) : ({value}, {position}) -> ({value}, {position})
      return %0#0, %0#1 : {value}, {position}
    }}
    """


def check(with_xla: Run, function: str, value: torch.Tensor) -> None:
    ours, theirs = with_xla(function, value)
    assert torch.equal(ours[1], theirs[1])
    assert torch.equal(ours[0].nan_to_num(77.0), theirs[0].nan_to_num(77.0))


@settings(max_examples=EXAMPLES)
@given(
    values=st.lists(floats, min_size=rows, max_size=rows),
    dim=st.integers(0, 1),
    direction=st.sampled_from(("LT", "GT")),
    operands=st.sampled_from(("%a, %b", "%b, %a")),
    kind=st.sampled_from(("FLOAT", "TOTALORDER")),
)
def test_one_comparison_of_floats_orders_like_xla(
    with_xla: Run, values: list[float], dim: int, direction: str, operands: str, kind: str
) -> None:
    """In the total order -0 comes before 0; otherwise they are equal and keep their order."""
    comparator = (
        f"%first = stablehlo.compare {direction}, {operands}, {kind} : (tensor<f32>, tensor<f32>) -> tensor<i1>"
    )
    check(with_xla, sort_function("f32", dim, comparator), torch.tensor(values).reshape(SHAPE))


@settings(max_examples=EXAMPLES)
@given(
    values=st.lists(integers, min_size=rows, max_size=rows),
    dim=st.integers(0, 1),
    direction=st.sampled_from(("LT", "GT")),
    operands=st.sampled_from(("%a, %b", "%b, %a", "%i, %j", "%j, %i")),
)
def test_one_comparison_of_either_operand_orders_like_xla(
    with_xla: Run, values: list[int], dim: int, direction: str, operands: str
) -> None:
    comparator = f"%first = stablehlo.compare {direction}, {operands} : (tensor<i32>, tensor<i32>) -> tensor<i1>"
    check(with_xla, sort_function("i32", dim, comparator), torch.tensor(values, dtype=torch.int32).reshape(SHAPE))


# The larger remainder of 3 first, then the larger position: no single comparison of an operand says so.
LEXICOGRAPHIC = """
          %three = stablehlo.constant dense<3> : tensor<i32>
          %p = stablehlo.remainder %a, %three : tensor<i32>
          %q = stablehlo.remainder %b, %three : tensor<i32>
          %larger = stablehlo.compare GT, %p, %q : (tensor<i32>, tensor<i32>) -> tensor<i1>
          %same = stablehlo.compare EQ, %p, %q : (tensor<i32>, tensor<i32>) -> tensor<i1>
          %later = stablehlo.compare GT, %i, %j : (tensor<i32>, tensor<i32>) -> tensor<i1>
          %both = stablehlo.and %same, %later : tensor<i1>
          %first = stablehlo.or %larger, %both : tensor<i1>
"""
# As JAX compares: zeros are made equal before the total order.
ZEROS_ARE_EQUAL = """
          %zero = stablehlo.constant dense<0.0> : tensor<f32>
          %c = stablehlo.compare EQ, %a, %zero : (tensor<f32>, tensor<f32>) -> tensor<i1>
          %d = stablehlo.select %c, %zero, %a : tensor<i1>, tensor<f32>
          %e = stablehlo.compare EQ, %b, %zero : (tensor<f32>, tensor<f32>) -> tensor<i1>
          %f = stablehlo.select %e, %zero, %b : tensor<i1>, tensor<f32>
          %first = stablehlo.compare LT, %d, %f, TOTALORDER : (tensor<f32>, tensor<f32>) -> tensor<i1>
"""


@settings(max_examples=EXAMPLES)
@given(values=st.lists(integers, min_size=rows, max_size=rows), dim=st.integers(0, 1))
def test_a_comparator_of_two_keys_orders_like_xla(with_xla: Run, values: list[int], dim: int) -> None:
    value = torch.tensor(values, dtype=torch.int32).reshape(SHAPE)
    check(with_xla, sort_function("i32", dim, LEXICOGRAPHIC), value)


@settings(max_examples=EXAMPLES)
@given(values=st.lists(floats, min_size=rows, max_size=rows), dim=st.integers(0, 1))
def test_any_comparator_keeps_the_order_of_equal_elements(with_xla: Run, values: list[float], dim: int) -> None:
    check(with_xla, sort_function("f32", dim, ZEROS_ARE_EQUAL), torch.tensor(values).reshape(SHAPE))


def test_the_total_order_has_a_place_for_nan(with_xla: Run) -> None:
    comparator = "%first = stablehlo.compare LT, %a, %b, TOTALORDER : (tensor<f32>, tensor<f32>) -> tensor<i1>"
    value = torch.zeros(SHAPE)
    value[:, 2], value[:, 4], value[:, 5] = torch.nan, torch.inf, -torch.nan
    check(with_xla, sort_function("f32", 1, comparator), value)


def test_nan_without_an_order_is_not_understood(with_xla: Run) -> None:
    comparator = "%first = stablehlo.compare LT, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>"
    with pytest.raises(NotUnderstood, match="NaN"):
        with_xla(sort_function("f32", 1, comparator), torch.full(SHAPE, torch.nan))


@pytest.mark.parametrize("dialect", ["ttir", "ttnn"])
@pytest.mark.parametrize("descending", [False, True])
def test_named_sort_gives_values_and_where_they_come_from(run_op: Run, dialect: str, descending: bool) -> None:
    value = torch.tensor([[2.0, 1.0, 2.0, 3.0]])
    types = [TensorType((1, 4), "f32"), TensorType((1, 4), "ui16")]
    attributes = {"dim": 1, "descending": descending, "stable": True}
    ordered, positions = run_op(f"{dialect}.sort", [value], types, attributes)
    assert ordered.tolist() == ([[3.0, 2.0, 2.0, 1.0]] if descending else [[1.0, 2.0, 2.0, 3.0]])
    assert positions.tolist() == ([[3, 0, 2, 1]] if descending else [[1, 0, 2, 3]])


@pytest.mark.parametrize("largest", [False, True])
def test_topk_takes_the_ends_of_the_order(run_op: Run, largest: bool) -> None:
    value = torch.tensor([[2.0], [1.0], [5.0], [3.0]])
    types = [TensorType((2, 1), "f32"), TensorType((2, 1), "si32")]
    attributes = {"dim": 0, "k": 2, "largest": largest, "sorted": True}
    ordered, positions = run_op("ttnn.topk", [value], types, attributes)
    assert ordered.flatten().tolist() == ([5.0, 3.0] if largest else [1.0, 2.0])
    assert positions.flatten().tolist() == ([2, 3] if largest else [1, 0])


def test_topk_in_any_order_is_not_understood(run_op: Run) -> None:
    types = [TensorType((1,), "f32"), TensorType((1,), "si32")]
    with pytest.raises(NotUnderstood, match="sorted"):
        run_op("ttnn.topk", [torch.zeros(3)], types, {"dim": 0, "k": 1, "largest": True, "sorted": False})
