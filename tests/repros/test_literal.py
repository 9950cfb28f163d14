# SPDX-License-Identifier: Apache-2.0
"""Source text of values: what a script evaluates must be what the case was run with."""

import math

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from fuzz.case import DTYPES, PAYLOAD_KINDS, Input, Payload, TensorSpec, replicated
from fuzz.payloads import values
from repros.literal import NUMPY, TORCH, EmitError, input_source, tensor_source
from repros.rendering import render

HELPERS = render("payloads.py.j2", helpers={"mixed", "permutation"})


def evaluate(source: str) -> torch.Tensor:
    """Evaluate like a script does; numpy results come back as tensors."""
    names = {"np": np, "torch": torch, "ml_dtypes": ml_dtypes}
    exec(HELPERS, names)  # noqa: S102 - evaluating emitted source is what is tested
    result = eval(source, names)  # noqa: S307
    if isinstance(result, torch.Tensor):
        return result
    if result.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(result.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(result)


@st.composite
def inputs(draw: DrawFn) -> Input:
    """Any payload, from one element to a few thousand: literals and formulas both occur."""
    shape = tuple(draw(st.lists(st.sampled_from((1, 2, 3, 8, 17, 40)), max_size=3)))
    dtype = draw(st.sampled_from(DTYPES))
    kind = draw(st.sampled_from(PAYLOAD_KINDS))
    if kind == "permutation" and not shape:
        kind = "random"
    dim = draw(st.integers(0, len(shape) - 1)) if kind == "permutation" else 0
    low = draw(st.sampled_from((0, 0, -7, 5)))
    most = shape[dim] if kind == "permutation" else 1
    high = low + most + draw(st.sampled_from((0, 1, 5, 160, 3000)))
    payload = Payload(kind, low, high, dim, draw(st.integers(0, 3)))
    return Input("x0", TensorSpec(shape, dtype), payload, replicated(len(shape)))


@pytest.mark.parametrize("language", [TORCH, NUMPY], ids=["torch", "numpy"])
@given(value=inputs())
def test_source_of_an_input_evaluates_to_exactly_its_payload(language, value):
    assert_same(evaluate(input_source(value, language)), values(value.spec, value.payload))


@pytest.mark.parametrize("language", [TORCH, NUMPY], ids=["torch", "numpy"])
@pytest.mark.parametrize("shape", [(16384 + 7,), (130, 129)])
def test_bf16_positions_keep_their_bit_patterns_beyond_the_wrap(language, shape):
    value = Input("x0", TensorSpec(shape, "bf16"), Payload("position"), replicated(len(shape)))
    assert_same(evaluate(input_source(value, language)), values(value.spec, value.payload))


@pytest.mark.parametrize("language", [TORCH, NUMPY], ids=["torch", "numpy"])
@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(5),
        torch.tensor([math.nan, math.inf, -math.inf, -0.0, 1e30, 0.1]),
        torch.tensor([[True, False], [False, False]]),
        torch.zeros(0, 3),
        torch.tensor([2.0, 3.0, 4.0], dtype=torch.bfloat16),
        torch.tensor([2**53, 2**53 + 1, -(2**62) - 1]),
        torch.tensor([0.1, 0.3]).repeat(60),
        torch.tensor([1, 2, 3]).repeat(60),
        torch.full((90,), -0.0),
    ],
    ids=str,
)
def test_source_of_a_constant_evaluates_to_exactly_its_elements(language, tensor):
    evaluated = evaluate(tensor_source(tensor, language))
    assert_same(evaluated, tensor)
    if tensor.is_floating_point():
        assert torch.equal(evaluated.signbit(), tensor.signbit())


def test_an_index_input_of_a_reduced_case_is_a_readable_list():
    value = Input("x0", TensorSpec((3,), "i64"), Payload("boundary", 0, 8), ((),))
    assert input_source(value, TORCH) == "torch.tensor([7, 0, 5], dtype=torch.int64)"


def test_positions_are_written_as_a_range():
    value = Input("x0", TensorSpec((8, 8), "f32"), Payload("position"), ((), ()))
    assert input_source(value, TORCH) == "torch.arange(1, 65, dtype=torch.float32).reshape(8, 8)"


def test_a_large_constant_without_a_pattern_is_refused():
    with pytest.raises(EmitError, match="5000 elements"):
        tensor_source(torch.arange(5000) ** 2, NUMPY)


def assert_same(evaluated, wanted):
    assert evaluated.dtype == wanted.dtype
    assert evaluated.shape == wanted.shape
    equal = (evaluated == wanted) | ((evaluated != evaluated) & (wanted != wanted))
    assert bool(equal.all())
