# SPDX-License-Identifier: Apache-2.0
"""Reading stage dumps: the steps that concern text, attributes of every kind, meshes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxlib.mlir import ir

from fuzz.case import Mesh
from oracles.stages.parse import generic_text, parse, plain, spell_out_truth_values
from oracles.stages.program import NotUnderstood, Program, TensorType
from oracles.targets.client import mlir_context

SHLO_COMPILER = """\
#loc = loc(unknown)
#loc1 = loc("p0.2")
module @IrToHlo.22 attributes {mhlo.num_partitions = 4 : i32} {
  sdy.mesh @mesh = <["x"=2, "y"=2]> loc(#loc)
  func.func @main(%arg0: tensor<8xi64> {ttcore.shard_status = #ttcore.shard_status<presharded>} loc("p0.2")) -> (tensor<8xi64> {ttcore.shard_status = #ttcore.shard_status<presharded>}) {
    %0 = sdy.manual_computation(%arg0) in_shardings=[<@mesh, [{"y"}]>] out_shardings=[<@mesh, [{"y"}]>] manual_axes={"x", "y"} (%arg1: tensor<4xi64> loc("p0.2")) {
      %c = stablehlo.constant dense<[3, 4, 5, 6, 7, 8, 9, 10]> : tensor<8xi64> loc(#loc2)
      %1 = stablehlo.composite "sdy.all_slice" %c {composite_attributes = {out_sharding = #sdy.sharding<@mesh, [{"y"}]>}, decomposition = @sdy.all_slice5} : (tensor<8xi64>) -> tensor<4xi64> loc(#loc)
      %2 = "stablehlo.all_reduce"(%1) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, replica_groups = dense<[[0, 2], [1, 3]]> : tensor<2x2xi64>}> ({
      ^bb0(%arg2: tensor<i64> loc("gather.20"), %arg3: tensor<i64> loc("gather.20")):
        %3 = stablehlo.add %arg2, %arg3 : tensor<i64> loc(#loc2)
        stablehlo.return %3 : tensor<i64> loc(#loc2)
      }) : (tensor<4xi64>) -> tensor<4xi64> loc(#loc2)
      %4 = stablehlo.compare  LT, %2, %arg1 : (tensor<4xi64>, tensor<4xi64>) -> tensor<4xi1> loc(#loc2)
      sdy.return %2 : tensor<4xi64> loc(#loc)
    } : (tensor<8xi64>) -> tensor<8xi64> loc(#loc)
    return %0 : tensor<8xi64> loc(#loc)
  } loc(#loc)
  func.func private @sdy.all_slice5(%arg0: tensor<8xi64> loc(unknown)) -> tensor<4xi64> {
    %0 = stablehlo.slice %arg0 [0:4] : (tensor<8xi64>) -> tensor<4xi64> loc(#loc2)
    return %0 : tensor<4xi64> loc(#loc)
  } loc(#loc)
} loc(#loc)
#loc2 = loc("constant.4")
"""  # noqa: E501 - as the compiler writes it
TTIR = """\
#loc1 = loc("p0.1")
module @IrToHlo.7 attributes {ttcore.meshes = #ttcore.meshes<[<"mesh" = 1x4>]>} {
  ttcore.device_module {
    builtin.module @IrToHlo.7 attributes {mhlo.num_replicas = 1 : i32, ttcore.meshes = #ttcore.meshes<[<"mesh" = 1x4>]>} {
      func.func @main(%arg0: tensor<4x8xi64> {ttcore.argument_type = #ttcore.argument_type<input>} loc("p0.1")) -> (tensor<2x8xi64> {ttcore.shard_status = #ttcore.shard_status<presharded>}) {
        %0 = "ttir.constant"() <{value = dense<1> : tensor<4x8xi64>}> : () -> tensor<4x8xi64> loc(#loc2)
        %1 = "ttir.add"(%arg0, %0) : (tensor<4x8xi64>, tensor<4x8xi64>) -> tensor<4x8xi64> loc(#loc3)
        %2 = "ttir.slice_static"(%1) <{begins = [0 : i32, 0 : i32], ends = [2 : i32, 8 : i32], step = [1 : i32, 1 : i32]}> : (tensor<4x8xi64>) -> tensor<2x8xi64> loc(#loc3)
        return %2 : tensor<2x8xi64> loc(#loc)
      } loc(#loc)
    } loc(#loc)
  } loc(#loc)
} loc(#loc)
#loc = loc(unknown)
#loc2 = loc("broadcast.5")
#loc3 = loc("add.6_workaround"(#loc2))
"""  # noqa: E501
TTNN = """\
#dram = #ttnn.buffer_type<dram>
#system_desc = #ttcore.system_desc<[{role = host, target_triple = "x86_64-pc-linux"}], [{arch = <blackhole>, grid = 10x13, dram_bank_to_logical_worker_noc0 = [(9, 0), (0, 0)]}], [0], [1 : i32], [ 0x0x0x0]>
#ttnn_layout = #ttnn.ttnn_layout<(d0, d1) -> (d0, d1), <1x1>, memref<1x1x!ttcore.tile<32x32, si32>, #dram>, <interleaved>>
module @IrToHlo.7 attributes {ttcore.meshes = #ttcore.meshes<[<"mesh" = 1x4>]>} {
  ttcore.device_module {
    builtin.module @IrToHlo.7 attributes {mhlo.num_replicas = 1 : i32, ttcore.meshes = #ttcore.meshes<[<"mesh" = 1x4>]>, ttcore.system_desc = #system_desc, ttnn.l1_const_eval_usage = 1024 : ui64} {
      ttcore.device @default_device = <workerGrid = #ttcore.grid<10x13, virt_to_physical_map = (d0, d1) -> (0, d0, d1)>, meshShape = 1x4, chipIds = [0, 1, 2, 3]> loc(#loc)
      func.func private @main_const_eval_0() -> tensor<2x3xsi32, #ttnn_layout> attributes {tt.function_type = "const_eval"} {
        %0 = "ttnn.get_device"() <{mesh_offset = #ttnn<mesh_offset 0x0>, mesh_shape = #ttnn<mesh_shape 1x4>}> : () -> !ttnn.device loc(#loc2)
        %1 = "ttnn.constant"(%0) <{value = dense<[[2, 5, 8]]> : tensor<1x3xsi32>}> : (!ttnn.device) -> tensor<1x3xsi32, #ttnn_layout> loc(#loc1)
        %2 = "ttnn.repeat"(%1) <{repeat_dims = #ttnn.shape<2x1>}> : (tensor<1x3xsi32, #ttnn_layout>) -> tensor<2x3xsi32, #ttnn_layout> loc(#loc1)
        "ttnn.deallocate"(%1) <{force = false}> : (tensor<1x3xsi32, #ttnn_layout>) -> () loc(#loc1)
        return %2 : tensor<2x3xsi32, #ttnn_layout> loc(#loc)
      } loc(#loc)
      func.func private @main_const_eval_1(%arg0: tensor<2x3xsi32, #ttnn_layout> loc("p0.1")) -> tensor<2x3xsi32, #ttnn_layout> {
        return %arg0 : tensor<2x3xsi32, #ttnn_layout> loc(#loc)
      } loc(#loc)
      func.func @main(%arg0: tensor<2x3xsi32, #ttnn_layout> loc("p0.1")) -> (tensor<2x3xsi32, #ttnn_layout> {ttcore.local_shape = #ttcore<local_shape local_shape = tensor<2x3xi64>>}) attributes {tt.function_type = "forward_device"} {
        %0 = ttcore.load_cached(@main_const_eval_0, []) : () -> tensor<2x3xsi32, #ttnn_layout> loc(#loc)
        %1 = ttcore.load_cached(@main_const_eval_1, [%0]) : (tensor<2x3xsi32, #ttnn_layout>) -> tensor<2x3xsi32, #ttnn_layout> loc(#loc)
        %2 = "ttnn.add"(%1, %arg0) <{activations = [#ttnn.unary_with_param<op_type = floor>], input_tensor_a_activations = []}> : (tensor<2x3xsi32, #ttnn_layout>, tensor<2x3xsi32, #ttnn_layout>) -> tensor<2x3xsi32, #ttnn_layout> loc(#loc2)
        return %2 : tensor<2x3xsi32, #ttnn_layout> loc(#loc)
      } loc(#loc)
    } loc(#loc)
  } loc(#loc)
} loc(#loc)
#loc = loc(unknown)
#loc1 = loc("broadcast.5")
#loc2 = loc("broadcast.5_workaround"(#loc1))
"""  # noqa: E501


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    with mlir_context(), ir.Location.unknown():
        yield


def attribute(text: str) -> object:
    return plain(ir.Attribute.parse(text))


def small(body: str, mesh: str = 'sdy.mesh @mesh = <["x"=1]>') -> Program:
    return parse(f"module {{\n{mesh}\nfunc.func @main() {{\n{body}\nreturn\n}}\n}}")


# --- whole stages ----------------------------------------------------------------------------------------------------


def test_a_partitioned_stage_becomes_functions_and_a_mesh() -> None:
    program = parse(SHLO_COMPILER)
    assert program.mesh == Mesh((2, 2), ("x", "y"))
    assert set(program.functions) == {"main", "sdy.all_slice5"}
    assert [op.name for op in program.main.operations] == ["sdy.manual_computation", "func.return"]
    assert program.main.types == (TensorType((8,), "i64"),)


def test_the_body_of_a_manual_computation_is_a_region_with_local_shapes() -> None:
    (body,) = parse(SHLO_COMPILER).main.operations[0].regions
    names = [op.name.removeprefix("stablehlo.") for op in body.operations]
    assert names == ["constant", "composite", "all_reduce", "compare", "sdy.return"]
    assert body.types == (TensorType((4,), "i64"),)
    assert body.returned == body.operations[2].results


def test_attributes_of_stablehlo_are_read() -> None:
    (body,) = parse(SHLO_COMPILER).main.operations[0].regions
    constant, composite, all_reduce, compare = body.operations[:-1]
    assert constant.attributes["value"].tolist() == [3, 4, 5, 6, 7, 8, 9, 10]
    assert composite.attributes["decomposition"] == "sdy.all_slice5"
    assert all_reduce.attributes["replica_groups"].tolist() == [[0, 2], [1, 3]]
    assert compare.attributes["comparison_direction"] == "LT"


def test_a_reduction_body_is_a_region_of_its_own() -> None:
    (body,) = parse(SHLO_COMPILER).main.operations[0].regions
    (region,) = body.operations[2].regions
    assert [op.name for op in region.operations] == ["stablehlo.add", "stablehlo.return"]
    assert region.operations[0].operands == region.parameters


def test_ttir_inside_its_device_module_is_read() -> None:
    program = parse(TTIR)
    assert program.mesh.shape == (1, 4)
    assert [op.name for op in program.main.operations] == [
        "ttir.constant", "ttir.add", "ttir.slice_static", "func.return",
    ]  # fmt: skip
    assert program.main.operations[2].attributes == {"begins": (0, 0), "ends": (2, 8), "step": (1, 1)}
    assert program.main.operations[2].type == TensorType((2, 8), "i64")


def test_properties_and_discardable_attributes_of_one_op_are_read_together() -> None:
    both = TTIR.replace("step = [1 : i32, 1 : i32]}>", "step = [1 : i32, 1 : i32]}> {tt.mark}")
    assert parse(both).main.operations[2].attributes == {
        "begins": (0, 0), "ends": (2, 8), "step": (1, 1), "tt.mark": True,
    }  # fmt: skip


def test_operands_are_the_values_they_name() -> None:
    constant, add, cut, end = parse(TTIR).main.operations
    (argument,) = parse(TTIR).main.parameters
    assert add.operands == (argument, *constant.results)
    assert cut.operands == add.results
    assert end.operands == cut.results


def test_ttnn_with_layouts_and_a_device_is_read() -> None:
    cached = parse(TTNN).functions["main_const_eval_0"]
    assert [op.name for op in cached.operations] == ["ttnn.get_device", "ttnn.constant", "ttnn.repeat", "func.return"]
    device, _, repeat, _ = cached.operations
    assert device.types == (None,)
    assert repeat.attributes["repeat_dims"] == (2, 1)
    assert repeat.type == TensorType((2, 3), "si32")


def test_cached_functions_are_called_with_their_arguments() -> None:
    without, with_one = parse(TTNN).main.operations[:2]
    assert (without.name, without.attributes["callee"], without.operands) == (
        "ttcore.load_cached", "main_const_eval_0", (),
    )  # fmt: skip
    assert (with_one.attributes["callee"], with_one.operands) == ("main_const_eval_1", without.results)


def test_activations_are_mappings() -> None:
    add = parse(TTNN).main.operations[2]
    assert add.attributes == {"activations": ({"op_type": "floor"},), "input_tensor_a_activations": ()}


def test_deallocations_devices_and_system_descriptions_are_dropped() -> None:
    text = generic_text(TTNN)
    assert not any(word in text for word in ("deallocate", "ttcore.device ", "system_desc", "device_module"))


@pytest.mark.parametrize("stage", [SHLO_COMPILER, TTIR, TTNN])
def test_no_location_is_left(stage: str) -> None:
    assert "loc(" in stage
    assert "loc(" not in generic_text(stage)


def test_locations_with_brackets_in_their_names_are_removed() -> None:
    program = small('%c = stablehlo.constant dense<1> : tensor<2xi64> loc("jit(f)/add[a=(1, 2)]"(#loc1))')
    assert program.main.operations[0].attributes["value"].tolist() == [1, 1]


def test_values_are_numbered_once_in_the_whole_program() -> None:
    program = parse(SHLO_COMPILER)
    seen: list[int] = []
    for function in program.functions.values():
        regions = [function, *(region for op in function.operations for region in op.regions)]
        regions += [inner for region in regions[1:] for op in region.operations for inner in op.regions]
        for region in regions:
            seen += [*region.parameters, *(number for op in region.operations for number in op.results)]
    assert len(set(seen)) == len(seen) > 8


# --- attributes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 : i32", 1),
        ("-1 : si32", -1),
        ("4294967295 : ui32", 2**32 - 1),
        ("-9223372036854775808 : i64", -(2**63)),
        ("true", True),
        ("1.5 : f32", 1.5),
        ("0xFF800000 : f32", float("-inf")),
        ('"text"', "text"),
        ("@f", "f"),
        ("unit", True),
        ("[1 : i32, -2 : i32]", (1, -2)),
        ("[[1, 2], []]", ((1, 2), ())),
        ("array<i64: 1, 2>", (1, 2)),
        ("array<i64>", ()),
        ("array<i32: 0, 32>", (0, 32)),
        ("array<i1: true, false>", (True, False)),
        ('{a = 1 : i64, b = "x"}', {"a": 1, "b": "x"}),
        ("tensor<2xi64>", "tensor<2xi64>"),
        ("#ttnn.shape<1x8x1>", (1, 8, 1)),
        ("#ttnn.shape<4>", (4,)),
        ("#ttnn.shape<>", ()),
        ("#ttcore.reduce_type<sum>", "sum"),
        ("#ttnn<mesh_offset 0x0>", "0x0"),
        ("#ttnn.unary_with_param<op_type = floor>", {"op_type": "floor"}),
        ("#stablehlo<comparison_direction LT>", "LT"),
        ("#stablehlo.channel_handle<handle = 1, type = 1>", {"handle": 1, "type": 1}),
        (
            "#stablehlo.gather<offset_dims = [1, 2], start_index_map = [0], index_vector_dim = 1>",
            {"offset_dims": (1, 2), "start_index_map": (0,), "index_vector_dim": 1},
        ),
        ("#stablehlo.dot<>", {}),
    ],
)
def test_attributes_become_plain_values(text: str, value: object) -> None:
    read = attribute(text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "dtype", "values"),
    [
        ("dense<7> : tensor<2x2xi64>", torch.int64, [[7, 7], [7, 7]]),
        ("dense<-1> : tensor<2xsi32>", torch.int32, [-1, -1]),
        ("dense<4294967295> : tensor<1xui32>", torch.int64, [2**32 - 1]),
        ("dense<true> : tensor<2xi1>", torch.bool, [True, True]),
        ("dense<2.5> : tensor<bf16>", torch.bfloat16, 2.5),
        ("dense<0xFF800000> : tensor<2xf32>", torch.float32, [-torch.inf] * 2),
        ("dense<[[1, -2], [3, 4]]> : tensor<2x2xi64>", torch.int64, [[1, -2], [3, 4]]),
        ("dense<[true, false]> : tensor<2xi1>", torch.bool, [True, False]),
        ("dense<[1.5, -2.0e+03, 1.0e-05, 0x7F800000]> : tensor<4xf32>", torch.float32, None),
        ("dense<[65535, 0]> : tensor<2xui16>", torch.int32, [65535, 0]),
        ("dense<> : tensor<0x3xf32>", torch.float32, []),
        ('dense<"0x803F00C0"> : tensor<2xbf16>', torch.bfloat16, [1.0, -2.0]),
        ('dense<"0xFFFFFFFF02000000"> : tensor<2xsi32>', torch.int32, [-1, 2]),
        ('dense<"0xFFFFFFFF02000000"> : tensor<2xui32>', torch.int64, [2**32 - 1, 2]),
        ('dense<"0xFFFFFFFFFFFFFFFF0200000000000000"> : tensor<1x2xi64>', torch.int64, [[-1, 2]]),
    ],
)
def test_dense_constants_become_tensors(text: str, dtype: torch.dtype, values: object) -> None:
    read = attribute(text)
    assert isinstance(read, torch.Tensor)
    if values is None:
        values = torch.tensor([1.5, -2000.0, 1e-5, torch.inf]).tolist()
    assert (read.dtype, read.tolist()) == (dtype, values)


def test_a_nan_in_a_constant_stays_nan_in_its_place() -> None:
    read = attribute("dense<[1.0, 0x7FC00000, -3.0]> : tensor<3xf32>")
    assert isinstance(read, torch.Tensor)
    assert read.isnan().tolist() == [False, True, False]
    assert read[::2].tolist() == [1.0, -3.0]


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=8))
def test_f32_constants_keep_every_bit(values: list[float]) -> None:
    with mlir_context():
        bits = torch.tensor(values).view(torch.int32)
        text = ", ".join(f"0x{number & 0xFFFFFFFF:08X}" for number in bits.tolist())
        read = plain(ir.Attribute.parse(f"dense<[{text}]> : tensor<{len(values)}xf32>"))
    assert read.view(torch.int32).tolist() == bits.tolist()


def test_long_constants_which_are_printed_in_hex_are_read_alike() -> None:
    values = [number * 7919 - 400_000 for number in range(300)]
    read = attribute(f"dense<{values}> : tensor<300xi64>")
    assert isinstance(read, torch.Tensor)
    assert read.tolist() == values


# --- truth values in hex ---------------------------------------------------------------------------------------------

TRUTH = [number % 3 == 1 for number in range(20)]
BITS = sum(1 << number for number, value in enumerate(TRUTH) if value).to_bytes(3, "little").hex()
BYTES = bytes(TRUTH).hex()


@pytest.mark.parametrize("digits", [BITS, BITS.upper(), BYTES], ids=["bits", "upper case", "bytes"])
def test_truth_values_in_hex_may_be_bits_or_bytes(digits: str) -> None:
    text = spell_out_truth_values(f'dense<"0x{digits}"> : tensor<4x5xi1>')
    nested = [TRUTH[row * 5 : row * 5 + 5] for row in range(4)]
    assert text == f"dense<{json.dumps(nested)}> : tensor<4x5xi1>"


def test_a_stage_with_truth_values_in_hex_is_read() -> None:
    program = small(f'%c = stablehlo.constant dense<"0x{BITS}"> : tensor<20xi1>')
    assert program.main.operations[0].attributes["value"].tolist() == TRUTH


def test_other_constants_in_hex_are_not_touched() -> None:
    text = 'dense<"0x01000000"> : tensor<1xi32>'
    assert spell_out_truth_values(text) == text


# --- meshes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        ('<["x"=2, "y"=4]>', Mesh((2, 4), ("x", "y"))),
        ('<["y_aux"=1, "y"=4]>', Mesh((1, 4), ("y_aux", "y"))),
        ('<["default"=1]>', Mesh((1,), ("default",))),
        ("<[]>", Mesh((1,), ("device",))),
        ("<[], device_ids=[0]>", Mesh((1,), ("device",))),
    ],
)
def test_the_mesh_of_shardy_is_read(mesh: str, expected: Mesh) -> None:
    assert small("", f"sdy.mesh @mesh = {mesh}").mesh == expected


@pytest.mark.parametrize(("text", "shape"), [("1x1", (1, 1)), ("2x2", (2, 2)), ("1x8", (1, 8))])
def test_the_mesh_of_the_device_is_read(text: str, shape: tuple[int, ...]) -> None:
    assert parse(TTIR.replace('"mesh" = 1x4', f'"mesh" = {text}')).mesh.shape == shape


def test_the_mesh_of_shardy_comes_before_that_of_the_device() -> None:
    """Both stand in a module between two passes."""
    text = 'module attributes {ttcore.meshes = #ttcore.meshes<[<"mesh" = 1x4>]>} {\n%s\n}'
    both = 'sdy.mesh @mesh = <["x"=2, "y"=2]>\nfunc.func @main() { return }'
    assert parse(text % both).mesh.shape == (2, 2)


@pytest.mark.parametrize(
    "mesh",
    ["", 'sdy.mesh @a = <["x"=2]>\nsdy.mesh @b = <["y"=2]>', 'sdy.mesh @mesh = <["x"=2], device_ids=[1, 0]>'],
    ids=["none", "two", "devices in another order"],
)
def test_a_stage_without_one_plain_mesh_is_not_understood(mesh: str) -> None:
    with pytest.raises(NotUnderstood, match="mesh"):
        small("", mesh)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_region_of_two_blocks_is_not_understood() -> None:
    body = """
    "any.loop"() ({
      ^one:
        "any.branch"()[^two] : () -> ()
      ^two:
        "any.return"() : () -> ()
    }) : () -> ()
    """
    with pytest.raises(NotUnderstood, match="a region of 2 blocks"):
        small(body)


@pytest.mark.parametrize(
    "constant",
    ["dense<1> : tensor<2xi4>", "dense<1.0> : tensor<2xf8E4M3FN>", "dense<(1.0,2.0)> : tensor<2xcomplex<f32>>"],
)
def test_a_constant_of_an_unknown_element_type_is_not_understood(constant: str) -> None:
    with pytest.raises(NotUnderstood):
        small(f"%c = stablehlo.constant {constant}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "module {",
        'module {\nsdy.mesh @mesh = <["x"=1]>\n}',
        TTIR[: len(TTIR) // 2],
        TTIR.replace("%1 =", "1 ="),
    ],
    ids=["nothing", "unfinished", "no main", "half a dump", "a broken name"],
)
def test_what_is_no_stage_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse(text)


def test_an_unknown_op_at_module_level_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match=r"ttcore\.global at module level"):
        small("", 'sdy.mesh @mesh = <["x"=1]>\n"ttcore.global"() : () -> ()')


def test_a_function_without_a_body_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="a region of 0 blocks"):
        small("", 'sdy.mesh @mesh = <["x"=1]>\nfunc.func private @elsewhere(tensor<2xi64>)')
