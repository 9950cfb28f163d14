#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# cumsum gives wrong numbers
#
# where:    stage compare, op cumsum
# versions: python 3.11.7, meshfuzz 0.1.0, torch 2.9.0, torch_xla 2.9.0, jax 0.10.2, jaxlib 0.10.2, numpy 2.4.6, hypothesis 6.170.15, jax-tt-plugin 0.1.3
# bucket:   WRONG reduce_window: nothing sharded
# failure:  wrong numbers, case adb7d6351caf51a8
#
# Needs jax and numpy; runs on XLA's CPU mesh.
# Target: cpu 2x2.
# Exit code: 0 correct, 1 bug present, 77 cannot run here (the reason is printed).
import fcntl, glob, os, re, shutil, sys, tempfile

MODULE = r'''
module @IrToHlo.9 attributes {mhlo.cross_program_prefetches = [], mhlo.input_output_alias = [], mhlo.is_dynamic = false, mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 1 : i32, mhlo.use_auto_spmd_partitioning = false} {
  sdy.mesh @mesh = <["x"=1, "y"=1]>
  func.func @main(%arg0: tensor<2xi1> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}) -> (tensor<2xi1> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}) {
    %c = stablehlo.constant dense<false> : tensor<i1>
    %0 = "stablehlo.reduce_window"(%arg0, %c) <{padding = dense<[[1, 0]]> : tensor<1x2xi64>, window_dimensions = array<i64: 2>}> ({
    ^bb0(%arg1: tensor<i1>, %arg2: tensor<i1>):
      %1 = stablehlo.or %arg1, %arg2 : tensor<i1>
      stablehlo.return %1 : tensor<i1>
    }) : (tensor<2xi1>, tensor<i1>) -> tensor<2xi1>
    return %0 : tensor<2xi1>
  }
}
'''
DUMPS = tempfile.mkdtemp()


def stop(code, message):
    print(message, flush=True)
    shutil.rmtree(DUMPS, ignore_errors=True)
    os._exit(code)  # without the plugin's clean-up, which may itself fail and change the exit code


sys.excepthook = lambda kind, error, trace: stop(77, f"cannot run here: line {trace.tb_lineno}: {kind.__name__}: {error}")
PLATFORM, CHIPS = "cpu", True  # CPU devices that XLA executes on
os.environ |= {"JAX_PLATFORMS": PLATFORM, "JAX_ENABLE_X64": "1"}
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=1"

import jax
import ml_dtypes
import numpy as np
from jax.extend.backend import get_backend
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxlib import _jax, xla_client

INPUTS = [
    np.full((2,), 1, dtype=np.bool_),
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


client = get_backend(PLATFORM)
if len(client.devices()) < 1:
    stop(77, f"cannot run here: needs 1 devices, found {len(client.devices())}")
try:
    executable = compiled(client, MODULE, 1)
except RuntimeError as error:
    stop(77, f"cannot run here: expected: it compiles\ngot: {error}")

axes = [('x', 1), ('y', 1)]
ins, outs = ['[{}]'], ['[{}]']
grid = Mesh(np.array(client.devices()[:1]).reshape([int(size) for _, size in axes]), [axis for axis, _ in axes])


def placement(sharding):
    """Of Shardy's text, such as <@mesh, [{"x", "y"}, {}]>."""
    dims = re.findall(r"\{(.*?)\}", sharding)
    return NamedSharding(grid, PartitionSpec(*(tuple(re.findall(r'"(\w+)"', dim)) for dim in dims)))


EXPECTED = [  # values, and how far a correct result may be off
    (np.array([1, 2], dtype=np.int64), 0.0),
]
bad = False
np.set_printoptions(threshold=64, linewidth=120)
observed = run(executable, [jax.device_put(value, placement(sharding)) for value, sharding in zip(INPUTS, ins)])
for output, (shards, sharding, (expected, bound)) in enumerate(zip(observed, outs, EXPECTED)):
    for device, (got, index) in enumerate(zip(shards, placement(sharding).devices_indices_map(expected.shape).values())):
        want = expected[index]
        wrong = (got != want) & ((got == got) | (want == want))
        if bound:
            wrong &= ~(np.abs(got.astype(np.float64) - want.astype(np.float64)) <= bound)
        coordinate = tuple(int(i) for i in np.unravel_index(device, (1, 1)))
        print(f"output {output} at mesh coordinate {coordinate}: {wrong.sum()} of {wrong.size} elements wrong")
        if wrong.any():
            bad, first = True, tuple(int(i) for i in np.argwhere(wrong)[0])
            print(f"at {first} of this device: expected {want[first]}, got {got[first]}\nexpected\n{want}\ngot\n{got}")
stop(int(bad), "bug present" if bad else "correct")
