#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# torch.reshape with dim 0 of the data and dim 1 of the data sharded over 2 devices does not compile: number of output elements (48) doesn't match expected number of elements (24)
#
# where:    stage shlo_compiler; fails in UpdateGlobalToLocalShapesPass (update-global-to-local-shapes), on the way to shlo_compiler
# boundary: devices along x: fails from 2; passes to 1; devices along y: fails from 2; passes to 1; shards of dim 0 of x0: fails from 2; passes to 1; shards of dim 1 of x0: fails from 2; passes to 1; dim 1 of x0: first fails at 48, not monotone: passes at 46, fails at 48, passes at 50, 96 .. 106, fails at 108, 120 .. 612, passes at 614, 616 .. 49152; it does not depend on rank of x0 (2 to 6) and dim 0 of x0 (2 to 2048)
# versions: python 3.11.7, meshfuzz 0.1.0, torch 2.9.0, torch_xla 2.9.0, jax 0.10.2, jaxlib 0.10.2, numpy 2.4.6, hypothesis 6.170.15, jax-tt-plugin 0.1.3
# bucket:   COMPILE_ERROR shlo_compiler: number of output elements [#] doesn't match expected number of elements [#] (compile error, case 9b78944223709461)
#
# Needs jax, numpy and a TT PJRT plugin. Without chips it compiles for a mock mesh and runs the partitioned program
# that the compiler wrote (its shlo_compiler dump) on CPU devices.
# Target: tt --mock 2x2.
# Exit code: 0 correct, 1 bug present, 77 cannot run here (the reason is printed).
import fcntl, glob, os, re, shutil, sys, tempfile
import zlib

MODULE = r'''
module @IrToHlo.4 attributes {mhlo.cross_program_prefetches = [], mhlo.input_output_alias = [], mhlo.is_dynamic = false, mhlo.num_partitions = 4 : i32, mhlo.num_replicas = 1 : i32, mhlo.use_auto_spmd_partitioning = false} {
  sdy.mesh @mesh = <["x"=2, "y"=2]>
  func.func @main(%arg0: tensor<2x48xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>}) -> tensor<2x3x4x4xf32> {
    %0 = stablehlo.reshape %arg0 : (tensor<2x48xf32>) -> tensor<2x3x4x4xf32>
    return %0 : tensor<2x3x4x4xf32>
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
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
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
    np.arange(1, 97, dtype=np.float32).reshape(2, 48),
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


def unpartitioned(output, checksum):
    """An output of MODULE on one CPU device; the checksum is that of torch's result, None where rounding may differ."""
    client = get_backend("cpu")
    value = run(compiled(client, MODULE, 1), [jax.device_put(v, client.devices()[0]) for v in INPUTS])[output][0]
    if checksum not in (None, zlib.crc32(np.where(value == value, value + 0, 0).astype(np.float64).tobytes())):
        stop(77, "cannot run here: XLA on one CPU device disagrees with torch")
    return value


client = get_backend(PLATFORM)
if len(client.devices()) < 4:
    stop(77, f"cannot run here: needs 4 devices, found {len(client.devices())}")
try:
    executable = compiled(client, MODULE, 4, [("export_path", DUMPS)])
except RuntimeError as error:
    stop(1 if "number of output elements (48) doesn't match expected number of elements (24)" in str(error) else 77, f"expected: it compiles\ngot: {error}")

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
unknown = re.findall(r"\btt\.(?!has_custom_sharding)\w+|stablehlo\.custom_call.*", program)
unknown += re.findall(r'"\w+":\(\d+\)\d+', "".join(ins + outs))
if unknown or operands != [f"%arg{number}" for number in range(len(INPUTS))]:
    stop(77, f"cannot run here: the partitioned program is not understood: {unknown or operands}")
if not CHIPS:  # run it in software
    client, executable = get_backend("cpu"), compiled(get_backend("cpu"), program, 4)
grid = Mesh(np.array(client.devices()[:4]).reshape([int(size) for _, size in axes]), [axis for axis, _ in axes])


def placement(sharding):
    """Of Shardy's text, such as <@mesh, [{"x", "y"}, {}]>."""
    dims = re.findall(r"\{(.*?)\}", sharding)
    return NamedSharding(grid, PartitionSpec(*(tuple(re.findall(r'"(\w+)"', dim)) for dim in dims)))


EXPECTED = [
    unpartitioned(0, 3818912827),
]
bad = False
np.set_printoptions(threshold=64, linewidth=120)
observed = run(executable, [jax.device_put(value, placement(sharding)) for value, sharding in zip(INPUTS, ins)])
for output, (shards, sharding, expected) in enumerate(zip(observed, outs, EXPECTED)):
    for device, (got, index) in enumerate(zip(shards, placement(sharding).devices_indices_map(expected.shape).values())):
        want = expected[index]
        wrong = (got != want) & ((got == got) | (want == want))
        coordinate = tuple(int(i) for i in np.unravel_index(device, (2, 2)))
        print(f"output {output} at mesh coordinate {coordinate}: {wrong.sum()} of {wrong.size} elements wrong")
        if wrong.any():
            bad, first = True, tuple(int(i) for i in np.argwhere(wrong)[0])
            print(f"at {first} of this device: expected {want[first]}, got {got[first]}\nexpected\n{want}\ngot\n{got}")
stop(int(bad), "bug present" if bad else "correct")
