# SPDX-License-Identifier: Apache-2.0
"""Which part of a global tensor a device holds."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fuzz.case import Mesh, Sharding, shard_counts


def block_start(shape: Sequence[int], sharding: Sharding, mesh: Mesh, device: int) -> tuple[int, ...]:
    """Offset of the device's block in the global tensor, per dim. Axes of one dim are major to minor.

    Blocks have ceil(size / pieces) elements along a dim, so the last ones of an uneven dim are short or empty
    (Shardy and GSPMD agree on this).
    """
    return tuple(
        min(piece_of(mesh, axes, device) * -(-size // count), size)
        for size, axes, count in zip(shape, sharding, shard_counts(sharding, mesh), strict=True)
    )


def piece_of(mesh: Mesh, axes: Sequence[str], device: int) -> int:
    """Which of the parts into which these axes split a dim a device holds."""
    coordinate = mesh.coordinate(device)
    number = 0
    for axis in axes:
        number = number * mesh.sizes[axis] + coordinate[axis]
    return number


def block_shape(shape: Sequence[int], sharding: Sharding, mesh: Mesh) -> tuple[int, ...]:
    """Shape of a full block, including the padding of uneven dims."""
    return tuple(-(-size // count) for size, count in zip(shape, shard_counts(sharding, mesh), strict=True))


def take_block(tensor: torch.Tensor, start: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """The valid part of a block: shorter than `shape` at the end of an uneven dim."""
    return tensor[tuple(slice(first, first + size) for first, size in zip(start, shape, strict=True))]
