# SPDX-License-Identifier: Apache-2.0
"""A finding gets its pass once, and never one that contradicts it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fuzz.case import Case, Input, Mesh, Output, Payload, TensorSpec
from fuzz.case_file import dump
from fuzz.finding import Finding, State
from fuzz.localisation import localised
from oracles.localisation import Localisation
from oracles.outcome import RIGHT, WRONG, Outcome, Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable

MESH = Mesh((1, 2), ("x", "y"))
TT = TargetConfig("tt", MESH)
CASE = Case(MESH, (Input("x0", TensorSpec((4,), "f32"), Payload("position"), ((),)),), (), (Output("x0"),))
OUTCOME = Outcome(Verdict.WRONG, "ttir", stages={"shlo": RIGHT, "shlo_compiler": RIGHT, "ttir": WRONG})
FINDING = Finding("k", (), State.REDUCED, 0, dump(CASE), dump(CASE), OUTCOME)
FOUND = Localisation(Verdict.WRONG, ("Convert (convert)",), "ttir")


def test_the_guilty_pass_is_kept_with_the_finding() -> None:
    assert localised(FINDING, TT, lambda _: FOUND).localisation == FOUND


@pytest.mark.parametrize("found", [replace(FOUND, step="shlo_compiler"), replace(FOUND, step="ttnn")])
def test_a_pass_of_another_step_than_the_guilty_one_is_not_blamed(found: Localisation) -> None:
    told = localised(FINDING, TT, lambda _: found).localisation
    assert told is not None
    assert (told.passes, told.unknown) == ((), "Convert (convert) runs in another step than the guilty one")


def test_a_pass_of_another_failure_is_not_blamed() -> None:
    told = localised(FINDING, TT, lambda _: replace(FOUND, verdict=Verdict.CRASH)).localisation
    assert told is not None
    assert (told.passes, told.unknown) == ((), "with its passes printed the case ends as CRASH")


def test_a_compiler_that_does_not_start_leaves_the_finding_as_it_is_with_the_reason() -> None:
    def unavailable(_: Case) -> Localisation:
        raise TargetUnavailable("no plugin")

    finding = localised(FINDING, TT, unavailable)
    assert finding.localisation == Localisation(Verdict.ENV, unknown="no plugin")
    assert replace(finding, localisation=None) == FINDING


@pytest.mark.parametrize(
    ("finding", "config"),
    [
        (FINDING, TargetConfig("cpu", MESH, mock=False)),
        (FINDING, TargetConfig("tt", MESH, mock=False)),
        (replace(FINDING, localisation=FOUND), TT),
        (replace(FINDING, outcome=replace(OUTCOME, verdict=Verdict.NONDETERMINISTIC)), TT),
        (replace(FINDING, outcome=Outcome(Verdict.COMPILE_ERROR, "lower")), TT),
        (replace(FINDING, outcome=replace(OUTCOME, injected="a fault of ours")), TT),
    ],
)
def test_what_no_pass_can_explain_and_what_is_explained_is_not_compiled_again(
    finding: Finding, config: TargetConfig
) -> None:
    def unexpected(_: Case) -> Localisation:
        raise AssertionError("compiled again")

    assert localised(finding, config, unexpected) is finding
