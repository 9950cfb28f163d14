# SPDX-License-Identifier: Apache-2.0
"""Passes on input values: simpler recipes, fewer different numbers, smaller ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from fuzz.case import Case, Input, Payload
from fuzz.payloads import values
from fuzz.reduce.edits import FEW, SEEDED_KINDS, SEEDS, index_extents, propose
from fuzz.reduce.order import DATA_KINDS, RANGED_KINDS
from fuzz.reduce.passes.dims import Place, extents, resize
from fuzz.reduce.passes.numbers import smaller

# The first numbers that have not fitted where indices were kept: 7, 8, 9, 11, 12, 16 and 24 bits, and one more, odd.
BOUNDARIES = tuple((1 << bits) + odd for bits in (7, 8, 9, 11, 12, 16, 24) for odd in (0, 1))
# Numbers of one input to try alone: its ends, and some between.
PINNED = 6
# Larger inputs take longer to make than a run of a target.
LARGE = 1 << 16


def simplify_payloads(case: Case) -> Iterator[Case]:
    """All inputs at once with the simplest values, then the first seeds; then one input at a time."""
    indices = index_extents(case)
    kinds = {value.name: _kinds(value, value.name in indices) for value in case.inputs}
    yield from _feeding(case, {value.name: _plain(value, kinds[value.name][0]) for value in case.inputs})
    yield from _feeding(case, {value.name: replace(value.payload, seed=0) for value in case.inputs})
    for value in case.inputs:
        for kind in kinds[value.name]:
            for payload in _recipes(value, kind):
                yield from _feeding(case, {value.name: payload})
        for other in case.inputs:
            if other.spec == value.spec:
                yield from _feeding(case, {value.name: other.payload, other.name: value.payload})
        yield from _feeding(case, {value.name: replace(value.payload, low=0)})
        yield from _feeding(case, {value.name: replace(value.payload, seed=0)})


def pin_values(case: Case) -> Iterator[Case]:
    """One number alone in place of an input's different ones, in one element where that is possible.

    What fails at some index only is found here: smaller inputs made by the same recipe rarely hold that index.
    """
    for value in case.inputs:
        if value.payload.kind in RANGED_KINDS and value.spec.elements <= LARGE:
            ones = {Place(value.name, "shape", dim): 1 for dim in range(len(value.spec.shape))}
            for number in _telling(value):
                pinned = _with_payload(case, value, _only(number))
                yield from resize(case, ones, pinned)
                yield from propose(case, inputs=pinned)


def shrink_values(case: Case) -> Iterator[Case]:
    """A number that fills an input, nearer to 0; and what it indexes, no larger than it has to be."""
    indexed = index_extents(case)
    for value in case.inputs:
        filling = _filling(value)
        if filling is None:
            continue
        yield from _feeding(case, {value.name: _only(filling)})
        extent = indexed.get(value.name)
        if extent is not None:
            yield from _jump(case, value, filling, extent)
        # The last position of a dim shrinks with the dim.
        if extent is None or filling != extent - 1:
            for distance in (0, *smaller(abs(filling))):
                yield from _feeding(case, {value.name: _only(distance if filling > 0 else -distance)})


def _jump(case: Case, value: Input, position: int, extent: int) -> Iterator[Case]:
    """A position where others have failed before, or the same, as the last one of what it indexes."""
    places = [place for place, size in extents(case).items() if size == extent and place.key != "high"]
    for number in (*BOUNDARIES, position):
        for group in (places, *([place] for place in places)) if 0 <= number <= position else ():
            yield from resize(case, dict.fromkeys(group, number + 1), _with_payload(case, value, _only(number)))


def _telling(value: Input) -> list[int]:
    """Some of the numbers an input holds, if it holds several: both ends first, then evenly from between."""
    numbers = sorted({int(number) for number in values(value.spec, value.payload).flatten().tolist()})
    if len(numbers) < 2:
        return []
    between = [numbers[len(numbers) * part // PINNED] for part in range(1, PINNED)]
    return list(dict.fromkeys((numbers[-1], numbers[0], *between)))


def _filling(value: Input) -> int | None:
    """The number that all elements of an input are, if they are one and a range says which."""
    if value.payload.kind not in RANGED_KINDS or value.spec.elements > LARGE:
        return None
    numbers = values(value.spec, value.payload)
    return int(numbers.min()) if bool(numbers.min() == numbers.max()) else None


def _only(number: int) -> Payload:
    """One number in all elements; of the kinds that can say so the simplest."""
    return Payload("monotone", number, number + 1)


def _kinds(value: Input, index: bool) -> tuple[str, ...]:
    """Payload kinds that could do, simplest first. A range may matter to an op whose operand is not called an index."""
    if index:
        return RANGED_KINDS
    data = ("mask",) if value.spec.dtype == "bool" else DATA_KINDS
    return data + RANGED_KINDS if value.payload.kind in RANGED_KINDS else data


def _recipes(value: Input, kind: str) -> Iterator[Payload]:
    """The ways to fill an input with this kind."""
    # Only a permutation has a dim; for an index of rank 2 it may have to be another one than the first.
    for dim in range(len(value.spec.shape)) if kind == "permutation" else (0,):
        for seed in SEEDS if kind in SEEDED_KINDS and value.spec.elements <= FEW else (0,):
            yield replace(_plain(value, kind), dim=dim, seed=seed)


def _plain(value: Input, kind: str) -> Payload:
    """A payload of this kind with nothing else stated; ranges stay, where the kind has one."""
    return replace(value.payload, kind=kind, dim=0, seed=0) if kind in RANGED_KINDS else Payload(kind)


def _with_payload(case: Case, value: Input, payload: Payload) -> tuple[Input, ...]:
    return tuple(replace(other, payload=payload) if other is value else other for other in case.inputs)


def _feeding(case: Case, payloads: Mapping[str, Payload]) -> Iterator[Case]:
    yield from propose(
        case,
        inputs=tuple(replace(value, payload=payloads.get(value.name, value.payload)) for value in case.inputs),
    )
