# SPDX-License-Identifier: Apache-2.0
"""Passes on the mesh: fewer devices, then fewer axes that hold more than one.

The canonical mesh has all its devices on the last axis (1x2, 1x4): row by row, as a user with a few chips has them.
Axes of size 1 keep their names, so that targets see the same rank of mesh.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from fuzz.case import Case, Mesh, Sharding
from fuzz.reduce.edits import propose


def shrink_mesh(case: Case) -> Iterator[Case]:
    """One device; a row of devices that keeps one axis' shardings, or all; smaller grids."""
    mesh = case.mesh
    last = mesh.axes[-1]
    used = [axis for axis, size in zip(mesh.axes, mesh.shape, strict=True) if size > 1]
    yield from _on(case, _row(mesh, 1), {})
    for devices in _divisors(mesh.size)[1:]:
        for axis in reversed(used):
            yield from _on(case, _row(mesh, devices), {axis: last})
        yield from _on(case, _row(mesh, devices), dict.fromkeys(used, last))
    for shape in sorted(itertools.product(*map(_divisors, mesh.shape)), key=lambda shape: (math.prod(shape), shape)):
        if sum(size > 1 for size in shape) > 1:
            yield from _on(case, replace(mesh, shape=shape), {axis: axis for axis in used})
            turned = dict(zip(mesh.axes, reversed(mesh.axes), strict=True))
            yield from _on(case, replace(mesh, shape=tuple(reversed(shape))), turned)


def _on(case: Case, mesh: Mesh, axes: Mapping[str, str]) -> Iterator[Case]:
    """The case on another mesh: axes renamed, those without a new name no longer used."""

    def moved(sharding: Sharding) -> Sharding:
        taken: set[str] = set()
        dims = []
        for dim in sharding:
            names = dict.fromkeys(axes[axis] for axis in dim if axis in axes and axes[axis] not in taken)
            taken.update(names)
            dims.append(tuple(names))
        return tuple(dims)

    yield from propose(
        case,
        mesh=mesh,
        inputs=tuple(replace(value, sharding=moved(value.sharding)) for value in case.inputs),
        nodes=tuple(n if n.sharding is None else replace(n, sharding=moved(n.sharding)) for n in case.nodes),
        outputs=tuple(o if o.sharding is None else replace(o, sharding=moved(o.sharding)) for o in case.outputs),
    )


def _row(mesh: Mesh, devices: int) -> Mesh:
    return replace(mesh, shape=(1,) * (len(mesh.axes) - 1) + (devices,))


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
