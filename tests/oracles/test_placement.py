# SPDX-License-Identifier: Apache-2.0
"""Where a device's block lies in the global tensor."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from fuzz.case import Mesh
from oracles.placement import block_shape, block_start, take_block

MESH = Mesh((2, 4), ("x", "y"))


def test_device_ids_run_row_major_over_the_mesh() -> None:
    starts = [block_start((8, 8), (("x",), ("y",)), MESH, device) for device in range(8)]
    assert starts == [(0, 0), (0, 2), (0, 4), (0, 6), (4, 0), (4, 2), (4, 4), (4, 6)]


def test_axes_of_one_dim_are_major_to_minor() -> None:
    xy = [block_start((8,), (("x", "y"),), MESH, device)[0] for device in range(8)]
    yx = [block_start((8,), (("y", "x"),), MESH, device)[0] for device in range(8)]
    assert xy == [0, 1, 2, 3, 4, 5, 6, 7]
    assert yx == [0, 2, 4, 6, 1, 3, 5, 7]


def test_last_blocks_of_an_uneven_dim_are_short_or_empty() -> None:
    shape = block_shape((5,), (("y",),), MESH)
    lengths = [
        take_block(torch.arange(5), block_start((5,), (("y",),), MESH, device), shape).numel() for device in range(4)
    ]
    assert shape == (2,)
    assert lengths == [2, 2, 1, 0]


@given(st.integers(1, 40), st.sampled_from([("x",), ("y",), ("x", "y"), ("y", "x")]))
def test_blocks_of_all_devices_cover_the_tensor_exactly_once(size: int, axes: tuple[str, ...]) -> None:
    tensor = torch.arange(size)
    shape = block_shape((size,), (axes,), MESH)
    starts = sorted({block_start((size,), (axes,), MESH, device) for device in range(MESH.size)})
    seen = torch.cat([take_block(tensor, start, shape) for start in starts])
    assert torch.equal(seen, tensor)
