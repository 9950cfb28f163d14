#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# scatter_value gives wrong numbers
#
# where:    stage shlo_compiler, op scatter_value; wrong after StableHLOFusingPass (stablehlo-fusing), on the way to shlo_compiler
# versions: python 3.11.7, meshfuzz 0.1.0, torch 2.9.0, torch_xla 2.9.0, jax 0.10.2, jaxlib 0.10.2, numpy 2.4.6, hypothesis 6.170.15, jax-tt-plugin 0.1.3
# bucket:   WRONG shlo -> shlo_compiler, scatter: nothing sharded
# failure:  wrong numbers, case 84978fb7aac01130
#
# Needs torch, torch_xla with a TT plugin, and 1 devices. PJRT_DEVICE=CPU runs the same graph on XLA's CPU mesh.
# Target: tt --mock 2x2.
# Exit code: 0 correct, 1 bug present, 77 cannot run here (the reason is printed).
import os
import sys
from importlib import metadata, util

DEVICE = os.environ.setdefault("PJRT_DEVICE", "TT")
if DEVICE == "TT":  # Shardy and StableHLO are what the TT compiler takes
    os.environ.update(CONVERT_SHLO_TO_SHARDY="1", XLA_STABLEHLO_COMPILE="1")
os.environ.setdefault("CPU_NUM_DEVICES", "1")


def stop(code, message):
    print(message, flush=True)
    sys.stderr.flush()
    os._exit(code)  # without the runtime's clean-up, which may itself fail and change the exit code


if not util.find_spec("torch_xla"):
    stop(77, "cannot run here: torch_xla is not installed")
if DEVICE == "TT" and not any(plugin.name.lower() == "tt" for plugin in metadata.entry_points(group="torch_xla.plugins")):
    stop(77, "cannot run here: no TT plugin for torch_xla (PJRT_DEVICE=CPU runs the same graph on XLA's CPU mesh)")
import numpy as np
import torch
import torch_xla
import torch_xla.distributed.spmd as xs
import torch_xla.runtime as xr


# The bug: 2 inputs on a mesh of 1x1 devices.
INPUTS = {
    "x0": (torch.arange(1, 5, dtype=torch.float32).reshape(2, 2), (None, None)),
    "x1": (torch.tensor([[0, 0], [0, 1]], dtype=torch.int64), (None, None)),
}


def graph(device, mark, x0, x1):
    v0 = x0.scatter(0, x1, 1)
    return [v0]


def on_mesh():
    xr.set_device_type(DEVICE)
    xr.use_spmd()
    if xr.global_runtime_device_count() != 1:
        stop(77, f"cannot run here: needs 1 devices, found {xr.global_runtime_device_count()}")
    mesh = xs.Mesh(np.arange(1), (1, 1), ('x', 'y'))

    def constrained(value, partition):
        copy = value.clone()  # a value has one sharding; the copy has its own, and the compiler removes it
        xs.annotate_custom_sharding(copy, mesh, partition)
        return copy

    placed = [values.to(torch_xla.device()) for values, _ in INPUTS.values()]
    for value, (_, partition) in zip(placed, INPUTS.values()):
        xs.mark_sharding(value, mesh, partition)
    outputs = graph(torch_xla.device(), constrained, *placed)
    torch_xla.sync(wait=True)
    return [[(shard.indices, shard.data.cpu()) for shard in xs.XLAShardedTensor(output).local_shards] for output in outputs]


expected = graph("cpu", lambda value, partition: value, *(values for values, _ in INPUTS.values()))
try:
    observed = on_mesh()
except Exception as error:
    message = f"expected: it compiles and runs\ngot: {type(error).__name__}: {error}"
    stop(77, message)
bad = False
torch.set_printoptions(threshold=64, linewidth=120)
for name, whole, shards, bound in zip(['v0'], expected, observed, [0.0]):
    for device, (place, got) in enumerate(shards):
        want = whole if place is Ellipsis else whole[tuple(place)]
        got = got[tuple(slice(size) for size in want.shape)]  # the end of an uneven dim is padding
        equal = torch.isclose(got.double(), want.double(), rtol=0, atol=bound, equal_nan=True) if bound else (
            (got == want) | ((got != got) & (want != want)))
        coordinate = tuple(int(i) for i in np.unravel_index(device, (1, 1)))
        print(f"{name} at mesh coordinate {coordinate}: {int((~equal).sum())} of {equal.numel()} elements wrong")
        if not equal.all():
            bad, first = True, tuple(torch.argwhere(~equal)[0].tolist())
            print(f"at {first} of this device: expected {want[first]}, got {got[first]}\nexpected\n{want}\ngot\n{got}")
stop(int(bad), "bug present" if bad else "correct")
