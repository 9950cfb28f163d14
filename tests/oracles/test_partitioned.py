# SPDX-License-Identifier: Apache-2.0
"""The partitioned stage as a program for every device: what is rewritten, and what is refused."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HEAD = textwrap.dedent(
    """
    module {
      sdy.mesh @mesh = <["x"=1, "y"=2]>
      func.func @main(%arg0: tensor<4x2xf32>, %arg1: tensor<2xi64>) -> tensor<2x2xf32> {
        %0 = sdy.manual_computation(%arg0, %arg1)
            in_shardings=[<@mesh, [{"y"}, {}]>, <@mesh, [{}]>] out_shardings=[<@mesh, [{}, {}]>]
            manual_axes={"x", "y"} (%arg2: tensor<2x2xf32>, %arg3: tensor<2xi64>) {
          BODY
        } : (tensor<4x2xf32>, tensor<2xi64>) -> tensor<2x2xf32>
        return %0 : tensor<2x2xf32>
      }
    }
    """
)
GATHER = """
    %id = stablehlo.partition_id : tensor<ui32>
    %wide = stablehlo.convert %id : (tensor<ui32>) -> tensor<i64>
    %two = stablehlo.constant dense<2> : tensor<i64>
    %offset = stablehlo.multiply %wide, %two : tensor<i64>
    %offsets = stablehlo.broadcast_in_dim %offset, dims = [] : (tensor<i64>) -> tensor<2xi64>
    %local = stablehlo.subtract %arg3, %offsets : tensor<2xi64>
    %rows = "stablehlo.gather"(%arg2, %local) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>,
        slice_sizes = array<i64: 1, 2>}> {MARK} : (tensor<2x2xf32>, tensor<2xi64>) -> tensor<2x2xf32>
    %sum = "stablehlo.all_reduce"(%rows) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
        replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %c = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %c : tensor<f32>
    }) : (tensor<2x2xf32>) -> tensor<2x2xf32>
    sdy.return %sum : tensor<2x2xf32>
"""
# jaxlib may not enter this process (see the layer contracts), so each check is a small program of its own.
PROGRAM = """
import sys
import torch
from jaxlib.mlir import ir
from oracles.stages.partitioned import NotUnderstood, device_program
from oracles.targets.client import compile_module, cpu_client, execute, mlir_context

try:
    with mlir_context(), ir.Location.unknown():
        program = device_program(sys.stdin.read())
        client = cpu_client(2)
        executable = compile_module(client, ir.Module.parse(program.text), partitions=1, replicas=2)
except NotUnderstood as error:
    print("not understood:", error)
    sys.exit()
table = torch.arange(1.0, 9.0).reshape(4, 2)
arguments = [[table[:2], table[2:]], [torch.tensor([3, 0])] * 2]
print([[shard.tolist() for shard in shards] for shards in execute(client, executable, arguments)])
"""


def execute_stage(body: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=HEAD.replace("BODY", body),
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    return result.stdout.strip()


@pytest.mark.timeout(120)
def test_marked_gathers_give_zeros_outside_and_the_sum_over_shards_is_the_row() -> None:
    """Rows 3 and 0 live on different shards; clamping instead of zeros would add a wrong row to each."""
    marked = execute_stage(GATHER.replace("MARK", "tt.fill_out_of_bounds"))
    assert marked == "[[[[7.0, 8.0], [1.0, 2.0]], [[7.0, 8.0], [1.0, 2.0]]]]"
    unmarked = execute_stage(GATHER.replace("MARK", ""))
    assert unmarked != marked


def test_an_unknown_mark_is_not_understood_instead_of_ignored() -> None:
    assert "not understood: attribute tt.something" in execute_stage(GATHER.replace("MARK", "tt.something"))


def test_an_op_of_another_dialect_is_not_understood() -> None:
    body = "sdy.return %arg2 : tensor<2x2xf32>"
    resharded = (
        '%x = sdy.all_reduce {"y"} %arg2 out_sharding=<@mesh, [{}, {}]> : tensor<2x2xf32>\n'
        "sdy.return %x : tensor<2x2xf32>"
    )
    assert "not understood" not in execute_stage(body)
    assert "not understood" in execute_stage(resharded)


def test_a_composite_of_unknown_name_is_not_understood() -> None:
    body = (
        '%x = stablehlo.composite "tenstorrent.topk" %arg2 {decomposition = @f}'
        " : (tensor<2x2xf32>) -> tensor<2x2xf32>\n"
        "sdy.return %x : tensor<2x2xf32>"
    )
    function = "func.func private @f(%a: tensor<2x2xf32>) -> tensor<2x2xf32> { return %a : tensor<2x2xf32> }\n}"
    text = HEAD.replace("BODY", body).rstrip()
    assert text.endswith("}")
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=text[:-1] + function,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert "not understood: composite tenstorrent.topk" in result.stdout
