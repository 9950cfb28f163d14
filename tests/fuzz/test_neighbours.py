# SPDX-License-Identifier: Apache-2.0
"""Larger cases like a reduced one: valid, of the same op, and no larger than is bearable."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec
from fuzz.neighbours import LARGEST, neighbours
from fuzz.ops import specs
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space

PAIR = Mesh((1, 2), ("x", "y"))


def flip(size: int = 2, mesh: Mesh = PAIR) -> Case:
    value = Input("x0", TensorSpec((size,), "f32"), Payload("position"), (("y",),))
    return Case(mesh, (value,), (Node("v0", "flip", ("x0",), (("dims", (0,)),)),), (Output("v0"),))


def test_sizes_double_and_triple_and_so_do_devices_where_there_are_more() -> None:
    grown = list(neighbours(flip(), Mesh((2, 2), ("x", "y"))))
    assert [(case.inputs[0].spec.shape, case.mesh.shape) for case in grown] == [
        ((4,), (1, 2)),
        ((6,), (1, 2)),
        ((4,), (1, 4)),
    ]
    assert all(case.nodes == flip().nodes for case in grown)
    assert [case.mesh.shape for case in neighbours(flip(), PAIR)] == [(1, 2), (1, 2)]


def test_index_ranges_grow_with_what_they_index() -> None:
    table = Input("x0", TensorSpec((3,), "f32"), Payload("position"), ((),))
    index = Input("x1", TensorSpec((2,), "i64"), Payload("monotone", 0, 3), ((),))
    case = Case(PAIR, (table, index), (Node("v0", "take", ("x0", "x1")),), (Output("v0"),))
    first, *_ = neighbours(case, PAIR)
    assert (first.inputs[0].spec.shape, first.inputs[1].payload.high) == ((6,), 6)


def test_huge_cases_have_no_larger_ones() -> None:
    assert list(neighbours(flip(LARGEST), PAIR)) == []


def test_a_graph_that_torch_rejects_has_none() -> None:
    """A target may fail on it before anybody asks torch."""
    broken = Case(PAIR, flip().inputs, (Node("v0", "gather", ("x0",), (("dim", 0),)),), (Output("v0"),))
    assert list(neighbours(broken, PAIR)) == []


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_whatever_grows_is_a_valid_case(number: int) -> None:
    case = sample(Space((PAIR,)), 2, number)
    for grown in neighbours(case, Mesh((2, 2), ("x", "y"))):
        assert specs(grown)
        assert grown.mesh.size <= 4


@pytest.mark.parametrize("size", [1, 3])
def test_the_case_itself_is_not_among_them(size: int) -> None:
    assert flip(size).digest not in {case.digest for case in neighbours(flip(size), PAIR)}
