# SPDX-License-Identifier: Apache-2.0
"""Boundaries and controls of a finding: searched with its own kind of failure, and found once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec
from fuzz.case_file import dump
from fuzz.examination import examined
from fuzz.finding import Finding, State, Witness
from fuzz.triage import ANY_CASE
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig

PAIR = Mesh((1, 2), ("x", "y"))
TT, CPU = TargetConfig("tt", PAIR), TargetConfig("cpu", PAIR, mock=False)
WRONG = Outcome(Verdict.WRONG, "shlo_compiler", op="flip")
RIGHT = Outcome(Verdict.PASS, "compare")


def finding(outcome: Outcome = WRONG, op: str = "flip") -> Finding:
    value = Input("x0", TensorSpec((4,), "f32"), Payload("position"), (("y",),))
    case = Case(PAIR, (value,), (Node("v0", op, ("x0",), (("dims", (0,)),)),), (Output("v0"),))
    return Finding("key", (Witness("key", ANY_CASE),), State.REDUCED, 0, dump(case), dump(case), outcome)


def from_three_elements(outcome: Outcome = WRONG) -> Callable[[Case], Outcome]:
    def run(case: Case) -> Outcome:
        sharded = any(any(value.sharding) for value in case.inputs)
        return outcome if sharded and case.inputs[0].spec.elements >= 3 else RIGHT

    return run


def test_a_finding_gets_the_size_from_which_it_fails_and_the_settings_in_which_it_passes() -> None:
    found = examined(finding(), TT, from_three_elements(), {"cpu": lambda _: RIGHT})
    sizes = next(boundary for boundary in found.boundaries if boundary.what.startswith("dim 0"))
    assert (sizes.largest_passing, sizes.smallest_failing) == (2, 4)  # two shards: no odd sizes
    passing = {control.name for control in found.controls if control.verdict is Verdict.PASS}
    assert {"unsharded", "on cpu"} <= passing


def test_another_failure_is_neither_a_pass_nor_the_same() -> None:
    def run(case: Case) -> Outcome:
        if case.inputs[0].spec.elements > 8:
            return Outcome(Verdict.COMPILE_ERROR, "ttir", "too large")
        return from_three_elements()(case)

    found = examined(finding(), TT, run, {})
    sizes = next(boundary for boundary in found.boundaries if boundary.what.startswith("dim 0"))
    assert all(value <= 8 for value, _ in sizes.samples)
    assert any(value > 8 for value in sizes.neither)


def test_what_else_the_guilty_stage_holds_does_not_matter() -> None:
    """A larger case may become other ops as well; it still fails in the same way."""

    def run(case: Case) -> Outcome:
        outcome = from_three_elements()(case)
        return replace(outcome, became=("pad",)) if case.inputs[0].spec.elements > 4 else outcome

    found = examined(finding(), TT, run, {})
    sizes = next(boundary for boundary in found.boundaries if boundary.what.startswith("dim 0"))
    assert sizes.monotone


def test_only_the_tt_compiler_is_asked_for_optimisation_levels() -> None:
    names = {
        config.kind: {control.name for control in examined(finding(), config, from_three_elements(), {}).controls}
        for config in (TT, CPU)
    }
    assert any("optimization_level" in name for name in names["tt"])
    assert not any("optimization_level" in name for name in names["cpu"])


def test_a_finding_is_examined_once() -> None:
    found = examined(finding(), TT, from_three_elements(), {})

    def never(_: Case) -> Outcome:
        raise AssertionError("run again")

    assert examined(found, TT, never, {}) is found


def test_a_graph_that_torch_rejects_is_left_as_it_is() -> None:
    broken = finding(Outcome(Verdict.CRASH, "compile", "SIGSEGV"), op="gather")
    assert examined(broken, TT, from_three_elements(), {}) is broken
