# SPDX-License-Identifier: Apache-2.0
"""Reductions, windows and cumulative sums: against XLA where it has them, else against torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.stages.program import NotUnderstood, TensorType

Run = Callable[..., Any]
ELEMENTS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.int32: "i32", torch.int64: "i64", torch.bool: "i1"}
EXAMPLES = 30
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def tensor_type(shape: Sequence[int], element: str) -> str:
    return f"tensor<{'x'.join(map(str, (*shape, element)))}>"


def scattered(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Small numbers of both signs, with ties, none of them zero: sums and products of a few are exact in f32."""
    count = math.prod(shape)
    values = torch.tensor([3, -1, 2, 1, -2, 3, 1])[torch.arange(count) * 5 % 7]
    return (values > 0 if dtype is torch.bool else values.to(dtype)).reshape(tuple(shape))


def reduce_function(shape: Sequence[int], dims: Sequence[int], element: str, name: str, initial: str) -> str:
    result = tensor_type([size for dim, size in enumerate(shape) if dim not in dims], element)
    operand, scalar = tensor_type(shape, element), f"tensor<{element}>"
    return f"""
    func.func @main(%x: {operand}) -> {result} {{
      %initial = stablehlo.constant dense<{initial}> : {scalar}
      %0 = stablehlo.reduce(%x init: %initial) applies stablehlo.{name} across dimensions = {list(dims)}
          : ({operand}, {scalar}) -> {result}
      return %0 : {result}
    }}
    """


INITIAL = {"add": "0", "multiply": "1", "maximum": "-100", "minimum": "100", "xor": "0"}


@settings(max_examples=EXAMPLES)
@given(
    shape=shapes,
    reduced=st.sets(st.integers(0, 3)),
    dtype=st.sampled_from((torch.int32, torch.int64, torch.float32)),
    name=st.sampled_from(sorted(INITIAL)),
)
def test_reduce_gives_the_numbers_of_xla(
    with_xla: Run, shape: tuple[int, ...], reduced: set[int], dtype: torch.dtype, name: str
) -> None:
    element = "i32" if name == "xor" else ELEMENTS[dtype]
    value = scattered(shape, torch.int32 if name == "xor" else dtype)
    initial = INITIAL[name] + (".0" if element == "f32" else "")
    dims = sorted(dim for dim in reduced if dim < len(shape))
    ours, theirs = with_xla(reduce_function(shape, dims, element, name, initial), value)
    assert torch.equal(ours[0], theirs[0])


@settings(max_examples=EXAMPLES // 2)
@given(shape=shapes, reduced=st.sets(st.integers(0, 3), min_size=1), name=st.sampled_from(("and", "or")))
def test_reduce_of_truth_values_reads_constants_around_its_region(
    with_xla: Run, shape: tuple[int, ...], reduced: set[int], name: str
) -> None:
    """torch_xla's `all` and `any`: the region selects between constants that are defined outside of it."""
    dims = sorted({dim % len(shape) for dim in reduced})
    operand = tensor_type(shape, "i1")
    result = tensor_type([size for dim, size in enumerate(shape) if dim not in dims], "i1")
    ours, theirs = with_xla(
        f"""
        func.func @main(%x: {operand}) -> {result} {{
          %true = stablehlo.constant dense<true> : tensor<i1>
          %false = stablehlo.constant dense<false> : tensor<i1>
          %initial = stablehlo.constant dense<{"true" if name == "and" else "false"}> : tensor<i1>
          %0 = stablehlo.reduce(%x init: %initial) across dimensions = {dims} : ({operand}, tensor<i1>) -> {result}
            reducer(%a: tensor<i1>, %b: tensor<i1>) {{
              %c = stablehlo.{name} %a, %b : tensor<i1>
              %d = stablehlo.select %c, %true, %false : tensor<i1>, tensor<i1>
              stablehlo.return %d : tensor<i1>
            }}
          return %0 : {result}
        }}
        """,
        scattered(shape, torch.bool),
    )
    assert torch.equal(ours[0], theirs[0])


def arg_function(shape: Sequence[int], dim: int, direction: str) -> str:
    """torch_xla's argmax and argmin: the first of equal values."""
    operand, positions = tensor_type(shape, "f32"), tensor_type(shape, "i32")
    rest = [size for d, size in enumerate(shape) if d != dim]
    result = tensor_type(rest, "i32")
    return f"""
    func.func @main(%x: {operand}) -> {result} {{
      %position = stablehlo.iota dim = {dim} : {positions}
      %worst = stablehlo.constant dense<{"-100.0" if direction == "GE" else "100.0"}> : tensor<f32>
      %zero = stablehlo.constant dense<0> : tensor<i32>
      %0:2 = stablehlo.reduce(%x init: %worst), (%position init: %zero) across dimensions = [{dim}]
          : ({operand}, {positions}, tensor<f32>, tensor<i32>) -> ({tensor_type(rest, "f32")}, {result})
        reducer(%a: tensor<f32>, %b: tensor<f32>) (%i: tensor<i32>, %j: tensor<i32>) {{
          %better = stablehlo.compare {direction}, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
          %value = stablehlo.select %better, %a, %b : tensor<i1>, tensor<f32>
          %same = stablehlo.compare EQ, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
          %first = stablehlo.minimum %i, %j : tensor<i32>
          %one = stablehlo.select %better, %i, %j : tensor<i1>, tensor<i32>
          %index = stablehlo.select %same, %first, %one : tensor<i1>, tensor<i32>
          stablehlo.return %value, %index : tensor<f32>, tensor<i32>
        }}
      return %0#1 : {result}
    }}
    """


@settings(max_examples=EXAMPLES // 2)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dim=st.integers(0, 1),
    direction=st.sampled_from(("GE", "LE")),
)
def test_argmax_as_a_reduce_of_two_operands_finds_the_first(
    with_xla: Run, shape: tuple[int, ...], dim: int, direction: str
) -> None:
    ours, theirs = with_xla(arg_function(shape, dim, direction), scattered(shape, torch.float32))
    assert torch.equal(ours[0], theirs[0])


@pytest.mark.parametrize(
    ("name", "initial"),
    [
        ("add", "false"),
        ("or", "false"),
        ("maximum", "false"),
        ("multiply", "true"),
        ("and", "true"),
        ("minimum", "true"),
    ],
)
def test_reduce_of_truth_values_knows_arithmetic_as_logic(with_xla: Run, name: str, initial: str) -> None:
    value = torch.tensor([[True, True], [True, False], [False, False]])
    ours, theirs = with_xla(reduce_function((3, 2), [1], "i1", name, initial), value)
    assert ours[0].tolist() == theirs[0].tolist() == [True, initial == "false", False]


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_reduce_keeps_nan(with_xla: Run, name: str) -> None:
    value = torch.tensor([[1.0, torch.nan, 2.0], [1.0, 3.0, 2.0]])
    ours, theirs = with_xla(reduce_function((2, 3), [1], "f32", name, INITIAL[name] + ".0"), value)
    assert ours[0].isnan().tolist() == theirs[0].isnan().tolist() == [True, False]


@pytest.mark.parametrize("name", ["add", "multiply"])
def test_reduce_wraps_integers_in_their_own_type(with_xla: Run, name: str) -> None:
    value = torch.tensor([2**31 - 1, 2**30, 2**30 + 1], dtype=torch.int32)
    ours, theirs = with_xla(reduce_function((3,), [0], "i32", name, INITIAL[name]), value)
    assert ours[0].dtype is torch.int32
    assert torch.equal(ours[0], theirs[0])


def test_reduce_of_nothing_gives_the_initial_value(with_xla: Run) -> None:
    ours, theirs = with_xla(reduce_function((2, 0), [1], "i32", "maximum", "-7"), torch.zeros(2, 0, dtype=torch.int32))
    assert ours[0].tolist() == theirs[0].tolist() == [-7, -7]


def test_a_bf16_sum_is_rounded_once(run_op: Run) -> None:
    """256 + 1 + 1 rounds back to 256 after each step in bf16; the sum of all three is 258."""
    (result,) = run_op(
        "ttir.sum", [torch.tensor([256.0, 1.0, 1.0]).bfloat16()], [TensorType((), "bf16")],
        {"dim_arg": (0,), "keep_dim": False},
    )  # fmt: skip
    assert result.item() == 258.0


@dataclass(frozen=True)
class Sliding:
    """A reduce_window per dim: operand size, window, stride, base and window dilation, padding low and high."""

    dims: tuple[tuple[int, int, int, int, int, int, int], ...]

    def column(self, number: int) -> list[int]:
        return [dim[number] for dim in self.dims]

    @property
    def result(self) -> list[int]:
        return [
            (low + (size - 1) * base + 1 + high - (window - 1) * dilation - 1) // stride + 1
            for size, window, stride, base, dilation, low, high in self.dims
        ]

    def function(self, element: str, name: str, initial: str) -> str:
        operand, result, scalar = (tensor_type(s, element) for s in (self.column(0), self.result, ()))
        arrays = {
            "window_dimensions": 1,
            "window_strides": 2,
            "base_dilations": 3,
            "window_dilations": 4,
        }
        listed = ", ".join(
            f"{key} = array<i64: {', '.join(map(str, self.column(number)))}>" for key, number in arrays.items()
        )
        padding = f"dense<{[list(dim[5:]) for dim in self.dims]}> : tensor<{len(self.dims)}x2xi64>"
        return f"""
        func.func @main(%x: {operand}) -> {result} {{
          %initial = stablehlo.constant dense<{initial}> : {scalar}
          %0 = "stablehlo.reduce_window"(%x, %initial) <{{{listed}, padding = {padding}}}> ({{
            ^bb0(%a: {scalar}, %b: {scalar}):
              %c = stablehlo.{name} %a, %b : {scalar}
              stablehlo.return %c : {scalar}
          }}) : ({operand}, {scalar}) -> {result}
          return %0 : {result}
        }}
        """


small = st.integers(1, 3)
slidings = (
    st.lists(
        st.tuples(st.integers(1, 6), st.integers(1, 7), small, small, small, st.integers(0, 6), st.integers(0, 3)),
        min_size=1,
        max_size=2,
    )
    .map(lambda dims: Sliding(tuple(dims)))
    .filter(lambda sliding: all(size > 0 for size in sliding.result))
)


@settings(max_examples=EXAMPLES)
@given(sliding=slidings, name=st.sampled_from(sorted(INITIAL)))
def test_reduce_window_gives_the_numbers_of_xla(with_xla: Run, sliding: Sliding, name: str) -> None:
    ours, theirs = with_xla(sliding.function("i32", name, INITIAL[name]), scattered(sliding.column(0), torch.int32))
    assert torch.equal(ours[0], theirs[0])


def test_a_window_over_all_that_came_before_is_a_cumulative_sum(with_xla: Run) -> None:
    sliding = Sliding(((13, 13, 1, 1, 1, 12, 0),))
    value = scattered((13,), torch.float32)
    ours, theirs = with_xla(sliding.function("f32", "add", "0.0"), value)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[0], value.cumsum(0))


@pytest.mark.parametrize("dialect", ["ttir", "ttnn"])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sum", lambda value, keep: value.sum((0, 2), keepdim=keep)),
        ("max", lambda value, keep: value.amax((0, 2), keepdim=keep)),
        ("min", lambda value, keep: value.amin((0, 2), keepdim=keep)),
        ("mean", lambda value, keep: value.mean((0, 2), keepdim=keep)),
        (
            "prod",
            lambda value, keep: (
                value.prod(2, keepdim=True).prod(0, keepdim=keep).reshape(value.amax((0, 2), keep).shape)
            ),
        ),
    ],
)
def test_named_reductions_are_those_of_torch(
    run_op: Run, dialect: str, name: str, keep: bool, expected: Callable[[torch.Tensor, bool], torch.Tensor]
) -> None:
    value = scattered((2, 3, 4), torch.float32)
    shape = (1, 3, 1) if keep else (3,)
    (result,) = run_op(f"{dialect}.{name}", [value], [TensorType(shape, "f32")], {"dim_arg": (0, 2), "keep_dim": keep})
    assert torch.equal(result, expected(value, keep))


def test_without_dims_everything_is_reduced(run_op: Run) -> None:
    value = scattered((2, 3), torch.int32)
    (result,) = run_op("ttir.sum", [value], [TensorType((), "i32")], {"keep_dim": False})
    assert result.item() == value.sum().item()


def test_ttnn_prod_names_one_dim(run_op: Run) -> None:
    value = scattered((2, 3), torch.float32)
    (result,) = run_op("ttnn.prod", [value], [TensorType((2,), "f32")], {"dim_arg": 1, "keep_dim": False})
    assert torch.equal(result, value.prod(1))


def test_reduce_and_and_reduce_or_ask_for_truth(run_op: Run) -> None:
    value = torch.tensor([[True, False], [True, True], [False, False]])
    attributes = {"dim_arg": (1,), "keep_dim": False}
    (all_,) = run_op("ttir.reduce_and", [value], [TensorType((3,), "i1")], attributes)
    (any_,) = run_op("ttir.reduce_or", [value], [TensorType((3,), "i1")], attributes)
    assert (all_.tolist(), any_.tolist()) == ([False, True, False], [True, True, False])


@pytest.mark.parametrize(("name", "attributes"), [("ttir.argmax", {"dim_arg": (1,)}), ("ttnn.argmax", {"dim": 1})])
def test_argmax_takes_the_first_of_equal_values(run_op: Run, name: str, attributes: dict[str, Any]) -> None:
    value = torch.tensor([[1.0, 5.0, 5.0], [7.0, 7.0, 0.0]])
    (result,) = run_op(name, [value], [TensorType((2, 1), "i32")], attributes | {"keep_dim": True})
    assert result.tolist() == [[1], [0]]


def test_argmax_over_several_dims_is_not_understood(run_op: Run) -> None:
    with pytest.raises(NotUnderstood, match="argmax"):
        run_op("ttir.argmax", [torch.zeros(2, 2)], [TensorType((), "i32")], {"dim_arg": (0, 1), "keep_dim": False})


@pytest.mark.parametrize("name", ["ttir.cumsum", "ttnn.cumsum"])
def test_cumsum_adds_along_its_dim(run_op: Run, name: str) -> None:
    value = scattered((3, 4), torch.float32)
    (result,) = run_op(name, [value], [TensorType((3, 4), "f32")], {"dim": 1})
    assert torch.equal(result, value.cumsum(1))
