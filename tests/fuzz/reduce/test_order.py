# SPDX-License-Identifier: Apache-2.0
"""The order that all reduction steps descend."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec
from fuzz.reduce.order import attribute_size, complexity
from fuzz.strategies.cases import cases
from fuzz.strategies.space import Space

SMALL_CASES = cases(Space((Mesh((2, 2), ("x", "y")), Mesh((1, 4), ("x", "y"))), memory_limit=1 << 16))

GATHER = Case(
    mesh=Mesh((1, 2), ("x", "y")),
    inputs=(
        Input("x0", TensorSpec((4, 8), "f32"), Payload("position"), ((), ("y",))),
        Input("x1", TensorSpec((4, 2), "i64"), Payload("monotone", 0, 8), ((), ())),
    ),
    nodes=(Node("v0", "gather", ("x0", "x1"), (("dim", 1),)),),
    outputs=(Output("v0"),),
)
DATA, INDEX = GATHER.inputs


def with_inputs(*inputs: Input) -> Case:
    return replace(GATHER, inputs=inputs)


@settings(max_examples=50, deadline=None)
@given(SMALL_CASES)
def test_the_measure_is_a_tuple_of_naturals_of_one_length(case: Case) -> None:
    """Lexicographic order on these is a well-order, so that no chain of simpler and simpler cases is infinite."""
    measure = complexity(case)
    assert len(measure) == len(complexity(GATHER))
    assert all(type(number) is int and number >= 0 for number in measure)


@pytest.mark.parametrize(
    ("simpler", "case"),
    [
        (GATHER, replace(GATHER, mesh=Mesh((2, 2), ("x", "y")))),
        (GATHER, replace(GATHER, mesh=Mesh((2, 1), ("x", "y")))),
        (
            replace(GATHER, mesh=Mesh((1, 4), ("x", "y"))),
            replace(GATHER, mesh=Mesh((2, 2), ("x", "y"))),
        ),
        (GATHER, replace(GATHER, options=(("optimization_level", "1"),))),
        (GATHER, replace(GATHER, outputs=(Output("v0", ((), ())),))),
        (with_inputs(replace(DATA, sharding=((), ())), INDEX), GATHER),
        (GATHER, with_inputs(replace(DATA, spec=TensorSpec((4, 8), "bf16")), INDEX)),
        (GATHER, with_inputs(DATA, replace(INDEX, payload=Payload("random", 0, 8)))),
        (GATHER, with_inputs(DATA, replace(INDEX, payload=Payload("monotone", 0, 8, seed=1)))),
        (with_inputs(DATA, replace(INDEX, spec=TensorSpec((1, 2), "i64"))), GATHER),
        (GATHER, with_inputs(INDEX, DATA)),
    ],
    ids=[
        "fewer devices",
        "devices on the last axis",
        "one axis of devices instead of two",
        "no options",
        "no output layout",
        "less sharding",
        "f32",
        "monotone index",
        "no seed",
        "fewer elements",
        "inputs in order of use",
    ],
)
def test_the_simpler_case_measures_less(simpler: Case, case: Case) -> None:
    assert complexity(simpler) < complexity(case)


def test_a_graph_with_fewer_nodes_is_simpler_however_many_inputs_it_has() -> None:
    chained = replace(
        GATHER,
        nodes=(*GATHER.nodes, Node("v1", "add", ("v0", "v0"))),
        outputs=(Output("v1"),),
    )
    wide = replace(GATHER, inputs=(*GATHER.inputs, replace(DATA, name="x2", spec=TensorSpec((512, 512), "bf16"))))
    assert complexity(wide) < complexity(chained)


def test_written_values_and_steps_are_simplest_at_one() -> None:
    assert attribute_size("value", 1) == attribute_size("step", 1) == 0
    assert attribute_size("value", 1) < attribute_size("value", 0) < attribute_size("value", -3)


def test_whole_numbers_are_simpler_than_fractions() -> None:
    assert attribute_size("value", 7.0) < attribute_size("value", 0.5)
