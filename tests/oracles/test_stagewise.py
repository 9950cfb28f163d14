# SPDX-License-Identifier: Apache-2.0
"""Which step of the compiler is blamed, on hand-made compiles of one program: y = 2 x, cut in rows over two devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec
from fuzz.ops.core import specs
from fuzz.payloads import values
from oracles.outcome import NOT_JUDGED, RIGHT, WRONG, Outcome, Verdict
from oracles.reference import reference
from oracles.stages.execute import Placement
from oracles.stages.program import Function, NotUnderstood, Operation, Program, TensorType
from oracles.stages.staged import Staged
from oracles.stagewise import judge_stages
from oracles.targets.base import Compiled, Outputs

MESH = Mesh((1, 2), ("x", "y"))
ROWS: Sharding = (("y",), ())
STAGES = ("shlo", "shlo_compiler", "ttir", "ttnn")
Change = Callable[[tuple[int, ...], str], tuple[Operation, ...]]


def case(dtype: str = "i64", rows: int = 4, columns: int = 2) -> Case:
    value = Input("x0", TensorSpec((rows, columns), dtype), Payload("position"), ROWS)
    return Case(MESH, (value,), (Node("v0", "add", ("x0", "x0")),), (Output("v0", ROWS),))


def op(name: str, operands: tuple[int, ...], result: int, type_: TensorType, **attributes: Any) -> Operation:
    return Operation(name, operands, (result,), (type_,), attributes)


def right(shape: tuple[int, ...], element: str) -> tuple[Operation, ...]:
    """2 x as value 9."""
    return (op("ttir.add", (0, 0), 9, TensorType(shape, element)),)


def misplaced(shape: tuple[int, ...], element: str) -> tuple[Operation, ...]:
    """2 x with its rows back to front."""
    type_ = TensorType(shape, element)
    return op("ttir.add", (0, 0), 1, type_), op("ttir.reverse", (1,), 9, type_, dimensions=(0,))


def unknown(shape: tuple[int, ...], element: str) -> tuple[Operation, ...]:
    return (op("ttir.mystery", (0,), 9, TensorType(shape, element)),)


def through(middle: str, back: str) -> Change:
    """2 x by way of another element type, in the words of TTNN."""

    def operations(shape: tuple[int, ...], element: str) -> tuple[Operation, ...]:
        return (
            op("ttnn.add", (0, 0), 1, TensorType(shape, element)),
            op("ttnn.typecast", (1,), 2, TensorType(shape, middle)),
            op("ttnn.typecast", (2,), 9, TensorType(shape, back)),
        )

    return operations


def times_one(shape: tuple[int, ...], element: str) -> tuple[Operation, ...]:
    """2 x by a matrix product with the identity."""
    identity, type_ = torch.eye(shape[1]), TensorType(shape, "f32")
    return (
        op("ttnn.add", (0, 0), 1, type_),
        op("ttnn.constant", (), 2, TensorType((shape[1], shape[1]), "f32"), value=identity),
        op("ttnn.matmul", (1, 2), 9, type_),
    )


def out_of_range(shape: tuple[int, ...], element: str) -> tuple[Operation, ...]:
    """2 x as rows of an embedding, the last of which does not exist."""
    index = torch.arange(1, shape[0] + 1)
    return (
        op("ttnn.add", (0, 0), 1, TensorType(shape, element)),
        op("ttnn.constant", (), 2, TensorType((shape[0],), "si32"), value=index),
        op("ttnn.embedding", (2, 1), 9, TensorType(shape, element)),
    )


def function(name: str, change: Change, shape: tuple[int, ...], element: str) -> Function:
    end = Operation("func.return", (9,), (), ())
    return Function(name, (0,), (TensorType(shape, element),), (*change(shape, element), end))


def compiled(
    of: Case,
    *,
    confirm: Callable[[], Outputs] | None = None,
    **changes: Change,
) -> Compiled:
    """A compile in which every stage is right but for the changed ones."""
    (value,) = of.inputs
    (rows, columns), element = value.spec.shape, value.spec.dtype
    local = (rows // 2, columns)
    programs = {}
    for stage in STAGES:
        change = changes.get(stage, right)
        if stage == "shlo":
            main = function("main", change, (rows, columns), element)
        elif stage == "shlo_compiler":
            body = function("body", change, local, element)
            manual = replace(
                op("sdy.manual_computation", (100,), 101, TensorType((rows, columns), element)), regions=(body,)
            )
            end = Operation("func.return", (101,), (), ())
            main = Function("main", (100,), (TensorType((rows, columns), element),), (manual, end))
        else:
            main = function("main", change, local, element)
        programs[stage] = Program({"main": main}, MESH)
    staged = Staged(
        programs, (values(value.spec, value.payload),), (specs(of)["v0"],), Placement(MESH, {0: ROWS}, (ROWS,))
    )
    return Compiled(staged, confirm or (lambda: staged.run("shlo_compiler")))


def judged(of: Case, compile_: Compiled) -> Outcome:
    expected = reference(of, {value.name: values(value.spec, value.payload) for value in of.inputs})
    return judge_stages(of, expected, compile_, ("add",))


CASE = case()


def test_a_compile_whose_stages_are_all_right_passes() -> None:
    outcome = judged(CASE, compiled(CASE))
    assert (outcome.verdict, outcome.stages) == (Verdict.PASS, dict.fromkeys(STAGES, RIGHT))


@pytest.mark.parametrize(
    ("stage", "transition"),
    [
        ("shlo", "torch_xla"),
        ("shlo_compiler", "shlo -> shlo_compiler"),
        ("ttir", "shlo_compiler -> ttir"),
        ("ttnn", "ttir -> ttnn"),
    ],
)
def test_the_first_wrong_stage_names_the_step_that_made_it(stage: str, transition: str) -> None:
    later = dict.fromkeys(STAGES[STAGES.index(stage) :], misplaced)
    outcome = judged(CASE, compiled(CASE, **later))
    assert (outcome.verdict, outcome.stage, outcome.transition) == (Verdict.WRONG, stage, transition)
    assert outcome.stages == {**dict.fromkeys(STAGES[: STAGES.index(stage)], RIGHT), stage: WRONG}
    assert outcome.operations == ("add",)
    assert not outcome.number_format


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_not_understood_is_never_a_pass(stage: str) -> None:
    outcome = judged(CASE, compiled(CASE, **{stage: unknown}))
    assert (outcome.verdict, outcome.stage, outcome.message) == (Verdict.NOT_JUDGED, stage, "ttir.mystery")
    assert outcome.stages == {**dict.fromkeys(STAGES, RIGHT), stage: f"{NOT_JUDGED}ttir.mystery"}


def test_the_first_of_several_stages_that_are_not_understood_is_named() -> None:
    assert judged(CASE, compiled(CASE, ttnn=unknown, ttir=unknown)).stage == "ttir"


@pytest.mark.parametrize(
    ("wrong", "skipped", "transition"),
    [
        ("ttnn", ("ttir",), "shlo_compiler -> ttnn (ttir not judged)"),
        ("ttnn", ("shlo_compiler", "ttir"), "shlo -> ttnn (shlo_compiler, ttir not judged)"),
        ("ttir", ("shlo", "shlo_compiler"), "torch_xla -> ttir (shlo, shlo_compiler not judged)"),
    ],
)
def test_the_guilty_step_spans_the_stages_before_it_that_were_not_judged(
    wrong: str, skipped: tuple[str, ...], transition: str
) -> None:
    outcome = judged(CASE, compiled(CASE, **{wrong: misplaced}, **dict.fromkeys(skipped, unknown)))
    assert (outcome.verdict, outcome.stage, outcome.transition) == (Verdict.WRONG, wrong, transition)


def test_a_stage_that_was_not_judged_before_a_right_one_is_not_guilty() -> None:
    outcome = judged(CASE, compiled(CASE, shlo_compiler=unknown, ttnn=misplaced))
    assert outcome.transition == "ttir -> ttnn"
    assert outcome.stages["shlo_compiler"].startswith(NOT_JUDGED)


# --- XLA's second opinion --------------------------------------------------------------------------------------------


def test_a_partitioned_stage_that_xla_finds_right_is_not_judged() -> None:
    fine = compiled(CASE)
    outcome = judged(CASE, compiled(CASE, shlo_compiler=misplaced, confirm=fine.confirm))
    assert (outcome.verdict, outcome.stage) == (Verdict.NOT_JUDGED, "shlo_compiler")
    assert "XLA" in outcome.message


def test_no_later_stage_is_blamed_when_xla_disagrees() -> None:
    fine = compiled(CASE)
    changed = compiled(CASE, shlo_compiler=misplaced, ttir=misplaced, confirm=fine.confirm)
    outcome = judged(CASE, changed)
    assert outcome.verdict is Verdict.NOT_JUDGED
    assert list(outcome.stages) == ["shlo", "shlo_compiler"]


def test_a_partitioned_stage_that_xla_cannot_execute_is_wrong_all_the_same() -> None:
    def cannot() -> Outputs:
        raise NotUnderstood("a composite of its own")

    outcome = judged(CASE, compiled(CASE, shlo_compiler=misplaced, confirm=cannot))
    assert (outcome.verdict, outcome.stage) == (Verdict.WRONG, "shlo_compiler")


def test_xla_is_not_asked_about_stages_that_are_right() -> None:
    def never() -> Outputs:
        raise AssertionError("asked")

    assert judged(CASE, compiled(CASE, ttnn=misplaced, confirm=never)).stage == "ttnn"


# --- number formats --------------------------------------------------------------------------------------------------

FLOATS = case("f32", rows=4, columns=300)  # twice the positions up to 1199 have more digits than bf16


def test_digits_that_an_element_type_cannot_hold_are_lost_in_storage() -> None:
    """From f32 to bf16 and back: documented, so the outcome is a finding, and no element is misplaced."""
    changed = compiled(FLOATS, ttnn=through("bf16", "f32"))
    outcome = judged(FLOATS, changed)
    assert (outcome.verdict, outcome.stage, outcome.number_format) == (Verdict.WRONG, "ttnn", "storage")


def test_digits_lost_in_ttir_are_named_too() -> None:
    outcome = judged(FLOATS, compiled(FLOATS, ttir=through("bf16", "f32")))
    assert (outcome.stage, outcome.number_format) == ("ttir", "storage")


def test_digits_lost_before_the_compiler_chose_a_type_are_no_matter_of_format() -> None:
    outcome = judged(FLOATS, compiled(FLOATS, shlo_compiler=through("bf16", "f32")))
    assert (outcome.verdict, outcome.stage, outcome.number_format) == (Verdict.WRONG, "shlo_compiler", "")


def test_what_only_a_simulator_does_is_a_suspicion_with_its_rule() -> None:
    """Numbers up to 8190 in a product with the identity: exact, but for the 11 bits of the matrix engine."""
    of = case("f32", rows=64, columns=64)
    outcome = judged(of, compiled(of, ttnn=times_one))
    assert (outcome.verdict, outcome.stage, outcome.number_format) == (Verdict.SUSPECTED, "ttnn", "tf32_matmul")
    assert outcome.transition == "ttir -> ttnn"


def test_misplaced_elements_are_wrong_whatever_digits_are_lost() -> None:
    def both(shape: tuple[int, ...], element: str) -> tuple[Operation, ...]:
        *most, last = through("bf16", "f32")(shape, element)
        return (
            *most,
            replace(last, results=(3,)),
            op("ttir.reverse", (3,), 9, TensorType(shape, "f32"), dimensions=(0,)),
        )

    outcome = judged(FLOATS, compiled(FLOATS, ttnn=both))
    assert (outcome.verdict, outcome.number_format) == (Verdict.WRONG, "")


def test_garbage_from_an_index_out_of_range_is_wrong() -> None:
    """Without the rule for it the stage has no meaning at all, which must not end the judgement."""
    outcome = judged(CASE, compiled(CASE, ttnn=out_of_range))
    assert (outcome.verdict, outcome.stage, outcome.number_format) == (Verdict.WRONG, "ttnn", "")
