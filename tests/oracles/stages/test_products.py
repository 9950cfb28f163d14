# SPDX-License-Identifier: Apache-2.0
"""Matrix products: StableHLO's and TTIR's general ones against XLA, TTNN's against torch and the chip's formats."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.stages.numerics import TT
from oracles.stages.program import TensorType

Run = Callable[..., Any]
ELEMENTS = {torch.float32: "f32", torch.int32: "i32"}
EXAMPLES = 30


def tensor_type(shape: Sequence[int], element: str) -> str:
    return f"tensor<{'x'.join(map(str, (*shape, element)))}>"


def small(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Small numbers of both signs: sums of their products are exact in f32."""
    values = torch.tensor([3, -1, 2, 1, -2, 3, 1])[torch.arange(math.prod(shape)) * 5 % 7]
    return values.to(dtype).reshape(tuple(shape))


@st.composite
def products(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], list[list[int]], list[list[int]]]:
    """Shapes of both operands, and their batching and contracting dims."""
    kinds = ["batch"] * draw(st.integers(0, 2)) + ["contract"] * draw(st.integers(0, 2))
    labels = [(kind, number, draw(st.integers(1, 4))) for number, kind in enumerate(kinds)]
    shapes_, dims = [], []
    for _ in range(2):
        free = [("free", -1, draw(st.integers(1, 4))) for _ in range(draw(st.integers(0, 2)))]
        order = draw(st.permutations([*labels, *free]))
        shapes_.append(tuple(size for _, _, size in order))
        dims.append([order.index(label) for label in labels])
    batch, contract = (
        [[place for place, kind in zip(side, kinds, strict=True) if kind == wanted] for side in dims]
        for wanted in ("batch", "contract")
    )
    return shapes_[0], shapes_[1], batch, contract


@settings(max_examples=EXAMPLES)
@given(case=products(), dtype=st.sampled_from((torch.int32, torch.float32)))
def test_dot_general_gives_the_numbers_of_xla(with_xla: Run, run_op: Run, case: Any, dtype: torch.dtype) -> None:
    """And TTIR's dot_general, with the same dims under other names, gives them too."""
    a_shape, b_shape, batch, contract = case
    free = [
        [size for dim, size in enumerate(shape) if dim not in (*batch[side], *contract[side])]
        for side, shape in enumerate((a_shape, b_shape))
    ]
    shape = [*(a_shape[dim] for dim in batch[0]), *free[0], *free[1]]
    element = ELEMENTS[dtype]
    a_type, b_type, result = (tensor_type(s, element) for s in (a_shape, b_shape, shape))
    a, b = small(a_shape, dtype), small(b_shape, dtype)
    ours, theirs = with_xla(
        f"""
        func.func @main(%a: {a_type}, %b: {b_type}) -> {result} {{
          %0 = stablehlo.dot_general %a, %b, batching_dims = {batch[0]} x {batch[1]},
              contracting_dims = {contract[0]} x {contract[1]} : ({a_type}, {b_type}) -> {result}
          return %0 : {result}
        }}
        """,
        a,
        b,
    )
    assert torch.equal(ours[0], theirs[0])
    attributes = {"batch_dims_lhs": batch[0], "batch_dims_rhs": batch[1],
                  "contract_dims_lhs": contract[0], "contract_dims_rhs": contract[1]}  # fmt: skip
    (ttir,) = run_op("ttir.dot_general", [a, b], [TensorType(tuple(shape), element)], attributes)
    assert torch.equal(ttir, theirs[0])


def test_matmul_transposes_before_it_multiplies(run_op: Run) -> None:
    a, b = small((2, 3, 4), torch.float32), small((2, 5, 3), torch.float32)
    (result,) = run_op(
        "ttnn.matmul", [a, b], [TensorType((2, 4, 5), "f32")], {"transpose_a": True, "transpose_b": True}
    )
    assert torch.equal(result, a.mT @ b.mT)


def test_ttnn_matmul_follows_the_number_formats_of_the_chip(run_op: Run) -> None:
    """4097 has 13 significant bits: exact in f32, and 4096 in the 11 that the matrix engine keeps."""
    operands = [torch.tensor([[4097.0]]), torch.tensor([[1.0]])]
    attributes = {"transpose_a": False, "transpose_b": False}
    (exact,) = run_op("ttnn.matmul", operands, [TensorType((1, 1), "f32")], attributes)
    (chip,) = run_op("ttnn.matmul", operands, [TensorType((1, 1), "f32")], attributes, TT)
    assert (exact.item(), chip.item()) == (4097.0, 4096.0)


def test_integer_products_wrap_in_their_own_type(with_xla: Run) -> None:
    function = """
        func.func @main(%a: tensor<1x2xi32>, %b: tensor<2x1xi32>) -> tensor<1x1xi32> {
          %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT]
              : (tensor<1x2xi32>, tensor<2x1xi32>) -> tensor<1x1xi32>
          return %0 : tensor<1x1xi32>
        }
    """
    a, b = torch.tensor([[2**30, 5]], dtype=torch.int32), torch.tensor([[6], [7]], dtype=torch.int32)
    ours, theirs = with_xla(function, a, b)
    assert ours[0].tolist() == theirs[0].tolist() == [[-(2**31) + 35]]
