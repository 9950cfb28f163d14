# SPDX-License-Identifier: Apache-2.0
"""torch_xla SPMD on a CPU mesh: XLA's GSPMD partitioner, reached the way torch users reach it.

An implementation of its own, independent of the Shardy route in `pjrt`. A process has one device count for its whole
life, and torch_xla wants meshes over all of its devices.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch_xla
import torch_xla.debug.metrics as metrics
import torch_xla.distributed.spmd as spmd
import torch_xla.runtime as runtime

from fuzz.case import Case, Sharding
from fuzz.ops.core import run_graph
from oracles.lowering import PLAIN_OPERATIONS
from oracles.outcome import Verdict
from oracles.targets.base import Block, Observation, TargetFailure
from oracles.targets.config import TargetConfig, TargetUnavailable

# Where set, torch_xla computes in other dtypes than the program says.
DTYPE_FLAGS = ("XLA_USE_BF16", "XLA_USE_FP16", "XLA_DOWNCAST_BF16", "XLA_DOWNCAST_FP16", "XLA_USE_32BIT_LONG")
# What HLO has where StableHLO has other names or nothing; custom-call is the sharding annotation itself.
HLO_PLAIN_OPERATIONS = PLAIN_OPERATIONS | frozenset(
    ("broadcast", "call", "custom_call", "get_tuple_element", "parameter", "tuple")
)
_HLO_OPERATION = re.compile(r"^\s*(?:ROOT )?%\S+ = .*? ([a-z][a-z0-9-]*)\(", re.MULTILINE)


class TorchXLA:
    """Implements `Target`. Raises TargetUnavailable if torch_xla cannot offer the devices."""

    def __init__(self, config: TargetConfig) -> None:
        self.config = config
        if changing := [flag for flag in DTYPE_FLAGS if os.environ.get(flag, "0") not in ("", "0")]:
            raise TargetUnavailable(f"torch_xla would change dtypes: unset {', '.join(changing)}")
        # Read when torch_xla first touches a device, not when it is imported.
        os.environ["PJRT_DEVICE"] = "CPU"
        os.environ["CPU_NUM_DEVICES"] = str(config.topology.size)
        runtime.use_spmd()
        devices = runtime.global_runtime_device_count()
        if devices != config.topology.size:
            raise TargetUnavailable(
                f"torch_xla already runs {devices} devices in this process, mesh {config.topology} needs "
                f"{config.topology.size}: use a new process"
            )

    def run(self, case: Case, inputs: Mapping[str, torch.Tensor], on_stage: Callable[[str], None]) -> Observation:
        """Trace, compile, execute, and read every device's shard back. Raises TargetFailure, TargetUnavailable."""
        if case.mesh.size != self.config.topology.size:
            raise TargetUnavailable(
                f"torch_xla needs meshes over all {self.config.topology.size} devices, the case has {case.mesh}: "
                f"open the target with --mesh {case.mesh}"
            )
        on_stage("lower")
        try:
            outputs = _trace(case, inputs)
            program = torch_xla._XLAC._get_xla_tensors_hlo(outputs)
        except (RuntimeError, ValueError) as error:  # XLA's INVALID_ARGUMENT arrives as a ValueError
            raise _failure(error, "lower") from error
        # Compiling and executing are one call; without waiting for it, reading a shard fails.
        on_stage("compile")
        try:
            torch_xla.sync(wait=True)
        except (RuntimeError, ValueError) as error:
            raise _failure(error, "compile") from error
        on_stage("execute")
        return Observation(tuple(_blocks(output) for output in outputs), _operations(program))


def _trace(case: Case, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """The outputs as lazy tensors.

    Only they stay alive: any other traced tensor would become a result of the program, and so would not be fused or
    partitioned as in a user's program.
    """
    device = torch_xla.device()
    mesh = spmd.Mesh(np.arange(case.mesh.size), case.mesh.shape, case.mesh.axes)

    def constrain(value: torch.Tensor, sharding: Sharding) -> torch.Tensor:
        # mark_sharding works in place and refuses a value that has a sharding, which an input, or an op that returns
        # its operand, has. An annotation on a copy is a constraint of its own; XLA removes the copy.
        copy = value.clone()
        spmd.annotate_custom_sharding(copy, mesh, _partition(sharding))
        return copy

    placed = {}
    for value in case.inputs:
        placed[value.name] = inputs[value.name].to(device)
        spmd.mark_sharding(placed[value.name], mesh, _partition(value.sharding))
    metrics.clear_counters()
    values = run_graph(case, placed, device, constrain)
    if fallbacks := sorted(name for name in metrics.counter_names() if name.startswith("aten::")):
        raise TargetFailure(Verdict.UNSUPPORTED, "lower", f"torch_xla has no lowering for {', '.join(fallbacks)}")
    return [
        values[output.name] if output.sharding is None else constrain(values[output.name], output.sharding)
        for output in case.outputs
    ]


def _partition(sharding: Sharding) -> tuple[str | tuple[str, ...] | None, ...]:
    """torch_xla's partition spec; it has its own form for one axis and for none."""
    return tuple(axes[0] if len(axes) == 1 else axes or None for axes in sharding)


def _blocks(output: torch.Tensor) -> tuple[Block, ...]:
    """What each device holds, in the sharding the compiled program ended with.

    That is not always the one asked for: torch_xla replicates results whose dims do not divide.
    """
    blocks = []
    for shard in spmd.XLAShardedTensor(output).local_shards:
        device = int(shard.shard_device.rpartition(":")[2])
        if shard.indices is Ellipsis:
            blocks.append(Block(device, (0,) * output.dim(), shard.data))
        else:
            # Shards are padded to equal size, the indices are not.
            valid = tuple(slice(0, extent.stop - extent.start) for extent in shard.indices)
            blocks.append(Block(device, tuple(extent.start for extent in shard.indices), shard.data[valid]))
    return tuple(sorted(blocks, key=lambda block: block.device))


def _operations(program: str) -> tuple[str, ...]:
    """Names of the HLO ops the graph is about, sorted."""
    names = {name.replace("-", "_") for name in _HLO_OPERATION.findall(program)}
    return tuple(sorted(names - HLO_PLAIN_OPERATIONS))


def _failure(error: RuntimeError | ValueError, stage: str) -> TargetFailure:
    """torch has accepted the graph before, so a refusal is a finding unless it says that it is none."""
    message = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    refused = isinstance(error, NotImplementedError) or "UNIMPLEMENTED" in message
    return TargetFailure(Verdict.UNSUPPORTED if refused else Verdict.COMPILE_ERROR, stage, message)
