# SPDX-License-Identifier: Apache-2.0
"""Fresh inputs: as valid as the case's own, and other ones."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_outputs import data, index, one_op, own_inputs

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Mesh
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space
from oracles.explanation import FRESH
from oracles.fresh import fresh_inputs
from oracles.reference import InvalidCase, reference


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_fresh_inputs_are_valid_and_all_different(number: int) -> None:
    case = sample(Space((Mesh((2, 2), ("x", "y")),)), 1, number)
    try:
        reference(case, own_inputs(case))
    except InvalidCase:
        return
    every = [own_inputs(case), *fresh_inputs(case, FRESH)]
    for inputs in every[1:]:
        reference(case, inputs)
        assert {name: (value.shape, value.dtype) for name, value in inputs.items()} == {
            name: (value.shape, value.dtype) for name, value in every[0].items()
        }
    for position, one in enumerate(every):
        assert all(any(not torch.equal(one[name], other[name]) for name in one) for other in every[:position])


def test_two_inputs_of_one_recipe_get_different_values() -> None:
    """An op whose source equals its base would hide that nothing was written."""
    case = one_op("index_copy", data("x", 4), index("at", 4, below=4, kind="permutation"), data("y", 4), dim=0)
    for inputs in fresh_inputs(case, FRESH):
        assert not torch.equal(inputs["x"], inputs["y"])


def test_values_that_tell_elements_apart_still_do() -> None:
    for dtype in ("f32", "bf16", "i64"):
        for inputs in fresh_inputs(one_op("flip", data("x", 5, 7, dtype=dtype), dims=(0,)), FRESH):
            assert inputs["x"].unique().numel() == 35


def test_an_index_is_tried_on_all_that_it_may_name() -> None:
    """The payload of a reduced case may hold a single position."""
    case = one_op("embedding", index("at", 1, below=1), data("table", 8, 2))
    assert {int(inputs["at"]) for inputs in fresh_inputs(case, FRESH)} - {0}


def test_a_case_without_other_inputs_has_none() -> None:
    assert fresh_inputs(one_op("flip", data("x", 2, dtype="bool", kind="constant"), dims=(0,)), FRESH) == ()
