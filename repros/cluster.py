# SPDX-License-Identifier: Apache-2.0
"""The mock cluster that a `stablehlo` script carries: a grid of Blackhole p150 chips that are not there."""

from __future__ import annotations

from fuzz.case import Mesh
from repros.literal import EmitError

# Grids that the plugin accepts, smallest first (jax-tt-plugin 0.1.3); a mesh runs on any with enough devices.
GRIDS = ((1, 1), (1, 2), (2, 2), (2, 4))
# Ethernet channels of a p150 that face its neighbours, in pairs (this chip, the other one).
RIGHT, DOWN = ((4, 7), (6, 9)), ((2, 0), (3, 1))
BOARD_IDS = 4476187513100  # a board id holds its type: these are p150s
HARVESTING = (
    "{noc_translation: true, harvest_mask: 0, dram_harvesting_mask: 0, eth_harvesting_mask: 288, "
    "pcie_harvesting_mask: 2, l2cpu_harvesting_mask: 0}"
)


def mock_cluster(mesh: Mesh) -> str:
    """A cluster descriptor (YAML) with a grid for the mesh: only the keys that the plugin reads.

    Raises EmitError for a mesh with more devices than any known grid.
    """
    known = [*GRIDS, *((mesh.shape,) if mesh.shape in ((1, 4), (1, 8)) else ())]
    grid = mesh.shape if mesh.shape in known else next((g for g in GRIDS if g[0] * g[1] >= mesh.size), None)
    if grid is None:
        raise EmitError(f"no mock cluster is known for the {mesh.size} devices of mesh {mesh}")
    rows, cols = grid
    chips = range(rows * cols)
    links = [(i, i + 1, pair) for i in chips for pair in RIGHT if (i + 1) % cols]
    links += [(i, i + cols, pair) for i in chips for pair in DOWN if i + cols < len(chips)]
    lines = [
        f"arch: {{{', '.join(f'{i}: blackhole' for i in chips)}}}",
        f"chips_with_mmio: [{', '.join(f'{{{i}: {i}}}' for i in chips)}]",
        "boards:",
        *(f"- [{{board_id: {BOARD_IDS + i}}}, {{board_type: p150}}, {{chips: [{i}]}}]" for i in chips),
        "ethernet_connections:" if links else "ethernet_connections: []",
        *(f"- [{{chip: {a}, chan: {out}}}, {{chip: {b}, chan: {into}}}]" for a, b, (out, into) in links),
        "harvesting:",
        *(f"  {i}: {'*p150' if i else '&p150 ' + HARVESTING}" for i in chips),
    ]
    return "\n".join(lines)
