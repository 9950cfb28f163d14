# SPDX-License-Identifier: Apache-2.0
"""Passes on what is computed with rather than on how: dtypes, attributes, compile options."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from fuzz.case import Attribute, Case, Input, Node
from fuzz.reduce.edits import exchanged, index_extents, propose
from fuzz.reduce.order import DATA_KINDS, DTYPES, ONE_IS_SIMPLEST, attribute_size, names_dim
from fuzz.reduce.passes.numbers import is_computed_with, smaller


def drop_options(case: Case) -> Iterator[Case]:
    """No compile options; one less."""
    yield from propose(case, options=())
    for option in case.options:
        yield from propose(case, options=tuple(other for other in case.options if other is not option))


def simplify_dtypes(case: Case) -> Iterator[Case]:
    """One dtype in place of another in all data and attributes; then in one input, in one attribute."""
    indices = index_extents(case)
    for old in reversed(DTYPES):
        for new in DTYPES[: DTYPES.index(old)]:
            names = {value.name for value in case.inputs if value.spec.dtype == old and value.name not in indices}
            yield from propose(
                case,
                inputs=tuple(_typed(value, new) if value.name in names else value for value in case.inputs),
                nodes=tuple(_replaced(node, "dtype", old, new) for node in case.nodes),
            )
    for at, value in enumerate(case.inputs):
        for new in DTYPES[: DTYPES.index(value.spec.dtype)]:
            yield from propose(case, inputs=exchanged(case.inputs, at, _typed(value, new)))
    for at, node in enumerate(case.nodes):
        for new in DTYPES:
            changed = _replaced(node, "dtype", node.keywords.get("dtype"), new)
            yield from propose(case, nodes=exchanged(case.nodes, at, changed))


def simplify_attributes(case: Case) -> Iterator[Case]:
    """A range moved to start at 0; then one attribute at a time, simplest value first; then two numbers exchanged."""
    for at, node in enumerate(case.nodes):
        for attributes in _simpler_attributes(node.keywords):
            changed = replace(node, attributes=tuple(attributes.items()))
            yield from propose(case, nodes=exchanged(case.nodes, at, changed))


def _simpler_attributes(attributes: dict[str, Attribute]) -> Iterator[dict[str, Attribute]]:
    start, end = attributes.get("start"), attributes.get("end")
    if isinstance(start, int) and isinstance(end, int):
        yield attributes | {"start": 0, "end": end - start}
    for key, value in attributes.items():
        for simpler in _simpler(key, value):
            yield attributes | {key: simpler}
    dims = [key for key, value in attributes.items() if names_dim(key) and isinstance(value, int)]
    for first, second in itertools.combinations(dims, 2):
        yield attributes | {first: attributes[second], second: attributes[first]}


def _simpler(key: str, value: Attribute) -> Iterator[Attribute]:
    """Other values to try, by their size; passes on extents try more for those that are extents."""
    options: list[Attribute] = []
    if isinstance(value, tuple):
        options = [exchanged(value, entry) for entry in range(len(value))]
        options += [value[:-2], *(exchanged(value, entry, 0) for entry in range(len(value)))]
        options += [_swapped(value, *pair) for pair in itertools.combinations(range(len(value)), 2)]
    elif isinstance(value, bool):
        options = [False]
    elif isinstance(value, int):
        origin = int(key in ONE_IS_SIMPLEST)
        options = [origin, -value, *(range(value) if names_dim(key) else ())]
        if is_computed_with(key):
            options += [origin + distance for distance in smaller(value - origin)]
            options += [origin - distance for distance in smaller(origin - value)]
    elif isinstance(value, float):
        options = [float(key in ONE_IS_SIMPLEST), float(int(value)), -value]
    yield from sorted(dict.fromkeys(options), key=lambda option: attribute_size(key, option))


def _swapped(items: tuple[int, ...], first: int, second: int) -> tuple[int, ...]:
    swapped = list(items)
    swapped[first], swapped[second] = items[second], items[first]
    return tuple(swapped)


def _typed(value: Input, dtype: str) -> Input:
    kind = DATA_KINDS[0] if value.payload.kind == "mask" else value.payload.kind
    return replace(value, spec=replace(value.spec, dtype=dtype), payload=replace(value.payload, kind=kind))


def _replaced(node: Node, key: str, old: Attribute, new: Attribute) -> Node:
    return replace(node, attributes=tuple((k, new if (k, v) == (key, old) else v) for k, v in node.attributes))
