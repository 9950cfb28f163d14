# SPDX-License-Identifier: Apache-2.0
"""Which part of the input space a campaign draws from."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz.case import DTYPES, Mesh

# Bump when a change to strategies, ops' draw functions or payload recipes gives other cases for the same seed.
STRATEGY_VERSION = 3


@dataclass(frozen=True, slots=True)
class Space:
    """Bounds of generation. Empty `ops` means every registered op."""

    meshes: tuple[Mesh, ...]
    dtypes: tuple[str, ...] = DTYPES
    ops: tuple[str, ...] = ()
    memory_limit: int = 1 << 30  # bytes of all values of one case together, unsharded
