# SPDX-License-Identifier: Apache-2.0
"""Descriptors of clusters that are not there: an R x C grid of Blackhole p150 cards, as tt-metal reads them."""

from __future__ import annotations

from typing import Any

import yaml

from fuzz.case import Mesh
from oracles.targets.config import TargetUnavailable

# The grids tt-metal has fabric descriptions for; others stop with "Custom fabric mesh graph descriptor path must be
# specified".
GRIDS = ((1, 1), (1, 2), (2, 2), (1, 4), (1, 8), (2, 4))
# Pairs of Ethernet channels that wire a card to the one on its right, and to the one below.
RIGHT = ((4, 7), (6, 9))
DOWN = ((2, 0), (3, 1))
FIRST_CHIP_ID = 0x1000_0000  # any distinct numbers do
FIRST_BOARD_ID = 0x41 << 36  # the bits above 36 are the part number; this one is a p150
HARVESTING = {
    "noc_translation": True,
    "harvest_mask": 0,
    "dram_harvesting_mask": 0,
    "eth_harvesting_mask": 0b1_0010_0000,  # every p150 has two of its 14 Ethernet cores fused off
    "pcie_harvesting_mask": 0b10,  # and one of two PCIe cores
    "l2cpu_harvesting_mask": 0,
}


class _BusId(int):
    """tt-metal's YAML reader wants bus ids as bare hexadecimal scalars."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_bus_id(dumper: yaml.SafeDumper, number: _BusId) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:int", f"0x{number:04x}")


_Dumper.add_representer(_BusId, _write_bus_id)


def check_grid(topology: Mesh) -> None:
    """Raises TargetUnavailable for a mesh no mock exists for."""
    if topology.shape not in GRIDS:
        known = ", ".join(f"{rows}x{columns}" for rows, columns in GRIDS)
        raise TargetUnavailable(f"unknown mesh {topology} for the TT mock: use one of {known}")


def descriptor(topology: Mesh) -> str:
    """The cluster descriptor as YAML. Chip ids run row-major. Raises TargetUnavailable for an unknown grid."""
    check_grid(topology)
    chips = range(topology.size)
    cluster = {
        "arch": dict.fromkeys(chips, "blackhole"),
        "chips": {},
        "chip_unique_ids": {chip: FIRST_CHIP_ID + chip for chip in chips},
        "ethernet_connections": _links(*topology.shape),
        "ethernet_connections_to_remote_devices": [],
        "chips_with_mmio": [{chip: chip} for chip in chips],
        "io_device_type": "PCIe",
        "harvesting": dict.fromkeys(chips, HARVESTING),
        "chip_to_bus_id": {chip: _BusId(16 * chip + 1) for chip in chips},
        "boards": [[{"board_id": FIRST_BOARD_ID + chip}, {"board_type": "p150"}, {"chips": [chip]}] for chip in chips],
        "asic_locations": dict.fromkeys(chips, 0),
        "chip_pci_bdfs": {chip: f"0000:{chip + 1:02x}:00.0" for chip in chips},
    }
    return yaml.dump(cluster, Dumper=_Dumper, sort_keys=False)


def _links(rows: int, columns: int) -> list[list[dict[str, int]]]:
    links = []
    for chip in range(rows * columns):
        row, column = divmod(chip, columns)
        neighbours = [(chip + 1, RIGHT)] if column + 1 < columns else []
        neighbours += [(chip + columns, DOWN)] if row + 1 < rows else []
        for neighbour, channels in neighbours:
            links += [[{"chip": chip, "chan": here}, {"chip": neighbour, "chan": there}] for here, there in channels]
    return links
