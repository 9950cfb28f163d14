# SPDX-License-Identifier: Apache-2.0
"""Numbers of a layout: devices along a mesh axis, pieces of a dim, dims of a tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from fuzz.case import Case
from fuzz.reduce.edits import consistent, exchanged
from fuzz.reduce.passes.dims import extents, resized_parts
from fuzz.reduce.passes.ranks import drop_dims
from fuzz.vary.ranks import raised
from fuzz.vary.variation import Variation, affordable, listed, uneven

MOST_RANK = 6
DEVICES = (1, 2, 4, 8, 16, 32)


def device_counts(case: Case, devices: int) -> Iterator[Variation]:
    for axis in case.used_axes:
        size = case.mesh.sizes[axis]
        others = case.mesh.size // size
        counts = tuple(count for count in DEVICES if count * others <= devices)

        def at(count: int, axis: str = axis, size: int = size) -> Case | None:
            mesh = replace(case.mesh, shape=tuple((case.mesh.sizes | {axis: count}).values()))
            plain = consistent(case, mesh=mesh)
            if plain is not None and (uneven(case) or not uneven(plain)):
                return plain
            # What is split must divide: all extents that the old number divides grow with the number.
            grown = {place: extent // size * count for place, extent in extents(case).items() if extent % size == 0}
            return affordable(consistent(case, mesh=mesh, **resized_parts(case, grown)), case)

        if size in counts and len(counts) > 1:
            yield Variation(f"devices along {axis}", size, at, most=counts[-1], only=counts)


def shards(case: Case) -> Iterator[Variation]:
    """Pieces of one dim of one tensor; where only one is split, that is what the number of devices says."""
    split = [
        (field, at, dim, axes)
        for field in ("inputs", "nodes", "outputs")
        for at, holder in enumerate(getattr(case, field))
        for dim, axes in enumerate(holder.sharding or ())
        if axes
    ]
    for field, at, dim, axes in split:
        counts = [math.prod(case.mesh.sizes[axis] for axis in axes[:length]) for length in range(len(axes) + 1)]
        if len(split) == 1 and len(axes) == 1:
            continue

        def fewer(
            count: int,
            field: str = field,
            at: int = at,
            dim: int = dim,
            axes: tuple[str, ...] = axes,
            counts: list[int] = counts,
        ) -> Case | None:
            holder = getattr(case, field)[at]
            sharding = exchanged(holder.sharding, dim, axes[: counts.index(count)])
            changed = replace(holder, sharding=sharding)
            return consistent(case, **{field: exchanged(getattr(case, field), at, changed)})

        name = f"the result of {case.nodes[at].op}" if field == "nodes" else getattr(case, field)[at].name
        if field == "outputs":
            name = "the output" if len(case.outputs) == 1 else f"output {name}"
        yield Variation(f"shards of dim {dim} of {name}", counts[-1], fewer, most=counts[-1], only=tuple(counts))


def ranks(case: Case) -> Iterator[Variation]:
    highest = max((len(value.spec.shape) for value in case.inputs), default=0)
    elements = sum(value.spec.elements for value in case.inputs)

    def at(rank: int) -> Case | None:
        if rank == highest - 1:
            same = (c for c in drop_dims(case) if sum(value.spec.elements for value in c.inputs) == elements)
            return next(same, None)
        other: Case | None = case
        for _ in range(rank - highest):
            other = raised(other) if other is not None else None
        return other

    # A dim less or more changes what a graph of several ops means in too many ways.
    if len(case.nodes) == 1 and highest:
        names = [value.name for value in case.inputs if len(value.spec.shape) == highest]
        ranks = range(max(highest - 1, 1), max(highest + 2, MOST_RANK + 1))
        yield Variation(f"rank of {listed(names)}", highest, at, most=ranks[-1], only=tuple(ranks))
