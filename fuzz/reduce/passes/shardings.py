# SPDX-License-Identifier: Apache-2.0
"""Passes on shardings: fewer sharded tensors, fewer axes, fewer stated layouts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fuzz.case import Case, Sharding, replicated
from fuzz.reduce.edits import exchanged, propose


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sharding is stated: `field` of the case, position in it."""

    field: str
    at: int
    sharding: Sharding

    @property
    def used(self) -> int:
        """Number of mesh axes that split this tensor."""
        return sum(map(len, self.sharding))


def unshard_tensors(case: Case) -> Iterator[Case]:
    """Nothing sharded; one tensor alone sharded; inputs alone; one tensor less, most sharded first."""
    places = _places(case)
    yield from _stating(case, dict.fromkeys(places))
    sharded = [place for place in places if place.used]
    for kept in sharded if len(sharded) > 2 else ():
        yield from _stating(case, {place: None for place in places if place is not kept})
    yield from _stating(case, {place: None for place in places if place.field != "inputs"})
    for place in _most_sharded_first(places):
        yield from _stating(case, {place: None})


def unshard_axes(case: Case) -> Iterator[Case]:
    """One mesh axis less in one tensor, most sharded tensor first."""
    for place in _most_sharded_first(_places(case)):
        for dim, axes in enumerate(place.sharding):
            for axis in axes:
                rest = tuple(other for other in axes if other != axis)
                yield from _stating(case, {place: exchanged(place.sharding, dim, rest)})


def swap_axes(case: Case) -> Iterator[Case]:
    """Two mesh axes of one size exchanged everywhere, so that the first axis is the one used first."""
    mesh = case.mesh
    for at, first in enumerate(mesh.axes):
        for second in mesh.axes[at + 1 :]:
            if mesh.sizes[first] == mesh.sizes[second]:
                exchange = {first: second, second: first}
                yield from _stating(case, {p: _with_axes(p.sharding, exchange) for p in _places(case)})


def _with_axes(sharding: Sharding, names: dict[str, str]) -> Sharding:
    return tuple(tuple(names.get(axis, axis) for axis in axes) for axes in sharding)


def _places(case: Case) -> list[Place]:
    found = []
    for field in ("outputs", "nodes", "inputs"):
        for at, holder in enumerate(getattr(case, field)):
            if holder.sharding is not None:
                found.append(Place(field, at, holder.sharding))
    return found


def _most_sharded_first(places: Iterable[Place]) -> list[Place]:
    return sorted(places, key=lambda place: -place.used)


def _stating(case: Case, change: dict[Place, Sharding | None]) -> Iterator[Case]:
    """The case with other shardings at some places; None states nothing, which for an input is replicated."""
    fields = {field: list(getattr(case, field)) for field in ("inputs", "nodes", "outputs")}
    for place, sharding in change.items():
        holder = fields[place.field][place.at]
        if place.field == "inputs" and sharding is None:
            sharding = replicated(len(place.sharding))
        fields[place.field][place.at] = replace(holder, sharding=sharding)
    yield from propose(case, **{field: tuple(holders) for field, holders in fields.items()})
