# SPDX-License-Identifier: Apache-2.0
"""A finding in words: titles that name op, condition and effect, rows that say where wrong elements are from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec
from fuzz.evidence import Boundary, Control
from fuzz.facts import facts, title
from oracles.explanation import Decoded, Element, Explanation
from oracles.localisation import Localisation
from oracles.outcome import Mismatch, Outcome, Verdict
from oracles.targets.config import TargetConfig

MESH = Mesh((2, 2), ("x", "y"))
TT = TargetConfig("tt", MESH)
WRONG = Outcome(
    Verdict.WRONG,
    "shlo_compiler",
    op="gather",
    operations=("gather",),
    transition="shlo -> shlo_compiler",
    mismatches=(Mismatch("v0", 1, 3, 8, (("(0, 1)", "3", "7"),)), Mismatch("v0", 3, 8, 8, (("(2, 0)", "1", "2"),))),
    stages={"shlo": "right", "shlo_compiler": "wrong"},
)
EXPLAINED = Explanation(
    "mesh row 1 used mesh row 0's offset",
    "offset",
    3,
    (Decoded("v0", (4, 4), 11, {"shard": 11}, (Element((0, 1), 1, "shard", "x0[3, 1]", "x0[1, 1]"),), ()),),
)


def case(data: Sharding, index: Sharding = ((), ()), mesh: Mesh = MESH, high: int = 4) -> Case:
    inputs = (
        Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), data),
        Input("x1", TensorSpec((4, 4), "i64"), Payload("random", 0, high), index),
    )
    return Case(mesh, inputs, (Node("v0", "gather", ("x0", "x1"), (("dim", 1),)),), (Output("v0"),))


@pytest.mark.parametrize(
    ("subject", "condition"),
    [
        (case(((), ()), mesh=Mesh((1, 1), ("x", "y"))), "on one device"),
        (case(((), ())), "with nothing sharded on 4 devices"),
        (case((("x",), ())), "with dim 0 of the data sharded over 2 devices"),
        (case((("x",), ()), (("x",), ())), "with dim 0 of the data and dim 0 of the index sharded over 2 devices"),
        (case(((), ("y", "x"))), "with dim 1 of the data sharded over 4 devices (y then x)"),
        (
            replace(case(((), ())), outputs=(Output("v0", ((), ("y",))),)),
            "with dim 1 of the result sharded over 2 devices",
        ),
    ],
)
def test_the_title_says_op_condition_and_effect(subject: Case, condition: str) -> None:
    wanted = f"torch.gather (stablehlo.gather) {condition}: mesh row 1 used mesh row 0's offset"
    assert title(subject, WRONG, EXPLAINED) == wanted


def test_without_an_explanation_the_title_counts() -> None:
    for unexplained in (None, Explanation("unexplained: element [0] is odd"), Explanation("long " * 40, "m")):
        assert title(case(((), ())), WRONG, unexplained).endswith(": 11 of 16 elements wrong on 2 of 4 devices")


def test_a_long_error_does_not_make_a_long_title() -> None:
    error = Outcome(Verdict.COMPILE_ERROR, "ttir", "failed to legalize; Failed to convert")
    assert title(case(((), ())), error).endswith(" does not compile: failed to legalize")
    assert len(title(case(((), ())), replace(error, message="x" * 4000))) < 300


def test_a_row_has_indices_where_they_are_known_and_values_elsewhere() -> None:
    first, second = facts(case((("x",), ())), WRONG, TT, explanation=EXPLAINED).wrong
    assert (first.coordinate, first.count, first.at) == ("x=0, y=1", "3 of 8", "(0, 1)")
    assert (first.expected, first.got) == ("x0[3, 1] = 3", "x0[1, 1] = 7")
    assert (second.coordinate, second.at, second.expected, second.got) == ("x=1, y=1", "(2, 0)", "1", "2")


def test_what_is_right_is_said_too() -> None:
    known = facts(case((("x",), ())), WRONG, TT)
    assert known.right == "The other 2 devices are right."
    assert known.seen_by.endswith("on a simulated mesh; executed the same way, `shlo` is right")


def test_a_mask_holds_no_large_value() -> None:
    mask = Input("x0", TensorSpec((4,), "bool"), Payload("mask"), (("x",),))
    turned = Case(MESH, (mask,), (Node("v0", "flip", ("x0",), (("dims", (0,)),)),), (Output("v0"),))
    assert "no value exceeds 256" in facts(turned, replace(WRONG, mismatches=()), TT).ruled_out


def test_known_causes_are_ruled_out_only_where_they_cannot_be() -> None:
    small = facts(case((("x",), ())), WRONG, TT).ruled_out
    assert "no value exceeds 256" in small
    assert "no tensor has more than 2048 elements" in small
    assert "256" not in facts(case((("x",), ()), high=300), WRONG, TT).ruled_out
    assert facts(case((("x",), ())), replace(WRONG, number_format="storage"), TT).ruled_out == ""
    assert facts(case((("x",), ())), replace(WRONG, stage="shlo"), TT).ruled_out == ""


def test_lost_digits_are_called_rounding_and_nothing_else_is() -> None:
    assert facts(case(((), ())), WRONG, TT).exactness.startswith("Not rounding: elements are only moved")
    lost = replace(WRONG, number_format="storage")
    assert facts(case(((), ())), lost, TT).exactness.startswith("Rounding: digits are lost")


def test_the_guilty_pass_is_named_or_why_none_is() -> None:
    blamed = Localisation(Verdict.WRONG, ("Fusing (fuse)",), "shlo_compiler")
    assert facts(case(((), ())), WRONG, TT, blamed).where == (
        "stage shlo_compiler, op gather; wrong after Fusing (fuse), on the way to shlo_compiler"
    )
    error = Outcome(Verdict.COMPILE_ERROR, "ttir", "cannot parse")
    outside = Localisation(Verdict.COMPILE_ERROR, unknown="the compile failed outside any pass")
    assert facts(case(((), ())), error, TT, outside).where == "stage ttir; the compile failed outside any pass"
    torch_xla = replace(WRONG, stage="shlo", transition="torch_xla")
    assert facts(case(((), ())), torch_xla, TT).where == "torch_xla, before any compiler, op gather"


def test_what_limits_the_failure_is_told_apart_from_what_has_no_part_in_it() -> None:
    rows = Boundary("dim 0 of x0", ((1, False), (2, True)))
    columns, rank = Boundary("dim 1 of x0", ((1, True), (64, True))), Boundary("rank of x0", ((2, True), (6, True)))
    known = facts(case(((), ())), WRONG, TT, boundaries=(rows, columns, rank))
    assert known.boundaries == (str(rows), "it does not depend on dim 1 of x0 (1 to 64) and rank of x0 (2 to 6)")


def test_controls_are_one_sentence() -> None:
    found = (Control("unsharded", Verdict.PASS), Control("on cpu", Verdict.PASS))
    assert facts(case(((), ())), WRONG, TT, controls=found).controls == ("passes unsharded and on cpu",)
    assert facts(case(((), ())), WRONG, TT).controls == ()
