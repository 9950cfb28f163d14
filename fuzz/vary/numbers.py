# SPDX-License-Identifier: Apache-2.0
"""Numbers that are computed with: the largest value of an input, and attributes of ops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fuzz.case import Attribute, Case, Input, Node
from fuzz.ops.core import INTEGERS, run_graph
from fuzz.payloads import values
from fuzz.reduce.edits import consistent, exchanged, index_extents
from fuzz.reduce.order import ONE_IS_SIMPLEST, RANGED_KINDS
from fuzz.reduce.passes.dims import Place
from fuzz.vary.variation import MOST_ELEMENTS, Variation, affordable

MOST_VALUE = (1 << 31) - 1
MOST_WRITTEN = 128  # a constant that every dtype holds
WRITTEN = frozenset({"value", "min", "max"})
POSITIONS = frozenset({"shift", "index", "start", "end", "step", "k", "pads"})


def largest_values(case: Case) -> Iterator[Variation]:
    """The largest element of an input whose payload has a range; an index stays inside what it indexes."""
    indexed = index_extents(case)
    for number, value in enumerate(case.inputs):
        payload = value.payload
        if payload.kind not in RANGED_KINDS or value.spec.dtype not in INTEGERS or not value.spec.elements:
            continue
        kind = "constant" if value.spec.elements == 1 else payload.kind

        def at(largest: int, number: int = number, value: Input = value, kind: str = kind) -> Case | None:
            low, high = (largest, largest + 1) if kind == "constant" else (value.payload.low, largest + 1)
            if high <= low:
                return None
            changed = replace(value, payload=replace(value.payload, kind=kind, low=low, high=high))
            other = consistent(case, inputs=exchanged(case.inputs, number, changed))
            return other if other is not None and _largest(other.inputs[number]) == largest else None

        now = _largest(value)
        if now >= 0:
            role = "index" if value.name in indexed else "value"
            most = indexed.get(value.name, MOST_VALUE + 1) - 1
            yield Variation(f"largest {role} in {value.name}", now, at, least=max(payload.low, 0), most=most)


def _largest(value: Input) -> int:
    return int(values(value.spec, value.payload).max())


def attributes(case: Case) -> Iterator[Variation]:
    """Whole numbers in attributes, one at a time; those that must follow an extent are in `dims`."""
    # A shift or a position far behind the end of what it is about says nothing.
    most_position = 2 * max((size for value in case.inputs for size in value.spec.shape), default=1) + 2
    for at, node in enumerate(case.nodes):
        for key, value in node.attributes:
            entries = enumerate(value) if isinstance(value, tuple) and key != "shape" else [(None, value)]
            for entry, number in entries:
                if "dim" in key or isinstance(number, bool) or not isinstance(number, int) or number < 0:
                    continue
                place = Place(node.name, key, entry)

                def changed(new: int, at: int = at, node: Node = node, place: Place = place) -> Case | None:
                    attributes = tuple((k, _with(v, place, new) if k == place.key else v) for k, v in node.attributes)
                    nodes = exchanged(case.nodes, at, replace(node, attributes=attributes))
                    other = affordable(consistent(case, nodes=nodes), case)
                    return other if other is not None and _defined(other) else None

                least = int(key in ONE_IS_SIMPLEST and key != "value")
                most = MOST_WRITTEN if key in WRITTEN else most_position if key in POSITIONS else MOST_ELEMENTS
                yield Variation(attribute_name(case, place), number, changed, least=least, most=most)


def _defined(case: Case) -> bool:
    """Whether torch takes the values of the inputs too, not only their shapes: a position may be out of range."""
    try:
        run_graph(case, {value.name: values(value.spec, value.payload) for value in case.inputs}, "cpu")
    except (RuntimeError, IndexError, ValueError):
        return False
    return True


def _with(value: Attribute, place: Place, new: int) -> Attribute:
    return exchanged(value, place.entry, new) if isinstance(value, tuple) and place.entry is not None else new


def attribute_name(case: Case, place: Place) -> str:
    """For example: shift of roll, pads[1] of pad."""
    node = case.node(place.owner)
    op = node.op if node else place.owner
    owner = place.owner if sum(other.op == op for other in case.nodes) > 1 else op
    return f"{place.key} of {owner}" if place.entry is None else f"{place.key}[{place.entry}] of {owner}"
