# SPDX-License-Identifier: Apache-2.0
"""The search: what it returns, what it spends, and what it never does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Case, CaseError, Input, Mesh, Node, Output, Payload, TensorSpec
from fuzz.reduce.order import complexity
from fuzz.reduce.passes import PASSES
from fuzz.reduce.reducer import reduce
from fuzz.strategies.cases import cases
from fuzz.strategies.space import Space

SMALL_CASES = cases(Space((Mesh((2, 2), ("x", "y")), Mesh((1, 4), ("x", "y"))), memory_limit=1 << 16))

LARGE = Case(
    mesh=Mesh((2, 2), ("x", "y")),
    inputs=(
        Input("x0", TensorSpec((64, 16), "bf16"), Payload("position", seed=1), (("x",), ("y",))),
        Input("x1", TensorSpec((8, 16), "i64"), Payload("random", 0, 64), (("x",), ())),
    ),
    nodes=(
        Node("v0", "gather", ("x0", "x1"), (("dim", 0),)),
        Node("v1", "cumsum", ("v0",), (("dim", 1),)),
        Node("v2", "add", ("v1", "v0")),
    ),
    outputs=(Output("v2", (("x",), ("y",))), Output("v1")),
)


class Target:
    """A predicate that remembers what it was asked."""

    def __init__(self, fails: Callable[[Case], bool]) -> None:
        self._fails = fails
        self.asked: list[Case] = []

    def __call__(self, case: Case) -> bool:
        self.asked.append(case)
        return self._fails(case)


def sharded_gather(case: Case) -> bool:
    return any(
        node.op == "gather" and (value := case.input(node.operands[0])) is not None and any(value.sharding)
        for node in case.nodes
    )


def cumsum(case: Case) -> bool:
    return any(node.op == "cumsum" for node in case.nodes)


def test_the_result_fails_and_is_simpler() -> None:
    reduction = reduce(LARGE, sharded_gather)
    assert sharded_gather(reduction.case)
    assert complexity(reduction.case) < complexity(LARGE)


def test_reduction_is_deterministic() -> None:
    first, second = Target(sharded_gather), Target(sharded_gather)
    assert reduce(LARGE, first).case == reduce(LARGE, second).case
    assert first.asked == second.asked


def test_no_candidate_runs_twice_and_the_start_never() -> None:
    target = Target(sharded_gather)
    reduction = reduce(LARGE, target)
    digests = [case.digest for case in target.asked]
    assert len(set(digests)) == len(digests) == reduction.runs
    assert LARGE.digest not in digests


def test_the_same_numbers_written_in_another_way_need_no_run() -> None:
    """A range of one number is the same in all recipes; the simplest of them is taken without asking."""
    value = Input("x0", TensorSpec((2,), "i64"), Payload("boundary", 7, 8), ((),))
    case = Case(Mesh((1, 1), ("x", "y")), (value,), (Node("v0", "neg", ("x0",)),), (Output("v0"),))
    target = Target(lambda candidate: False)
    assert reduce(case, target).case.inputs[0].payload.kind == "monotone"
    assert replace(value, payload=Payload("monotone", 7, 8)) not in [candidate.inputs[0] for candidate in target.asked]


def test_what_torch_leaves_open_is_not_run() -> None:
    """Two writes to one place: whatever the target does is right."""
    index = Input("x1", TensorSpec((2,), "i64"), Payload("permutation", 0, 2, seed=2), ((),))
    base = Input("x0", TensorSpec((2,), "f32"), Payload("position"), ((),))
    node = Node("v0", "scatter", ("x0", "x1", "x0"), (("dim", 0),))
    target = Target(lambda candidate: candidate.inputs[1].spec.elements == 2)
    reduce(Case(Mesh((1, 1), ("x", "y")), (base, index), (node,), (Output("v0"),)), target)
    constant = [c for c in target.asked if c.inputs[-1].payload.kind == "constant" and c.inputs[-1].spec.elements > 1]
    assert constant == []


def test_a_minimal_case_has_no_failing_step_left() -> None:
    reduction = reduce(LARGE, sharded_gather)
    assert reduction.minimal
    assert not any(sharded_gather(c) for simplify in PASSES for c in simplify(reduction.case))


@settings(max_examples=15, deadline=None)
@given(case=SMALL_CASES)
def test_what_always_fails_ends_at_one_small_node(case: Case) -> None:
    """The longest descents there are: every step is taken."""
    reduction = reduce(case, lambda candidate: True, max_runs=2000)
    assert reduction.minimal
    assert len(reduction.case.nodes) == 1
    assert reduction.case.mesh.size == 1


def test_what_fails_only_as_it_is_comes_back_unchanged() -> None:
    reduction = reduce(LARGE, lambda candidate: False)
    assert reduction.case == LARGE
    assert reduction.minimal


@pytest.mark.parametrize("budget", [0, 1, 3, 6])
def test_a_spent_budget_of_runs_leaves_the_best_so_far(budget: int) -> None:
    target = Target(sharded_gather)
    reduction = reduce(LARGE, target, max_runs=budget)
    best = [LARGE, *filter(sharded_gather, target.asked)][-1]
    assert (reduction.case, reduction.runs, reduction.minimal) == (best, budget, False)


def test_no_run_starts_after_the_time_is_up() -> None:
    ticks = itertools.count()
    reduction = reduce(LARGE, sharded_gather, max_seconds=5, clock=lambda: float(next(ticks)))
    assert not reduction.minimal
    assert reduction.runs == 4  # one tick at the start and one before each run
    assert sharded_gather(reduction.case)


def test_of_two_faults_a_reduction_keeps_the_one_it_is_asked_for() -> None:
    assert [node.op for node in reduce(LARGE, cumsum).case.nodes] == ["cumsum"]
    assert [node.op for node in reduce(LARGE, sharded_gather).case.nodes] == ["gather"]


def test_every_improvement_is_reported_when_it_is_found() -> None:
    seen: list[Case] = []
    reduction = reduce(LARGE, sharded_gather, improved=lambda case, runs: seen.append(case))
    measures = [complexity(case) for case in seen]
    assert measures == sorted(measures, reverse=True)
    assert seen[-1] == reduction.case


def test_an_interrupt_propagates_and_the_best_so_far_was_reported() -> None:
    seen: list[Case] = []

    def interrupted(case: Case) -> bool:
        if seen:
            raise KeyboardInterrupt
        return sharded_gather(case)

    with pytest.raises(KeyboardInterrupt):
        reduce(LARGE, interrupted, improved=lambda case, runs: seen.append(case))
    assert sharded_gather(seen[-1])


def test_a_case_torch_rejects_is_an_error() -> None:
    broken = Case(LARGE.mesh, LARGE.inputs, (Node("v0", "add", ("x0", "x1")),), (Output("v0"),))
    with pytest.raises(CaseError, match="add"):
        reduce(broken, lambda candidate: True)
