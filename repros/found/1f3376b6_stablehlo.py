#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# torch.mul_scalar torch.gather with dim 0 of v0 sharded over 2 devices does not compile: Could not apply propagated tensor shardings to tensor dimensions
#
# where:    stage shlo_compiler; fails in UpdateGlobalToLocalShapesPass (update-global-to-local-shapes), on the way to shlo_compiler
# boundary: devices along y: fails from 2 (tried to 4); passes to 1; dim 0 of x0, all of it indexed by x1: fails at values that are not multiples of 2: 1, 3, 9; passes at 2, 10 .. 131072; it does not depend on dim 0 of x1 (1 to 131072) and value of mul_scalar (0 to 128)
# versions: python 3.11.7, meshfuzz 0.1.0, torch 2.9.0, torch_xla 2.9.0, jax 0.10.2, jaxlib 0.10.2, numpy 2.4.6, hypothesis 6.170.15, jax-tt-plugin 0.1.3
# bucket:   COMPILE_ERROR shlo_compiler: Could not apply propagated tensor shardings to tensor dimensions (compile error, case 6350adddc2f50494)
#
# Needs jax, numpy and a TT PJRT plugin. Without chips it compiles for a mock mesh and runs the partitioned program
# that the compiler wrote (its shlo_compiler dump) on CPU devices.
# Target: tt --mock 2x2.
# Exit code: 0 correct, 1 bug present, 77 cannot run here (the reason is printed).
import fcntl, glob, os, re, shutil, sys, tempfile

MODULE = r'''
module @IrToHlo.9 attributes {mhlo.cross_program_prefetches = [], mhlo.input_output_alias = [], mhlo.is_dynamic = false, mhlo.num_partitions = 2 : i32, mhlo.num_replicas = 1 : i32, mhlo.use_auto_spmd_partitioning = false} {
  sdy.mesh @mesh = <["x"=1, "y"=2]>
  func.func @main(%arg0: tensor<1xi64> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}, %arg1: tensor<f32> {sdy.sharding = #sdy.sharding<@mesh, []>}, %arg2: tensor<1xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}) -> tensor<1xf32> {
    %0 = stablehlo.reshape %arg1 : (tensor<f32>) -> tensor<1xf32>
    %1 = stablehlo.multiply %arg2, %0 : tensor<1xf32>
    %2 = sdy.sharding_constraint %1 <@mesh, [{"y"}]> : tensor<1xf32>
    %3 = stablehlo.convert %arg0 : (tensor<1xi64>) -> tensor<1xui32>
    %4 = "stablehlo.gather"(%2, %3) <{dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1>}> : (tensor<1xf32>, tensor<1xui32>) -> tensor<1xf32>
    return %4 : tensor<1xf32>
  }
}
'''
MOCK_CLUSTER = """
arch: {0: blackhole, 1: blackhole, 2: blackhole, 3: blackhole}
chips_with_mmio: [{0: 0}, {1: 1}, {2: 2}, {3: 3}]
boards:
- [{board_id: 4476187513100}, {board_type: p150}, {chips: [0]}]
- [{board_id: 4476187513101}, {board_type: p150}, {chips: [1]}]
- [{board_id: 4476187513102}, {board_type: p150}, {chips: [2]}]
- [{board_id: 4476187513103}, {board_type: p150}, {chips: [3]}]
ethernet_connections:
- [{chip: 0, chan: 4}, {chip: 1, chan: 7}]
- [{chip: 0, chan: 6}, {chip: 1, chan: 9}]
- [{chip: 2, chan: 4}, {chip: 3, chan: 7}]
- [{chip: 2, chan: 6}, {chip: 3, chan: 9}]
- [{chip: 0, chan: 2}, {chip: 2, chan: 0}]
- [{chip: 0, chan: 3}, {chip: 2, chan: 1}]
- [{chip: 1, chan: 2}, {chip: 3, chan: 0}]
- [{chip: 1, chan: 3}, {chip: 3, chan: 1}]
harvesting:
  0: &p150 {noc_translation: true, harvest_mask: 0, dram_harvesting_mask: 0, eth_harvesting_mask: 288, pcie_harvesting_mask: 2, l2cpu_harvesting_mask: 0}
  1: *p150
  2: *p150
  3: *p150
"""
DUMPS = tempfile.mkdtemp()


def stop(code, message):
    print(message, flush=True)
    shutil.rmtree(DUMPS, ignore_errors=True)
    os._exit(code)  # without the plugin's clean-up, which may itself fail and change the exit code


sys.excepthook = lambda kind, error, trace: stop(77, f"cannot run here: line {trace.tb_lineno}: {kind.__name__}: {error}")
PLUGIN = os.environ.get("TT_PJRT_PLUGIN")  # path of a shared object; by default the plugin that is installed
PLATFORM = "given" if PLUGIN else "tt"
os.environ |= {"PJRT_NAMES_AND_LIBRARY_PATHS": f"given:{os.path.abspath(PLUGIN)}"} if PLUGIN else {}
os.environ |= {"JAX_PLATFORMS": f"{PLATFORM},cpu", "JAX_ENABLE_X64": "1", "TT_METAL_LOGGER_LEVEL": "fatal"}
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
COMPILE_ONLY = "TT_COMPILE_ONLY_SYSTEM_DESC" in os.environ
CHIPS = os.path.exists("/dev/tenstorrent") and not COMPILE_ONLY
if not CHIPS and not COMPILE_ONLY:
    # One folder that stays, one process at a time: the first start unpacks 400 MB and builds kernels for minutes.
    folder = os.path.expanduser("~/.cache/tt-mock-cluster")
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)  # the mock writes into its working folder
    lock = open(f"{folder}/lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    with open(f"{folder}/cluster.yaml", "w") as file:
        file.write(MOCK_CLUSTER)
    os.environ |= {"TMPDIR": folder, "TT_METAL_CACHE": f"{folder}/kernels"}
    os.environ["TT_METAL_MOCK_CLUSTER_DESC_PATH"] = f"{folder}/cluster.yaml"

import jax
import ml_dtypes
import numpy as np
from jax._src.interpreters.mlir import make_ir_context
from jax.extend.backend import get_backend
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxlib import _jax, xla_client
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import sdy

INPUTS = [
    np.array([0], dtype=np.int64),
    np.array(2, dtype=np.float32),
    np.array([1], dtype=np.float32),
]


def compiled(client, text, devices, overrides=()):
    options = xla_client.CompileOptions()
    build = options.executable_build_options
    options.num_partitions = build.num_partitions = devices
    options.num_replicas = build.num_replicas = 1
    build.use_spmd_partitioning = build.use_shardy_partitioner = True
    options.env_option_overrides = list(overrides)
    return client.compile_and_load(text.encode(), _jax.DeviceList(tuple(client.devices()[:devices])), options)


def run(executable, arguments):
    """Values per output and device."""
    outputs = executable.execute_sharded(arguments).disassemble_into_single_device_arrays()
    return [[np.asarray(shard) for shard in shards] for shards in outputs]


def zero_rim(gather):
    """Outside its operand, a gather with tt.fill_out_of_bounds reads zeros, where XLA clamps: surround it with zeros."""
    result, operand, index, properties, dims, shape, dtype, index_type, result_type = gather.groups()
    rim = [int(str(dim) in dims.split(", ")) for dim in range(shape.count("x"))]
    padded = "".join(f"{int(size) + 2 * width}x" for size, width in zip(shape.split("x"), rim)) + dtype
    zero = "false" if dtype == "i1" else "0" if dtype[0] in "iu" else "0.0"
    name = f"%n{result[1:]}_"
    return f"""{name}zero = stablehlo.constant dense<{zero}> : tensor<{dtype}>
    {name}rim = stablehlo.pad {operand}, {name}zero, low = {rim}, high = {rim}, interior = {[0] * len(rim)}
        : (tensor<{shape}{dtype}>, tensor<{dtype}>) -> tensor<{padded}>
    {name}one = stablehlo.constant dense<1> : {index_type}
    {name}next = stablehlo.add {index}, {name}one : {index_type}
    {result} = "stablehlo.gather"({name}rim, {name}next) <{properties}>
        : (tensor<{padded}>, {index_type}) -> {result_type}"""


client = get_backend(PLATFORM)
if len(client.devices()) < 2:
    stop(77, f"cannot run here: needs 2 devices, found {len(client.devices())}")
try:
    executable = compiled(client, MODULE, 2, [("export_path", DUMPS)])
except RuntimeError as error:
    stop(1 if 'Could not apply propagated tensor shardings to tensor dimensions' in str(error) else 77, f"expected: it compiles\ngot: {error}")

# What the compiler made of MODULE: a sdy.manual_computation over local values, with explicit collectives.
with make_ir_context() as context, open(glob.glob(f"{DUMPS}/irs/shlo_compiler_[0-9]*.mlir")[0]) as file:
    context.allow_unregistered_dialects = True
    stage = ir.Module.parse(file.read())
    (mesh,) = [op for op in stage.body.operations if op.operation.name == "sdy.mesh"]
    (main,) = [op for op in stage.body.operations if op.operation.name == "func.func" and op.sym_name.value == "main"]
    manual = main.regions[0].blocks[0].operations[0]
    axes, operands = re.findall(r'"(\w+)"=(\d+)', str(mesh)), [str(operand.get_name()) for operand in manual.operands]
    ins, outs = (sdy.TensorShardingPerValueAttr(manual.attributes[name]).shardings for name in ("in_shardings", "out_shardings"))
    for name, shardings in (("arg_attrs", ins), ("res_attrs", outs)):  # these hold what only the TT compiler knows
        main.attributes[name] = ir.ArrayAttr.get([ir.DictAttr.get({"sdy.sharding": sharding}) for sharding in shardings])
    ins, outs, program = [str(sharding) for sharding in ins], [str(sharding) for sharding in outs], str(stage)
program = re.sub(r'("stablehlo\.(?:all_gather|all_reduce|reduce_scatter)".*?)\}>', r"\1, use_global_device_ids}>", program)
program = re.sub(
    r'(%\w+) = "stablehlo\.gather"\((%[\w#]+), (%[\w#]+)\) <(\{.*collapsed_slice_dims = \[([\d, ]*)\], start_index_map = '
    r"\[\5\].*\})> \{tt\.fill_out_of_bounds\} : \(tensor<((?:\d+x)+)(\w+)>, (tensor<\w+>)\) -> (\S+)", zero_rim, program)
unknown = re.findall(r"\btt\.(?!has_custom_sharding)\w+|stablehlo\.custom_call.*", program)
unknown += re.findall(r'"\w+":\(\d+\)\d+', "".join(ins + outs))
if unknown or operands != [f"%arg{number}" for number in range(len(INPUTS))]:
    stop(77, f"cannot run here: the partitioned program is not understood: {unknown or operands}")
if not CHIPS:  # run it in software
    client, executable = get_backend("cpu"), compiled(get_backend("cpu"), program, 2)
grid = Mesh(np.array(client.devices()[:2]).reshape([int(size) for _, size in axes]), [axis for axis, _ in axes])


def placement(sharding):
    """Of Shardy's text, such as <@mesh, [{"x", "y"}, {}]>."""
    dims = re.findall(r"\{(.*?)\}", sharding)
    return NamedSharding(grid, PartitionSpec(*(tuple(re.findall(r'"(\w+)"', dim)) for dim in dims)))


EXPECTED = [
    np.array([2], dtype=np.float32),
]
bad = False
np.set_printoptions(threshold=64, linewidth=120)
observed = run(executable, [jax.device_put(value, placement(sharding)) for value, sharding in zip(INPUTS, ins)])
for output, (shards, sharding, expected) in enumerate(zip(observed, outs, EXPECTED)):
    for device, (got, index) in enumerate(zip(shards, placement(sharding).devices_indices_map(expected.shape).values())):
        want = expected[index]
        wrong = (got != want) & ((got == got) | (want == want))
        coordinate = tuple(int(i) for i in np.unravel_index(device, (1, 2)))
        print(f"output {output} at mesh coordinate {coordinate}: {wrong.sum()} of {wrong.size} elements wrong")
        if wrong.any():
            bad, first = True, tuple(int(i) for i in np.argwhere(wrong)[0])
            print(f"at {first} of this device: expected {want[first]}, got {got[first]}\nexpected\n{want}\ngot\n{got}")
stop(int(bad), "bug present" if bad else "correct")
