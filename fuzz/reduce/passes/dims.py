# SPDX-License-Identifier: Apache-2.0
"""Passes on extents: smaller dims, fewer dims.

An extent usually stands in several places: dims of inputs, numbers in attributes, ends of index ranges. Each candidate
changes some of these places together and leaves it to torch to say whether the result is consistent.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypedDict

from fuzz.case import Attribute, Case, Input, Node
from fuzz.reduce.edits import propose, refilled
from fuzz.reduce.order import names_dim
from fuzz.reduce.passes.numbers import is_computed_with, smaller
from fuzz.reduce.passes.reshape import reshaped

# Below this many elements two dims are as easy to read as one; above it, what fails may be the size of a flat index.
FLAT = 64


class Place(NamedTuple):
    """Where an extent stands: `shape` or `high` of an input, or an attribute of a node; for tuples, in which entry."""

    owner: str
    key: str
    entry: int | None = None


def shrink_everything(case: Case) -> Iterator[Case]:
    """All extents cut to one small number: most faults do not care about sizes."""
    for most in (1, 2, 4):
        yield from resize(case, {place: min(extent, most) for place, extent in extents(case).items()})


def collapse_extents(case: Case) -> Iterator[Case]:
    """One extent cut to 1 or 2: what does not matter goes before what does is measured."""
    yield from _shrink(case, lambda extent: (1, 2))


def shrink_extents(case: Case) -> Iterator[Case]:
    """One extent smaller, by a search for the smallest."""
    yield from _shrink(case, smaller)


def _shrink(case: Case, sizes: Callable[[int], Iterable[int]]) -> Iterator[Case]:
    known = extents(case)
    for places in _groups(known):
        old = known[places[0]]
        for new in sizes(old):
            if new < old:
                for changed in _resize_somehow(case, known, places, old, new):
                    yield from refilled(case, changed)


def _resize_somehow(
    case: Case, known: Mapping[Place, int], places: tuple[Place, ...], old: int, new: int
) -> Iterator[Case]:
    """One extent changed alone, or, where torch rejects that, with one change elsewhere that makes it valid."""
    alone = dict.fromkeys(places, new)
    # Multiples of the extent may have to shrink with it, or another extent in proportion, rounded.
    multiples = {place: extent // old * new for place, extent in known.items() if extent % old == 0}
    scaled = (
        alone | {other: rounded}
        for other, extent in known.items()
        if other not in alone
        for rounded in dict.fromkeys((-(-extent * new // old), extent * new // old))
        if 0 < rounded < extent
    )
    for attempt in (alone, multiples, *scaled):
        changed = tuple(resize(case, attempt))
        if changed:
            yield from changed
            return


def _groups(known: Mapping[Place, int]) -> Iterable[tuple[Place, ...]]:
    """Places of one extent to change together, largest extent first.

    All of them; those that are the same dim of several tensors, with scalars and without; single ones; pairs.
    """
    groups: list[tuple[Place, ...]] = []
    for extent in sorted({extent for extent in known.values() if extent > 1}, reverse=True):
        equal = tuple(place for place, other in known.items() if other == extent)
        dims = sorted({place.entry for place in equal if place.entry is not None})
        groups.append(equal)
        groups += (tuple(place for place in equal if place.entry in (dim, None)) for dim in dims)
        groups += (tuple(place for place in equal if place.entry == dim) for dim in dims)
        # An input of one number shrinks with what it indexes, or alone by another pass.
        groups += ((place,) for place in equal if place.key != "high")
        groups += (pair for pair in itertools.combinations(equal, 2) if pair[0].owner != pair[1].owner)
    return dict.fromkeys(groups)


def flatten_dims(case: Case) -> Iterator[Case]:
    """One dim of size 1 and another as large as both were: for faults in flat positions, whatever the shape."""
    known = extents(case)
    columns = {
        (gone, kept, value.spec.shape[gone], value.spec.shape[kept])
        for value in case.inputs
        for gone, kept in itertools.permutations(range(len(value.spec.shape)), 2)
    }
    # The last dim is the first to be kept: its neighbours in memory are neighbours in print.
    for gone, kept, old, size in sorted(columns, key=lambda column: (column[0], -column[1], column[2:])):
        if min(old, size) > 1 and old * size > FLAT:
            grown = {p: old * size for p, extent in known.items() if extent == size and p.entry in (kept, None)}
            flat = {p: 1 for p, extent in known.items() if extent == old and p.entry == gone}
            # Indices may be shorter than what they index.
            flatter = {p: 1 for p in known if p.key == "shape" and p.entry == gone}
            yield from dict.fromkeys((*resize(case, grown | flat), *resize(case, grown | flatter)))


# --- changing extents ------------------------------------------------------------------------------------------------


def extents(case: Case) -> dict[Place, int]:
    """All positive numbers that may be extents, in the order in which they stand in the case."""
    found: dict[Place, int] = {}
    for value in case.inputs:
        found |= {Place(value.name, "shape", dim): extent for dim, extent in enumerate(value.spec.shape)}
        found[Place(value.name, "high")] = value.payload.high
    for node in case.nodes:
        for key, number in node.attributes:
            if not _is_extent(key, number):
                continue
            if isinstance(number, tuple):
                found |= {Place(node.name, key, entry): item for entry, item in enumerate(number)}
            elif isinstance(number, int):
                found[Place(node.name, key)] = number
    return {place: extent for place, extent in found.items() if extent > 0}


def resize(case: Case, new: Mapping[Place, int], inputs: tuple[Input, ...] = ()) -> Iterator[Case]:
    """The case with other extents in some places, where that is simpler; reshapes follow their operands.

    `inputs`, if given, stand in place of the case's own and are resized too.
    """
    resized = resized_parts(case, new, inputs)
    if (resized["inputs"], resized["nodes"]) != (case.inputs, case.nodes):
        yield from propose(case, **resized)


class Parts(TypedDict):
    """Fields of a case."""

    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]


def resized_parts(case: Case, new: Mapping[Place, int], inputs: tuple[Input, ...] = ()) -> Parts:
    """Inputs (those of the case, or others) and nodes with other extents in some places; torch may reject them."""
    inputs = tuple(_resized_input(value, new) for value in inputs or case.inputs)
    nodes = tuple(_resized_node(node, new) for node in case.nodes)
    return {"inputs": inputs, "nodes": reshaped(case, inputs, nodes)}


def _resized_input(value: Input, new: Mapping[Place, int]) -> Input:
    payload = value.payload
    shape = tuple(new.get(Place(value.name, "shape", dim), extent) for dim, extent in enumerate(value.spec.shape))
    high = new.get(Place(value.name, "high"), payload.high)
    low = payload.low
    if low == -payload.high:
        # The range of negative positions mirrors the extent.
        low = -high
    elif low == payload.high - 1 > 0:
        # The only position named is the last one, and stays it.
        low = high - 1
    return replace(value, spec=replace(value.spec, shape=shape), payload=replace(payload, low=low, high=high))


def _resized_node(node: Node, new: Mapping[Place, int]) -> Node:
    def resized(key: str, number: Attribute) -> Attribute:
        if isinstance(number, tuple):
            return tuple(new.get(Place(node.name, key, entry), item) for entry, item in enumerate(number))
        return new.get(Place(node.name, key), number)

    return replace(node, attributes=tuple((key, resized(key, number)) for key, number in node.attributes))


def _is_extent(key: str, number: Attribute) -> bool:
    """Sizes and positions are; numbers of dims, numbers computed with and flags are not."""
    other = names_dim(key) or is_computed_with(key)
    return not other and isinstance(number, int | tuple) and not isinstance(number, bool)
