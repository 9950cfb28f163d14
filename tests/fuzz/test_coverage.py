# SPDX-License-Identifier: Apache-2.0
"""What a case exercises is told from its graph, shardings and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec
from fuzz.coverage import BOUNDARIES, features
from fuzz.evidence import Feature
from fuzz.strategies.cases import cases
from fuzz.strategies.space import Space

SPACE = Space((Mesh.parse("2x2"),))


def gather(rows: int, data: Sharding, index: Sharding = ((), ()), mesh: str = "2x2") -> Case:
    return Case(
        Mesh.parse(mesh),
        (
            Input("x0", TensorSpec((rows, 4), "bf16"), Payload("position"), data),
            Input("x1", TensorSpec((2, 4), "i64"), Payload("monotone", 0, 2), index),
        ),
        (Node("v0", "gather", ("x0", "x1"), (("dim", 0),)),),
        (Output("v0"),),
    )


@pytest.mark.parametrize(
    ("case", "sharding", "boundary"),
    [
        (gather(4, ((), ())), "whole", 0),
        (gather(4, (("x",), ())), "split along its dim", 0),
        (gather(4, ((), ("x",))), "split elsewhere", 0),
        (gather(4, (("x",), ("y",))), "split along all dims", 0),
        (gather(4, (("x", "y"), ())), "split along its dim by two axes", 0),
        (gather(5, (("x",), ())), "split along its dim unevenly", 0),
        (gather(4, ((), ()), ((), ("y",))), "whole, other operands split", 0),
        (gather(512, ((), ())), "whole", 2048),
        (gather(511, ((), ())), "whole", 512),
    ],
)
def test_an_op_is_named_by_dtype_sharding_and_size(case: Case, sharding: str, boundary: int) -> None:
    assert features(case) == {Feature("gather", "bf16", sharding, boundary)}


def test_a_graph_that_torch_rejects_exercises_nothing() -> None:
    case = gather(4, ((), ()))
    broken = Case(case.mesh, case.inputs, (Node("v0", "gather", ("x0", "x0"), (("dim", 7),)),), case.outputs)
    assert features(broken) == frozenset()


@given(st.data())
def test_every_op_of_a_case_is_exercised(data: st.DataObject) -> None:
    case = data.draw(cases(SPACE))
    told = features(case)
    assert {feature.op for feature in told} == {node.op for node in case.nodes}
    assert {feature.boundary for feature in told} <= {0, *BOUNDARIES}
