# SPDX-License-Identifier: Apache-2.0
"""Shardy's sharding attributes in a stage, as shardings of the data model."""

from __future__ import annotations

import re

import torch

from fuzz.case import Mesh, Sharding
from oracles.placement import block_shape, block_start, take_block
from oracles.stages.program import NotUnderstood

_TENSOR = re.compile(r"<@\w+, \[([^\]]*)\][^>]*>")
_DIM = re.compile(r"\{([^}]*)\}")
_AXIS = re.compile(r'"([^"]+)"(:\(\d+\)\d+)?')


def shardings(text: str, mesh: Mesh) -> tuple[Sharding, ...]:
    """The text of a `#sdy.sharding_per_value`, one sharding per value. Raises NotUnderstood for a split axis."""
    result = []
    for tensor in _TENSOR.findall(text):
        dims = []
        for dim in _DIM.findall(tensor):
            axes = _AXIS.findall(dim)
            if any(split for _, split in axes) or any(name not in mesh.axes for name, _ in axes):
                raise NotUnderstood(f"sharding {text} splits an axis")
            dims.append(tuple(name for name, _ in axes))
        result.append(tuple(dims))
    return tuple(result)


def blocks(value: torch.Tensor, sharding: Sharding, mesh: Mesh) -> list[torch.Tensor]:
    """Each device's block of a whole value; devices with the same block share one tensor object."""
    shape = block_shape(value.shape, sharding, mesh)
    cut: dict[tuple[int, ...], torch.Tensor] = {}
    shards = []
    for device in range(mesh.size):
        start = block_start(value.shape, sharding, mesh, device)
        if start not in cut:
            cut[start] = take_block(value, start, shape)
            if tuple(cut[start].shape) != shape:
                raise NotUnderstood(f"shape {tuple(value.shape)} is sharded unevenly")
        shards.append(cut[start])
    return shards
