# SPDX-License-Identifier: Apache-2.0
"""Ops that move a tensor between memories and tile layouts: no value changes, except where the element type does."""

from __future__ import annotations

import torch

from oracles.stages.machine import Machine, Shards, formatted, local, structural
from oracles.stages.numerics import Numerics
from oracles.stages.program import Operation


@formatted(
    "ttir.to_layout ttnn.to_layout ttnn.to_tensor_spec ttnn.to_memory_config ttnn.to_device ttnn.from_device "
    "ttnn.to_dtype",
    attributes="dtype",
)
def to_layout(op: Operation, numerics: Numerics, value: torch.Tensor, *device: torch.Tensor) -> torch.Tensor:
    """The same values; a change of element type is a typecast (TTNNOps.td, ToLayoutOp)."""
    return numerics.typecast(value, op.type.element)


@local("ttnn.assign ttir.mesh_shard sdy.sharding_constraint sdy.reshard", attributes="sharding")
def same(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """The same values."""
    return value


@structural("ttnn.get_device", attributes="mesh_offset mesh_shape")
def get_device(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
    """A handle for the mesh: no value, but a place in the list of operands of the ops that create tensors."""
    return [[torch.empty(0)] * machine.mesh.size]
