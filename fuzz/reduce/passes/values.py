# SPDX-License-Identifier: Apache-2.0
"""Passes on what is computed with rather than on how: payloads, dtypes, attributes, compile options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from fuzz.case import Attribute, Case, Input, Node, Payload
from fuzz.reduce.edits import exchanged, index_extents, propose
from fuzz.reduce.order import DATA_KINDS, DTYPES, ONE_IS_SIMPLEST, RANGED_KINDS, attribute_size


def drop_options(case: Case) -> Iterator[Case]:
    """No compile options; one less."""
    yield from propose(case, options=())
    for option in case.options:
        yield from propose(case, options=tuple(other for other in case.options if other is not option))


def simplify_payloads(case: Case) -> Iterator[Case]:
    """All inputs at once with the simplest values, then the first seeds; then one input at a time."""
    indices = index_extents(case)
    kinds = {value.name: _kinds(value, value.name in indices) for value in case.inputs}
    yield from _feeding(case, {value.name: _plain(value, kinds[value.name][0]) for value in case.inputs})
    yield from _feeding(case, {value.name: replace(value.payload, seed=0) for value in case.inputs})
    for value in case.inputs:
        payload = value.payload
        for kind in kinds[value.name]:
            # Only a permutation has a dim; for an index of rank 2 it may have to be another one than the first.
            for dim in range(len(value.spec.shape)) if kind == "permutation" else (0,):
                yield from _feeding(case, {value.name: replace(_plain(value, kind), dim=dim)})
        yield from _feeding(case, {value.name: replace(payload, low=0)})
        yield from _feeding(case, {value.name: replace(payload, seed=0)})


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
    """A range moved to start at 0; then one attribute at a time, simplest value first."""
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


def _simpler(key: str, value: Attribute) -> Iterator[Attribute]:
    """Other values to try, by their size; passes on extents try more for those that are extents."""
    options: list[Attribute] = []
    if isinstance(value, tuple):
        options = [exchanged(value, entry) for entry in range(len(value))]
    elif isinstance(value, bool):
        options = [False]
    elif isinstance(value, int):
        options = [int(key in ONE_IS_SIMPLEST), -value, *(range(value) if "dim" in key else ())]
    elif isinstance(value, float):
        options = [float(key in ONE_IS_SIMPLEST), float(int(value)), -value]
    yield from sorted(options, key=lambda option: attribute_size(key, option))


def _kinds(value: Input, index: bool) -> tuple[str, ...]:
    """Payload kinds that could do, simplest first. A range may matter to an op whose operand is not called an index."""
    if index:
        return RANGED_KINDS
    data = ("mask",) if value.spec.dtype == "bool" else DATA_KINDS
    return data + RANGED_KINDS if value.payload.kind in RANGED_KINDS else data


def _plain(value: Input, kind: str) -> Payload:
    """A payload of this kind with nothing else stated; ranges stay, where the kind has one."""
    return replace(value.payload, kind=kind, dim=0, seed=0) if kind in RANGED_KINDS else Payload(kind)


def _typed(value: Input, dtype: str) -> Input:
    kind = DATA_KINDS[0] if value.payload.kind == "mask" else value.payload.kind
    return replace(value, spec=replace(value.spec, dtype=dtype), payload=replace(value.payload, kind=kind))


def _replaced(node: Node, key: str, old: Attribute, new: Attribute) -> Node:
    return replace(node, attributes=tuple((k, new if (k, v) == (key, old) else v) for k, v in node.attributes))


def _feeding(case: Case, payloads: Mapping[str, Payload]) -> Iterator[Case]:
    yield from propose(
        case,
        inputs=tuple(replace(value, payload=payloads.get(value.name, value.payload)) for value in case.inputs),
    )
