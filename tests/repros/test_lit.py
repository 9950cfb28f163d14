# SPDX-License-Identifier: Apache-2.0
"""Lit tests, checked by a FileCheck: they fail on what the compiler writes now, and pass once the line is gone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cases import FACTS, gather, module
from jaxlib.mlir import ir

from fuzz.case import Mesh
from oracles.targets.client import mlir_context
from repros.facts import Facts
from repros.lit import emit_lit, pattern

CASE = gather("x", "y")
MODULE = module("gather_xy")
# Lines with all that means something to FileCheck, or is named anew by every compile.
WRONG = (
    '%3:2 = "stablehlo.all_gather"(%arg1, %c_0) <{replica_groups = dense<[[0, 2], [1, 3]]> : tensor<2x2xi64>}> : '
    "(tensor<1xf32, #ttnn_layout3>) -> tensor<2xf32>"
)
STAGE = """
module @IrToHlo.3 attributes {mhlo.spmd_output_sharding = "{{replicated}}"} {
  func.func @main(%arg0: tensor<4xf32>) -> tensor<4xf32> {
    LINE
    return %0 : tensor<4xf32>
  }
}
"""
ERROR = replace(FACTS, failure="compile error", error="'ttir.prod' op is odd")


def passes(test: str, output: str, folder: Path) -> bool:
    """Whether FileCheck accepts what the compiler would print."""
    (folder / "test.mlir").write_text(test)
    command = [sys.executable, "-m", "filecheck", str(folder / "test.mlir")]
    done = subprocess.run(command, input=output, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def lit(facts: Facts = FACTS, step: str = "shlo_compiler", stands: str = WRONG, mesh: tuple[int, int] = (2, 2)) -> str:
    return emit_lit(replace(CASE, mesh=Mesh(mesh, ("x", "y"))), facts, MODULE, step, stands)


def test_it_fails_on_the_line_as_the_compiler_writes_it_now_whatever_its_values_are_called(tmp_path: Path) -> None:
    assert not passes(lit(), STAGE.replace("LINE", WRONG), tmp_path)
    renamed = WRONG.replace("%3:2", "%7:2").replace("%c_0", "%cst_12").replace("layout3", "layout")
    assert not passes(lit(), STAGE.replace("LINE", renamed), tmp_path)


def test_it_passes_once_a_value_in_the_line_is_another(tmp_path: Path) -> None:
    assert passes(lit(), STAGE.replace("LINE", WRONG.replace("[[0, 2], [1, 3]]", "[[0, 1], [2, 3]]")), tmp_path)


def test_an_empty_output_does_not_pass(tmp_path: Path) -> None:
    assert not passes(lit(), "module {\n}\n", tmp_path)


def test_an_error_is_gone_when_the_result_s_op_is_there(tmp_path: Path) -> None:
    test = lit(ERROR, stands="")
    assert "// CHECK: stablehlo.gather\n" in test
    assert passes(test, STAGE.replace("LINE", '%0 = "stablehlo.gather"(%arg0) : tensor<4xf32>'), tmp_path)
    assert not passes(test, STAGE.replace("LINE", "%0 = stablehlo.abs %arg0 : tensor<4xf32>"), tmp_path)


def test_an_error_of_a_conversion_is_gone_when_the_old_dialect_is(tmp_path: Path) -> None:
    test = lit(ERROR, "ttir", "")
    assert passes(test, STAGE.replace("LINE", '%0 = "ttir.gather"(%arg0) : tensor<4xf32>'), tmp_path)
    assert not passes(test, STAGE.replace("LINE", "%0 = stablehlo.abs %arg0 : tensor<4xf32>"), tmp_path)


@pytest.mark.parametrize(
    ("step", "mesh", "options"),
    [
        ("shlo_compiler", (2, 4), '--stablehlo-pipeline="mesh-shape=2,4"'),
        ("ttir", (1, 1), "--stablehlo-pipeline --stablehlo-to-ttir-pipeline"),
        (
            "ttnn",
            (1, 2),
            '--stablehlo-pipeline="mesh-shape=1,2" --stablehlo-to-ttir-pipeline '
            '--ttir-to-ttnn-backend-pipeline="mesh-shape=1,2"',
        ),
    ],
)
def test_the_run_line_has_the_pipelines_up_to_the_guilty_one(step: str, mesh: tuple[int, int], options: str) -> None:
    assert f"// RUN: ttmlir-opt {options} %s | FileCheck %s\n" in lit(step=step, mesh=mesh)


def test_the_module_in_it_is_the_one_that_was_compiled_and_parses() -> None:
    assert MODULE.strip() in lit()
    with mlir_context():
        assert str(ir.Module.parse(lit())) == str(ir.Module.parse(MODULE))


def test_it_says_that_nobody_has_run_it() -> None:
    assert "// Not run with ttmlir-opt" in lit()


def test_the_result_s_name_is_no_part_of_the_pattern() -> None:
    assert pattern("%0, %1 = a.b %arg0#1") == "a.b %{{[a-z0-9_#]+}}"
