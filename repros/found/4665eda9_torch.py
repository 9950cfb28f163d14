#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# torch.reshape with dim 0 of the data and dim 1 of the data sharded over 2 devices does not compile: number of output elements (48) doesn't match expected number of elements (24)
#
# where:    stage shlo_compiler; fails in UpdateGlobalToLocalShapesPass (update-global-to-local-shapes), on the way to shlo_compiler
# boundary: devices along x: fails from 2; passes to 1; devices along y: fails from 2; passes to 1; shards of dim 0 of x0: fails from 2; passes to 1; shards of dim 1 of x0: fails from 2; passes to 1; dim 1 of x0: first fails at 48, not monotone: passes at 46, fails at 48, passes at 50, 96 .. 106, fails at 108, 120 .. 612, passes at 614, 616 .. 49152; it does not depend on rank of x0 (2 to 6) and dim 0 of x0 (2 to 2048)
# versions: python 3.11.7, meshfuzz 0.1.0, torch 2.9.0, torch_xla 2.9.0, jax 0.10.2, jaxlib 0.10.2, numpy 2.4.6, hypothesis 6.170.15, jax-tt-plugin 0.1.3
# bucket:   COMPILE_ERROR shlo_compiler: number of output elements [#] doesn't match expected number of elements [#] (compile error, case 9b78944223709461)
#
# Needs torch, torch_xla with a TT plugin, and 4 devices. PJRT_DEVICE=CPU runs the same graph on XLA's CPU mesh.
# Target: tt --mock 2x2.
# Exit code: 0 correct, 1 bug present, 77 cannot run here (the reason is printed).
import os
import sys
from importlib import metadata

DEVICE = os.environ.setdefault("PJRT_DEVICE", "TT")
if DEVICE == "TT":  # Shardy and StableHLO are what the TT compiler takes
    os.environ.update(CONVERT_SHLO_TO_SHARDY="1", XLA_STABLEHLO_COMPILE="1")
os.environ.setdefault("CPU_NUM_DEVICES", "4")


def stop(code, message):
    print(message, flush=True)
    sys.stderr.flush()
    os._exit(code)  # without the runtime's clean-up, which may itself fail and change the exit code


def cannot_run(reason):
    stop(77, f"cannot run here: {reason}")


sys.excepthook = lambda kind, error, trace: cannot_run(f"line {trace.tb_lineno}: {kind.__name__}: {error}")
if DEVICE == "TT" and not any(plugin.name.lower() == "tt" for plugin in metadata.entry_points(group="torch_xla.plugins")):
    cannot_run("no TT plugin for torch_xla (PJRT_DEVICE=CPU runs the same graph on XLA's CPU mesh)")
import numpy as np
import torch
import torch_xla
import torch_xla.distributed.spmd as xs
import torch_xla.runtime as xr


# The bug: 1 input on a mesh of 2x2 devices.
INPUTS = {
    "x0": (torch.arange(1, 97, dtype=torch.float32).reshape(2, 48), ('x', 'y')),
}


def graph(device, x0):
    v0 = x0.reshape((2, 3, 4, 4))
    return [v0]


def on_mesh():
    """For each output and device: which part of it is there, and what it is."""
    xr.set_device_type(DEVICE)
    xr.use_spmd()
    if xr.global_runtime_device_count() != 4:
        cannot_run(f"needs 4 devices, found {xr.global_runtime_device_count()}")
    mesh = xs.Mesh(np.arange(4), (2, 2), ('x', 'y'))
    placed = [values.to(torch_xla.device()) for values, _ in INPUTS.values()]
    for value, (_, partition) in zip(placed, INPUTS.values()):
        xs.mark_sharding(value, mesh, partition)
    outputs = graph(torch_xla.device(), *placed)
    torch_xla.sync(wait=True)
    return [[(shard.indices, shard.data.cpu()) for shard in xs.XLAShardedTensor(output).local_shards] for output in outputs]


def compared(observed):
    """For each output and device: where it is, which elements are wrong, what they should be, what they are."""
    expected = graph("cpu", *(values for values, _ in INPUTS.values()))
    for name, whole, shards in zip(['v0'], expected, observed):
        for device, (place, got) in enumerate(shards):
            want = whole if place is Ellipsis else whole[tuple(place)]
            got = got[tuple(slice(size) for size in want.shape)]  # the end of an uneven dim is padding
            wrong = (got != want) & ((got == got) | (want == want))
            coordinate = tuple(int(i) for i in np.unravel_index(device, (2, 2)))
            yield f"{name} at mesh coordinate {coordinate}", wrong, want, got


try:
    observed = on_mesh()
except Exception as error:
    message = f"expected: it compiles and runs\ngot: {type(error).__name__}: {error}"
    stop(1 if "number of output elements (48) doesn't match expected number of elements (24)" in str(error) else 77, message)
bad = False
torch.set_printoptions(threshold=64, linewidth=120)
for part, wrong, want, got in compared(observed):
    print(f"{part}: {wrong.sum()} of {wrong.numel()} elements wrong")
    if wrong.any():
        bad, first = True, tuple(torch.argwhere(wrong)[0].tolist())
        print(f"at {first} of this device: expected {want[first]}, got {got[first]}\nexpected\n{want}\ngot\n{got}")
stop(int(bad), "bug present" if bad else "correct")
