# SPDX-License-Identifier: Apache-2.0
"""Which part of a global tensor a device holds."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fuzz.case import Mesh, Sharding


def block_start(shape: Sequence[int], sharding: Sharding, mesh: Mesh, device: int) -> tuple[int, ...]:
    """Offset of the device's block in the global tensor, per dim. Axes of one dim are major to minor.

    Blocks have ceil(size / pieces) elements along a dim, so the last ones of an uneven dim are short or empty
    (Shardy and GSPMD agree on this).
    """
    coordinate = mesh.coordinate(device)
    start = []
    for size, axes in zip(shape, sharding, strict=True):
        pieces, position = 1, 0
        for axis in axes:
            pieces *= mesh.sizes[axis]
            position = position * mesh.sizes[axis] + coordinate[axis]
        start.append(min(position * -(-size // pieces), size))
    return tuple(start)


def block_shape(shape: Sequence[int], sharding: Sharding, mesh: Mesh) -> tuple[int, ...]:
    """Shape of a full block, including the padding of uneven dims."""
    pieces = [1] * len(shape)
    for dim, axes in enumerate(sharding):
        for axis in axes:
            pieces[dim] *= mesh.sizes[axis]
    return tuple(-(-size // count) for size, count in zip(shape, pieces, strict=True))


def take_block(tensor: torch.Tensor, start: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """The valid part of a block: shorter than `shape` at the end of an uneven dim."""
    return tensor[tuple(slice(first, first + size) for first, size in zip(start, shape, strict=True))]
