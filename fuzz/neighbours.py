# SPDX-License-Identifier: Apache-2.0
"""Cases like a reduced one, but larger: a minimal case often fits several explanations, and its neighbours only one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fuzz.case import Case, Mesh
from fuzz.reduce.edits import consistent
from fuzz.reduce.passes.dims import extents, resized_parts

LARGEST = 1 << 16  # elements of an input; above it every run costs, and sizes tell little more


def neighbours(case: Case, topology: Mesh) -> Iterator[Case]:
    """The case with all extents doubled and tripled, and on twice the devices if there are so many.

    None of a case that torch rejects: a target may fail on one all the same.
    """
    if consistent(case) is None:
        return
    for factor, mesh in ((2, case.mesh), (3, case.mesh), *((2, mesh) for mesh in _doubled(case.mesh, topology))):
        new = {place: extent * factor for place, extent in extents(case).items()}
        parts = resized_parts(case, new)
        if all(value.spec.elements <= LARGEST for value in parts["inputs"]):
            grown = consistent(case, **parts, mesh=mesh)
            if grown is not None:
                yield grown


def _doubled(mesh: Mesh, topology: Mesh) -> Iterator[Mesh]:
    """With twice the devices along each axis that has more than one."""
    for position, size in enumerate(mesh.shape):
        larger = replace(mesh, shape=(*mesh.shape[:position], 2 * size, *mesh.shape[position + 1 :]))
        if size > 1 and larger.size <= topology.size:
            yield larger
