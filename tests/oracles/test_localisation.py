# SPDX-License-Identifier: Apache-2.0
"""Which pass is blamed, and when none is."""

from __future__ import annotations

import json
from dataclasses import replace

from oracles.localisation import Localisation, failing_pass, fatal_pass, first_wrong
from oracles.outcome import Verdict
from oracles.quotation import Quote
from oracles.stages.passes import Dump, PassLog

SHLO = Dump("", "", "shlo", "")
FUSING = Dump("Fusing", "fuse", "shlo_compiler", "")
RESHARDS = Dump("InsertReshards", "insert-reshards", "shlo_compiler", "")
LOCAL = Dump("ToLocal", "", "shlo_compiler", "")
FAILED = Dump("Convert", "convert", "ttir", "", failed=True)


def test_the_first_wrong_module_names_its_pass() -> None:
    found = first_wrong([(SHLO, True), (FUSING, True), (RESHARDS, False), (LOCAL, False)])
    assert found == Localisation(Verdict.WRONG, ("InsertReshards (insert-reshards)",), "shlo_compiler")
    assert str(found) == "wrong after InsertReshards (insert-reshards), on the way to shlo_compiler"


def test_unjudged_passes_before_the_wrong_one_share_the_blame() -> None:
    found = first_wrong([(SHLO, True), (FUSING, None), (RESHARDS, False)])
    assert found.passes == ("Fusing (fuse)", "InsertReshards (insert-reshards)")
    assert str(found).endswith("; Fusing (fuse) before it could not be judged")


def test_unjudged_passes_before_a_right_one_or_after_the_wrong_one_do_not() -> None:
    found = first_wrong([(SHLO, None), (FUSING, True), (RESHARDS, False), (LOCAL, None)])
    assert found.passes == ("InsertReshards (insert-reshards)",)


def test_a_wrong_module_that_is_right_again_later_is_our_misreading() -> None:
    found = first_wrong([(SHLO, True), (FUSING, False), (RESHARDS, True), (LOCAL, False)])
    assert found.passes == ("ToLocal",)


def test_no_pass_is_blamed_if_nothing_is_wrong() -> None:
    assert first_wrong([(SHLO, True), (FUSING, None)]).passes == ()
    assert first_wrong([]).unknown


def test_no_pass_is_blamed_if_nothing_before_it_is_known_to_be_right() -> None:
    found = first_wrong([(SHLO, None), (FUSING, False)])
    assert (found.passes, bool(found.unknown)) == ((), True)


def test_a_failed_compile_is_the_failing_pass_s() -> None:
    found = failing_pass(PassLog((SHLO, FUSING, FAILED)), Verdict.COMPILE_ERROR)
    assert str(found) == "fails in Convert (convert), on the way to ttir"


def test_a_compile_that_fails_between_passes_names_the_stage_instead() -> None:
    found = failing_pass(PassLog((FUSING, SHLO)), Verdict.COMPILE_ERROR)
    assert (found.passes, found.unknown) == ((), "the compile failed outside any pass, after stage shlo")


def test_a_compile_that_fails_after_a_pass_that_did_not_say_so_names_nothing() -> None:
    for log in (PassLog((SHLO, FUSING)), PassLog((SHLO,), FUSING), PassLog(())):
        assert failing_pass(log, Verdict.COMPILE_ERROR).passes == ()


def test_a_process_dies_in_the_pass_begun_last() -> None:
    found = fatal_pass(PassLog((SHLO,), RESHARDS), Verdict.CRASH)
    assert str(found) == "ends in InsertReshards (insert-reshards), on the way to shlo_compiler"
    assert fatal_pass(PassLog((SHLO,)), Verdict.HANG).passes == ()


def test_a_process_that_dies_printing_a_failed_module_would_have_reported_an_error() -> None:
    found = fatal_pass(PassLog((SHLO, FAILED)), Verdict.CRASH)
    assert (found.verdict, found.passes) == (Verdict.COMPILE_ERROR, ("Convert (convert)",))


def module(line: str) -> str:
    return f"module {{\nfunc.func @main(%arg0: tensor<2xf32>) {{\n{line}\n}}\n}}\n"


RIGHT = "%0 = stablehlo.all_gather %arg0 {dim = 0} : tensor<4xf32>"
WRONG = "%0 = stablehlo.all_gather %arg0 {dim = 1} : tensor<4xf32>"


def test_the_guilty_pass_is_quoted_against_the_last_right_module() -> None:
    dumps = [(SHLO, RIGHT, True), (FUSING, "%0 = who.knows %arg0 : tensor<4xf32>", None), (RESHARDS, WRONG, False)]
    stage = Dump("", "", "shlo_compiler", module(WRONG))
    judged = [(replace(dump, text=module(text)), right) for dump, text, right in dumps]
    found = first_wrong([*judged, (stage, False)])
    assert found.quote == Quote((WRONG,), (RIGHT,), WRONG)


def test_a_failing_pass_is_quoted_by_the_op_that_the_compiler_names() -> None:
    given = replace(SHLO, text=module(RIGHT))
    log = PassLog(
        (given, replace(FAILED, text="Segmentation fault")), error="failed to legalize 'stablehlo.all_gather'"
    )
    assert failing_pass(log, Verdict.COMPILE_ERROR).quote == Quote((RIGHT,))


def test_it_crosses_processes_unchanged() -> None:
    found = first_wrong([(SHLO, True), (FUSING, None), (replace(RESHARDS, text=module(WRONG)), False)])
    assert found.quote.wrote
    assert Localisation.from_plain(json.loads(json.dumps(found.to_plain()))) == found
