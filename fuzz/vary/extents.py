# SPDX-License-Identifier: Apache-2.0
"""Extents: each dim of each input, with all that must be as large as it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from fuzz.case import Case, Input
from fuzz.payloads import values
from fuzz.reduce.edits import consistent, index_extents
from fuzz.reduce.passes.dims import Place, extents, resized_parts
from fuzz.vary.numbers import attribute_name
from fuzz.vary.variation import Variation, affordable, listed


def dims(case: Case) -> Iterator[Variation]:
    """Each dim of each input, with all that must have its extent; split and addressed ones first."""
    known = extents(case)
    addressed = {_addressed(case, value) for value in case.inputs}
    places = [place for place in known if place.key == "shape" and place.entry is not None and case.input(place.owner)]
    sharded = {
        Place(value.name, "shape", dim) for value in case.inputs for dim, axes in enumerate(value.sharding) if axes
    }
    seen: set[frozenset[Place]] = set()
    for place in sorted(places, key=lambda place: (place not in sharded, place not in addressed)):
        group = _group(case, known, place)
        if group is None or group in seen or any(group < other for other in seen):
            continue
        seen.add(group)

        def at(extent: int, group: frozenset[Place] = group) -> Case | None:
            return affordable(consistent(case, **resized_parts(case, dict.fromkeys(group, extent))), case)

        yield Variation(_named(case, group), known[place], at)


def _addressed(case: Case, value: Input) -> Place | None:
    """Not known from shapes alone; a dim named by attribute `dim` of an op on this input is meant."""
    for node in case.nodes:
        dim = node.keywords.get("dim", node.keywords.get("dims"))
        dim = dim[0] if isinstance(dim, tuple) and dim else dim
        if value.name in node.operands and isinstance(dim, int):
            return Place(value.name, "shape", dim % max(len(value.spec.shape), 1))
    return None


def _group(case: Case, known: Mapping[Place, int], place: Place) -> frozenset[Place] | None:
    """The fewest places that torch lets change together with this one, and the ranges of indices into all of it."""
    extent = known[place]
    equal = [other for other, size in known.items() if size == extent and other != place and other.key != "high"]
    for size in range(len(equal) + 1):
        for others in itertools.islice(itertools.combinations(equal, size), 64):
            group = frozenset((place, *others))
            if any(_valid(case, group, larger) for larger in (2 * extent, extent + 1)):
                return group | _ranges(case, group, extent)
    return None


def _valid(case: Case, group: frozenset[Place], extent: int) -> bool:
    return consistent(case, **resized_parts(case, dict.fromkeys(group, extent))) is not None


def _ranges(case: Case, group: frozenset[Place], extent: int) -> frozenset[Place]:
    """Ends of the ranges of indices that name all of the dim: they follow it."""
    larger = consistent(case, **resized_parts(case, dict.fromkeys(group, 2 * extent)))
    if larger is None:
        return frozenset()
    before, after = index_extents(case), index_extents(larger)
    return frozenset(
        Place(value.name, "high")
        for value in case.inputs
        if value.name in before
        and value.payload.high == before[value.name] == extent
        and after[value.name] == 2 * extent
        and value.payload.kind != "constant"
    )


def _named(case: Case, group: frozenset[Place]) -> str:
    """The places in words: dim 0 of x0 and x1, classes of one_hot, indexed whole by x2."""
    dims: dict[int, list[str]] = {}
    others, ranges = [], []
    for place in sorted(group, key=lambda place: (place.owner, place.entry or 0)):
        if place.key == "high":
            ranges.append(place.owner)
        elif case.input(place.owner) and place.entry is not None:
            dims.setdefault(place.entry, []).append(place.owner)
        else:
            others.append(attribute_name(case, place))
    words = [f"dim {dim} of {listed(names)}" for dim, names in dims.items()] + others
    repeated = [name for dim in dims for name in dims[dim] if _names_one_place(case, name)]
    said = listed(words)
    if ranges:
        said += f", all of it indexed by {listed(ranges)}"
    return f"{said} (times {listed(repeated)} names one place)" if repeated else said


def _names_one_place(case: Case, name: str) -> bool:
    value = case.input(name)
    if value is None or name not in index_extents(case) or value.spec.elements < 2:
        return False
    numbers = values(value.spec, value.payload)
    return bool((numbers == numbers.flatten()[0]).all())
