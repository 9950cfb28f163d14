# SPDX-License-Identifier: Apache-2.0
"""Equivalent forms compute what the op computes, and leave the rest of the case alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fuzz.case import DTYPES, Case, CaseError, Input, Mesh, Node, Output, Payload, TensorSpec
from fuzz.case_file import load
from fuzz.ops import get, registered, specs
from fuzz.ops.scope import Scope
from fuzz.payloads import values
from fuzz.rewrites import forms, of_op
from oracles.reference import Expected, InvalidCase, reference

MESH = Mesh((1, 2), ("x", "y"))
FORMS = [(op.name, form.name) for op in registered() for form in of_op(op.name)]
FOLDER = Path(__file__).parents[2] / "corpus" / "regressions"


@st.composite
def drawn(draw: st.DrawFn, op: str) -> Case:
    """One use of an op on new inputs, or on what its draw puts between them and it."""
    scope = Scope(draw, DTYPES, 1 << 12)
    value = get(op).draw(scope)
    assume(value is not None and scope.nodes and scope.nodes[-1].op == op)
    return Case(MESH, tuple(scope.inputs), tuple(scope.nodes), (Output(scope.nodes[-1].name),)).live()


def expected(case: Case) -> Expected:
    inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
    return reference(case, inputs)[case.outputs[0].name]


def agree(one: Expected, other: Expected) -> bool:
    """Equal, or as near as the bounds of both allow."""
    allowed = sum(e.bound if e.bound is not None else torch.zeros(()) for e in (one, other))
    return bool(((one.values.double() - other.values.double()).abs() <= allowed).all())


@pytest.mark.parametrize(("op", "form"), FORMS)
def test_a_form_computes_what_its_op_computes(op: str, form: str) -> None:
    met = 0

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=drawn(op))
    def check(case: Case) -> None:
        nonlocal met
        found = [other for name, other in forms(case) if name in (f"as {form}", f"with {op} as {form}")]
        try:
            one = expected(case)
        except (InvalidCase, CaseError):
            found = []
        assume(found and one.chosen_from is None)  # ties leave the positions open
        assert all(agree(one, expected(other)) for other in found)
        met += 1

    check()
    assert met, "no drawn case was written in this form"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), op=st.sampled_from(sorted({op for op, _ in FORMS})))
def test_inputs_outputs_and_result_types_stay(data: st.DataObject, op: str) -> None:
    case = data.draw(drawn(op))
    result = specs(case)[case.outputs[0].name]
    for _, other in forms(case):
        assert [(value.spec, value.payload) for value in other.inputs] == [(v.spec, v.payload) for v in case.inputs]
        assert specs(other)[other.outputs[0].name] == result


def flipped() -> Case:
    x = Input("x0", TensorSpec((4,), "f32"), Payload("position"), (("y",),))
    nodes = (
        Node("v0", "flip", ("x0",), (("dims", (0,)),), (("y",),)),
        Node("v1", "add_scalar", ("v0",), (("value", 1),)),
    )
    return Case(MESH, (x,), nodes, (Output("v1", (("y",),)),))


def test_a_constraint_moves_to_the_last_node_of_the_form() -> None:
    other = dict(forms(flipped()))["with flip as index_select"]
    assert [node.op for node in other.nodes][-2:] == ["index_select", "add_scalar"]
    assert [node.sharding for node in other.nodes][-2:] == [(("y",),), None]
    assert other.outputs[0].sharding == (("y",),)


def test_forms_name_the_op_where_several_could_be_meant() -> None:
    names = [name for name, _ in forms(flipped())]
    assert "with flip as concat" in names
    assert "with add_scalar as add of a tensor" in names


def test_an_index_that_may_be_negative_is_wrapped_and_one_that_is_not_stays() -> None:
    def of(low: int) -> list[str]:
        table = Input("x0", TensorSpec((4, 2), "f32"), Payload("position"), ((), ()))
        index = Input("x1", TensorSpec((3,), "i64"), Payload("random", low, 4), ((),))
        case = Case(MESH, (table, index), (Node("v0", "index", ("x0", "x1")),), (Output("v0"),))
        return [node.op for node in dict(forms(case))["as index_select"].nodes]

    assert of(0) == ["index_select"]
    assert of(-4) == ["remainder_scalar", "index_select"]


@pytest.mark.parametrize("name", ["bb46f507", "4198154c", "fa02c0f2", "c0f8b819", "a3bf3d47", "2ae94b82", "876150e5",
                                  "d9a7f059", "dc5a5022", "aa9afea4", "f429daa3", "b00a4248", "54ef2ace", "37b6f547",
                                  "cf2c1099", "b9745c88"])  # fmt: skip
def test_every_kind_of_finding_so_far_has_a_form(name: str) -> None:
    assert list(forms(load(FOLDER / f"{name}.yaml")))
