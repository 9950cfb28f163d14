# SPDX-License-Identifier: Apache-2.0
"""A stage on a simulated mesh: from global arguments to blocks of the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from jaxlib.mlir import ir

from fuzz.case import Mesh, Sharding, TensorSpec
from oracles.stages.execute import ONE_DEVICE, Placement, placement, run_stage
from oracles.stages.numerics import EXACT, WIDE
from oracles.stages.parse import parse
from oracles.stages.program import Function, NotUnderstood, Operation, Program, TensorType
from oracles.stages.staged import Staged, read_staged
from oracles.targets.base import Outputs
from oracles.targets.client import mlir_context

MESH = Mesh((2, 2), ("x", "y"))
ROWS: Sharding = (("x",), ())
BOTH: Sharding = (("x", "y"), ())
VALUE = torch.arange(32).reshape(8, 4)
SPEC = TensorSpec((8, 4), "i64")
PLACED = Placement(MESH, {0: ROWS}, (ROWS,))


def read(text: str) -> Program:
    with mlir_context(), ir.Location.unknown():
        return parse(text)


def partitioned(
    ins: str = '[{"x"}, {}]',
    outs: str = '[{"x"}, {}]',
    local: str = "4x4",
    whole: str = "8x4",
    mesh: str = '"x"=2, "y"=2',
    operand: str = "%arg0",
    before: str = "",
) -> str:
    """@main(x) whose body doubles the local block."""
    return f"""
    module {{
      sdy.mesh @mesh = <[{mesh}]>
      func.func @main(%arg0: tensor<{whole}xi64>, %arg1: tensor<3xi64>) -> tensor<{whole}xi64> {{
        {before}
        %0 = sdy.manual_computation({operand}) in_shardings=[<@mesh, {ins}>] out_shardings=[<@mesh, {outs}>]
            manual_axes={{"x", "y"}} (%arg2: tensor<{local}xi64>) {{
          %1 = stablehlo.add %arg2, %arg2 : tensor<{local}xi64>
          sdy.return %1 : tensor<{local}xi64>
        }} : (tensor<{whole}xi64>) -> tensor<{whole}xi64>
        return %0 : tensor<{whole}xi64>
      }}
    }}
    """


def doubling(shape: tuple[int, ...] = (4, 4), element: str = "i64", mesh: Mesh = MESH) -> Program:
    """A TTIR stage over local shapes."""
    type_ = TensorType(shape, element)
    add = Operation("ttir.add", (0, 0), (1,), (type_,), {})
    return Program({"main": Function("main", (0,), (type_,), (add, Operation("func.return", (1,), (), ())))}, mesh)


def blocks_of(outputs: Outputs) -> list[tuple[tuple[int, ...], list[int]]]:
    (blocks,) = outputs
    assert [block.device for block in blocks] == list(range(len(blocks)))
    return [(block.start, block.values.flatten().tolist()) for block in blocks]


def doubled(*starts: int, rows: int = 4) -> list[tuple[tuple[int, ...], list[int]]]:
    return [((start, 0), (VALUE[start : start + rows] * 2).flatten().tolist()) for start in starts]


# --- placement -------------------------------------------------------------------------------------------------------


def test_the_partitioned_stage_says_how_arguments_and_results_are_cut() -> None:
    placed = placement(read(partitioned(ins='[{"x", "y"}, {}]', outs='[{"y", "x"}, {}]', local="2x4")))
    assert placed == Placement(MESH, {0: BOTH}, ((("y", "x"), ()),))


def test_an_argument_that_the_partitioned_stage_does_not_use_has_no_place() -> None:
    assert set(placement(read(partitioned())).arguments) == {0}


def test_on_one_device_everything_is_whole() -> None:
    text = """
    module {
      sdy.mesh @mesh = <["default_aux"=1, "default"=1]>
      func.func @main(%arg0: tensor<8x4xi64>, %arg1: tensor<i64>) -> (tensor<i64>, tensor<8x4xi64>) {
        %0 = stablehlo.add %arg0, %arg0 : tensor<8x4xi64>
        return %arg1, %0 : tensor<i64>, tensor<8x4xi64>
      }
    }
    """
    placed = placement(read(text))
    assert placed.arguments == {0: ((), ()), 1: ()}
    assert placed.results == ((), ((), ()))


def test_more_than_a_manual_computation_in_main_is_not_understood() -> None:
    before = "%2 = stablehlo.add %arg0, %arg0 : tensor<8x4xi64>"
    with pytest.raises(NotUnderstood, match=r"not one sdy\.manual_computation but stablehlo\.add"):
        placement(read(partitioned(before=before)))


def test_an_operand_that_is_no_argument_is_not_understood() -> None:
    program = read(partitioned())
    manual = replace(program.main.operations[0], operands=(77,))
    main = replace(program.main, operations=(manual, program.main.operations[1]))
    with pytest.raises(NotUnderstood, match="not an argument"):
        placement(replace(program, functions={"main": main}))


# --- stages ----------------------------------------------------------------------------------------------------------


def test_the_partitioned_stage_runs_on_each_devices_block() -> None:
    program = read(partitioned())
    outputs = run_stage("shlo_compiler", program, [VALUE, torch.zeros(3)], [SPEC], placement(program))
    assert blocks_of(outputs) == doubled(0, 0, 4, 4)


def test_axes_of_one_dim_are_major_to_minor() -> None:
    sharding = '[{"y", "x"}, {}]'
    program = read(partitioned(ins=sharding, outs=sharding, local="2x4"))
    outputs = run_stage("shlo_compiler", program, [VALUE, torch.zeros(3)], [SPEC], placement(program))
    assert blocks_of(outputs) == doubled(0, 4, 2, 6, rows=2)


def test_a_local_stage_gets_the_blocks_that_the_partitioned_one_named() -> None:
    assert blocks_of(run_stage("ttir", doubling(), [VALUE], [SPEC], PLACED)) == doubled(0, 0, 4, 4)


def test_devices_with_the_same_block_share_one_tensor() -> None:
    """Else everything would be computed once per device."""
    (blocks,) = run_stage("ttir", doubling(), [VALUE], [SPEC], PLACED)
    assert blocks[0].values.data_ptr() == blocks[1].values.data_ptr()
    assert blocks[0].values.data_ptr() != blocks[2].values.data_ptr()


def test_the_program_before_partitioning_runs_on_one_device() -> None:
    outputs = run_stage("shlo", doubling((8, 4)), [VALUE], [SPEC], None)
    assert blocks_of(outputs) == doubled(0, rows=8)


def test_an_unused_argument_of_a_local_stage_is_not_looked_at() -> None:
    program = doubling()
    main = program.main
    unused = TensorType((2, 2), "i64")
    widened = replace(main, parameters=(5, 0), types=(unused, *main.types))
    outputs = run_stage(
        "ttir", replace(program, functions={"main": widened}), [torch.zeros(3), VALUE], [SPEC],
        Placement(MESH, {1: ROWS}, (ROWS,)),
    )  # fmt: skip
    assert blocks_of(outputs) == doubled(0, 0, 4, 4)


def test_arguments_take_the_element_types_of_the_stage() -> None:
    """i64 becomes si32 on the way into TTNN, and wraps there."""
    large = torch.full((8, 4), 2**31 + 1)
    (blocks,) = run_stage("ttnn", doubling(element="si32"), [large], [SPEC], PLACED)
    assert blocks[0].values.unique().tolist() == [2]
    (blocks,) = run_stage("ttnn", doubling(element="si32"), [large], [SPEC], PLACED, WIDE)
    assert blocks[0].values.unique().tolist() == [2**32 + 2]


def test_ttnn_computes_as_the_chip_does_and_other_stages_exactly() -> None:
    type_ = TensorType((1,), "si32")
    half = TensorType((1,), "bf16")
    cast = {
        dialect: Function(
            "main", (0,), (type_,),
            (Operation(f"{dialect}.typecast", (0,), (1,), (half,), {}), Operation("func.return", (1,), (), ())),
        )
        for dialect in ("ttir", "ttnn")
    }  # fmt: skip
    placed = Placement(ONE_DEVICE, {0: ((),)}, (((),),))
    spec = TensorSpec((1,), "bf16")

    def run(stage: str) -> float:
        program = Program({"main": cast[stage]}, ONE_DEVICE)
        ((block,),) = run_stage(stage, program, [torch.tensor([2004])], [spec], placed)
        return float(block.values)

    assert (run("ttir"), run("ttnn")) == (2000.0, 2008.0)


def test_truth_values_that_ttnn_carries_as_numbers_are_truth_values_again() -> None:
    spec = TensorSpec((8, 4), "bool")
    (blocks,) = run_stage("ttnn", doubling(element="bf16"), [VALUE % 2 == 0], [spec], PLACED)
    assert blocks[0].values.dtype is torch.bool
    assert blocks[0].values.tolist() == (VALUE[:4] % 2 == 0).tolist()


def test_a_result_without_arguments_is_on_every_device() -> None:
    type_ = TensorType((2,), "i64")
    constant = Operation("ttir.constant", (), (0,), (type_,), {"value": torch.tensor([5, 6])})
    main = Function("main", (), (), (constant, Operation("func.return", (0,), (), ())))
    placed = Placement(MESH, {}, (((),),))
    outputs = run_stage("ttir", Program({"main": main}, MESH), [], [TensorSpec((2,), "i64")], placed)
    assert blocks_of(outputs) == [((0,), [5, 6])] * 4


# --- refusals --------------------------------------------------------------------------------------------------------


def test_an_unevenly_sharded_argument_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="unevenly"):
        run_stage("ttir", doubling(), [torch.zeros(7, 4)], [TensorSpec((7, 4), "i64")], PLACED)


@pytest.mark.parametrize("mesh", [Mesh((4, 1), ("x", "y")), Mesh((1, 4), ("x", "y")), Mesh((4,), ("x",))])
def test_a_stage_on_another_mesh_than_the_partitioned_one_is_not_understood(mesh: Mesh) -> None:
    with pytest.raises(NotUnderstood, match="mesh"):
        run_stage("ttir", doubling(mesh=mesh), [VALUE], [SPEC], PLACED)


@pytest.mark.parametrize("shape", [(2, 4), (4, 4, 1), (8, 4)])
def test_a_stage_over_other_local_shapes_is_not_understood(shape: tuple[int, ...]) -> None:
    with pytest.raises(NotUnderstood):
        run_stage("ttir", doubling(shape), [VALUE], [SPEC], PLACED)


@pytest.mark.parametrize("shape", [(2, 4), (1, 4), (4, 4, 1), ()])
def test_a_result_that_is_not_a_block_of_the_output_is_not_understood(shape: tuple[int, ...]) -> None:
    """Compared where it has elements, a result that is too small would pass."""
    type_ = TensorType(shape, "i64")
    constant = Operation("ttir.zeros", (), (0,), (type_,), {})
    main = Function("main", (), (), (constant, Operation("func.return", (0,), (), ())))
    with pytest.raises(NotUnderstood, match="shape"):
        run_stage("ttir", Program({"main": main}, MESH), [], [SPEC], Placement(MESH, {}, (ROWS,)))


@pytest.mark.parametrize("placed", [PLACED, None])
@pytest.mark.parametrize("arguments", [[], [VALUE, VALUE]])
def test_another_number_of_arguments_is_not_understood(
    placed: Placement | None, arguments: Sequence[torch.Tensor]
) -> None:
    program = doubling() if placed else doubling((8, 4))
    with pytest.raises(NotUnderstood, match=r"@main of 1 arguments, not"):
        run_stage("ttir", program, arguments, [SPEC], placed)


def test_another_number_of_results_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="results"):
        run_stage("ttir", doubling(), [VALUE], [SPEC, SPEC], Placement(MESH, {0: ROWS}, (ROWS, ROWS)))


# --- a compile -------------------------------------------------------------------------------------------------------


def staged(texts: dict[str, str]) -> Staged:
    with mlir_context(), ir.Location.unknown():
        return read_staged(texts, [VALUE, torch.zeros(3)], [SPEC])


def test_stages_are_listed_in_the_order_of_the_compile() -> None:
    found = staged({"ttir": "", "vhlo": "", "shlo_compiler": partitioned(), "shlo": partitioned()})
    assert found.stages == ("shlo", "shlo_compiler", "ttir")


def test_a_stage_that_does_not_parse_is_not_understood_when_it_is_run() -> None:
    found = staged({"shlo_compiler": partitioned(), "ttir": "module {"})
    assert blocks_of(found.run("shlo_compiler")) == doubled(0, 0, 4, 4)
    with pytest.raises(NotUnderstood, match="does not parse"):
        found.run("ttir")


def test_without_a_placement_no_later_stage_can_be_run() -> None:
    found = staged({"shlo_compiler": "module {", "ttir": partitioned()})
    with pytest.raises(NotUnderstood, match="does not say how arguments are cut"):
        found.run("ttir")


def test_a_replaced_stage_is_the_one_that_runs() -> None:
    found = staged({"shlo_compiler": partitioned(), "ttir": "module {"})
    changed = replace(found, unread={}, arguments=(VALUE,)).replaced("ttir", doubling())
    assert blocks_of(changed.run("ttir", EXACT)) == doubled(0, 0, 4, 4)
    assert found.unread
