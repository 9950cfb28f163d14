# SPDX-License-Identifier: Apache-2.0
"""Writes into a key-value cache, in place: the cache operand itself changes.

A cache is [users, heads, positions, width] (TTIROps.td and TTNNOps.td: FillCacheOp, UpdateCacheOp, PagedUpdateCacheOp).
"""

from __future__ import annotations

import torch

from oracles.stages.machine import in_place
from oracles.stages.program import NotUnderstood, Operation


@in_place("ttir.fill_cache ttnn.fill_cache", attributes="batch_offset")
def fill_cache(op: Operation, cache: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Positions 0, 1, ... of user `batch_offset` get the value's, [1, heads, length, width]."""
    filled = cache.clone()
    user = op.attributes["batch_offset"]
    if value.shape[0] != 1:
        raise NotUnderstood(f"{op.name} of {value.shape[0]} users at once")
    filled[user, :, : value.shape[2]] = value[0]
    return filled


@in_place("ttir.update_cache ttnn.update_cache", attributes="batch_offset")
def update_cache(op: Operation, cache: torch.Tensor, value: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """One position, the same for every user, gets the value: [1, heads, users, width]."""
    if position.numel() != 1 or value.shape[0] != 1:
        raise NotUnderstood(f"{op.name} of {position.numel()} positions")
    _check_positions(op, position)
    updated = cache.clone()
    first, users = op.attributes["batch_offset"], value.shape[2]
    updated[first : first + users, :, int(position)] = value[0].transpose(0, 1)
    return updated


@in_place("ttnn.paged_update_cache", fixed={"share_cache": False})
def paged_update_cache(op: Operation, cache: torch.Tensor, value: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """User u's position[u] gets the value: [1, users, heads, width]."""
    _check_positions(op, position)
    updated = cache.clone()
    updated[torch.arange(cache.shape[0]), :, position.long()] = value[0]
    return updated


def _check_positions(op: Operation, position: torch.Tensor) -> None:
    """Torch would count negative ones from the end."""
    if bool((position < 0).any()):
        raise NotUnderstood(f"{op.name} at a negative position")
