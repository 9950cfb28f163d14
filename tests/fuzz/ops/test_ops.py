# SPDX-License-Identifier: Apache-2.0
"""Every op of the registry against what its entry claims: draws, ranges, types, definedness and source text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from fuzz.case import DTYPES, Case, CaseError, Mesh, Node, Output, TensorSpec
from fuzz.ops import DTYPE_NAMES, Accumulates, Chooses, Moves, Op, get, infer, registered, run_graph, source_line, specs
from fuzz.ops.core import register
from fuzz.ops.scope import Scope, Value
from fuzz.payloads import values

OPS = registered()
# Each example draws and runs a small graph; a failing one is worth shrinking, a passing one not worth keeping.
FEW = settings(
    max_examples=8, deadline=None, phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck)
)
every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


@dataclass(frozen=True)
class Drawn:
    """A graph that ends in one op, with what the scope says of its values."""

    case: Case
    known: tuple[Value, ...]

    @property
    def node(self) -> Node:
        return self.case.nodes[-1]


@st.composite
def graphs(draw: DrawFn, op: Op) -> Drawn:
    dtypes = draw(st.sampled_from((DTYPES, ("f32",), ("bf16", "i32"), ("i64", "bool"))))
    scope = Scope(draw, dtypes, draw(st.sampled_from((1 << 12, 1 << 20))))
    for _ in range(draw(st.integers(0, 2))):
        draw(st.sampled_from(OPS)).draw(scope)
    value = op.draw(scope)
    assert value is not None, "nothing fits, though any op may make new inputs"
    case = Case(Mesh((1, 1), ("x", "y")), tuple(scope.inputs), tuple(scope.nodes), (Output(value.name),))
    return Drawn(case, tuple(scope.values))


def evaluate(case: Case) -> dict[str, torch.Tensor]:
    return run_graph(case, {value.name: values(value.spec, value.payload) for value in case.inputs}, "cpu")


@every_op
def test_a_drawn_graph_computes_what_the_op_and_the_scope_say(op: Op) -> None:
    """One walk for all claims about values: evaluating graphs is what takes the time."""

    @FEW
    @given(graphs(op))
    def check(drawn: Drawn) -> None:
        node, results = drawn.node, evaluate(drawn.case)
        assert node.op == op.name
        inferred = specs(drawn.case)
        for value in drawn.known:
            result = results[value.name]
            assert TensorSpec(tuple(result.shape), DTYPE_NAMES[result.dtype]) == inferred[value.name] == value.spec
            assert result.isfinite().all()
            if value.low is not None and value.high is not None and result.numel():
                assert value.low <= int(result.min())
                assert int(result.max()) < value.high
            if value.distinct:
                assert result.unique().numel() == result.numel()
        operands = [results[name] for name in node.operands]
        assert op.defined is None or op.defined(*operands, **node.keywords)
        names: dict[str, Any] = {**results, "torch": torch, "device": "cpu"}
        written = eval(source_line(node), names)  # noqa: S307 -- what is tested is that this text is right
        assert written.dtype == results[node.name].dtype
        assert torch.equal(written, results[node.name])

    check()


@every_op
def test_what_the_semantics_name_is_there(op: Op) -> None:
    @FEW
    @given(graphs(op))
    def check(drawn: Drawn) -> None:
        node, known = drawn.node, specs(drawn.case)
        match op.semantics:
            case Moves(data=data, constant=constant):
                assert op.name == "concat" or all(position < len(node.operands) for position in data)
                assert all(known[node.operands[i]].dtype == known[node.name].dtype for i in data[: len(node.operands)])
                assert constant is None or constant in node.keywords
            case Chooses():
                assert isinstance(node.keywords["dim"], int)
            case Accumulates(terms=terms):
                operands = [known[name] for name in node.operands]
                assert 1 <= terms(operands, node.keywords) <= 2 + max(spec.elements for spec in operands)
            case _:
                assert node.operands

    check()


@every_op
def test_positions_that_ties_leave_open_are_read_by_no_op(op: Op) -> None:
    @FEW
    @given(graphs(op))
    def check(drawn: Drawn) -> None:
        left_open = {value.name for value in drawn.known if value.open}
        for node in drawn.case.nodes:
            assert not left_open.intersection(node.operands)

    check()


# --- definedness ------------------------------------------------------------------------------------------------------

BASE = torch.zeros(4, 4)


def test_conflicting_writes_of_a_scatter_are_not_defined() -> None:
    index = torch.tensor([[1, 1]])
    defined = get("scatter").defined
    assert defined is not None
    assert not defined(BASE, index, torch.tensor([[5.0, 6.0]]), dim=1)
    assert defined(BASE, index, torch.tensor([[5.0, 5.0]]), dim=1)


def test_only_the_covered_corner_of_a_scatter_source_is_written() -> None:
    defined = get("scatter").defined
    assert defined is not None
    assert defined(BASE, torch.tensor([[1, 1]]), torch.tensor([[5.0, 5.0, 6.0], [7.0, 8.0, 9.0]]), dim=1)


def test_conflicting_rows_of_an_index_copy_are_not_defined() -> None:
    defined = get("index_copy").defined
    assert defined is not None
    assert not defined(BASE, torch.tensor([2, 2]), torch.arange(8.0).reshape(2, 4), dim=0)
    assert defined(BASE, torch.tensor([2, 1]), torch.arange(8.0).reshape(2, 4), dim=0)


def test_pairs_of_an_index_put_conflict_also_when_written_as_negative_positions() -> None:
    defined = get("index_put").defined
    assert defined is not None
    rows = torch.tensor([3, -1])
    assert not defined(BASE, rows, torch.tensor([0, 0]), torch.tensor([5.0, 6.0]))
    assert defined(BASE, rows, torch.tensor([0, 1]), torch.tensor([5.0, 6.0]))


def test_writes_out_of_range_are_not_defined() -> None:
    defined = get("scatter").defined
    assert defined is not None
    assert not defined(BASE, torch.tensor([[4]]), torch.tensor([[5.0]]), dim=1)


# --- magnitudes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [op for op in OPS if isinstance(op.semantics, Accumulates)], ids=lambda op: op.name)
def test_magnitudes_bound_the_result(op: Op) -> None:
    """|f(x)| <= f(|x|) is what error bounds are built on; a difference must grow like a sum."""
    semantics = op.semantics
    assert isinstance(semantics, Accumulates)

    @FEW
    @given(graphs(op))
    def check(drawn: Drawn) -> None:
        node, results = drawn.node, evaluate(drawn.case)
        if any(not results[name].is_floating_point() for i, name in enumerate(node.operands) if i in semantics.data):
            return
        operands = [
            results[name].double().abs() if i in semantics.data else results[name]
            for i, name in enumerate(node.operands)
        ]
        size = (semantics.magnitude or op.run)(*operands, **node.keywords)
        assert (results[node.name].double().abs() <= size * 1.05 + 1e-30).all()

    check()


# --- the registry -----------------------------------------------------------------------------------------------------


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        register(get("gather"))


def test_an_unknown_op_is_a_case_error() -> None:
    with pytest.raises(CaseError, match="unknown op 'warp'"):
        get("warp")


def test_operands_that_torch_rejects_are_a_case_error() -> None:
    with pytest.raises(CaseError, match="matmul: torch rejects"):
        infer("matmul", [TensorSpec((2, 3), "f32"), TensorSpec((2, 3), "f32")], ())


@pytest.mark.parametrize(
    "family",
    ["indexed read", "indexed write", "creation", "elementwise", "comparison", "shape", "reduction", "ordering"],
)
def test_every_family_has_ops(family: str) -> None:
    assert any(op.family == family for op in OPS)
