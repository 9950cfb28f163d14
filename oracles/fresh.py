# SPDX-License-Identifier: Apache-2.0
"""Other inputs for a case, of the same kind: what a fault model must predict before it is believed."""

from __future__ import annotations

from dataclasses import replace

import torch

from fuzz.case import Case, Input, TensorSpec
from fuzz.ops.core import INTEGERS, get, specs
from fuzz.payloads import values
from oracles.reference import InvalidCase, reference
from oracles.scene import Inputs

ATTEMPTS = 24  # seeds tried before a case is said to have no more inputs
WINDOW = 600  # elements; with all attempts they stay below the positions that bf16 can hold
SEEDED = frozenset({"permutation", "random", "duplicates", "boundary", "mask", "small"})


def fresh_inputs(case: Case, count: int) -> tuple[Inputs, ...]:
    """Up to `count` sets of input values, all different and different from the case's own. Deterministic."""
    seen = [{value.name: values(value.spec, value.payload) for value in case.inputs}]
    extents = _index_extents(case)
    for attempt in range(1, ATTEMPTS + 1):
        # Inputs of one recipe must differ, or nobody can tell one from the other.
        candidate = {
            value.name: _varied(value, attempt + place, extents.get(value.name))
            for place, value in enumerate(case.inputs)
        }
        if len(seen) <= count and _defined(case, candidate) and not any(_equal(candidate, known) for known in seen):
            seen.append(candidate)
    return tuple(seen[1:])


def _index_extents(case: Case) -> dict[str, int]:
    """For inputs that are indices: how many positions they may name."""
    known = specs(case)
    extents: dict[str, int] = {}
    for node in case.nodes:
        op = get(node.op)
        for position, addressed in op.indices:
            data = known[node.operands[op.data[0]]]
            dim = node.keywords["dim"] if addressed == "dim" else addressed
            extent = data.shape[dim] if isinstance(dim, int) else data.elements
            extents[node.operands[position]] = min(extent, extents.get(node.operands[position], extent))
    return extents


def _varied(value: Input, attempt: int, extent: int | None) -> torch.Tensor:
    """Values of the same kind, others or in other places; indices also from all that they may name, if so many."""
    spec, payload = value.spec, value.payload
    if extent is not None and attempt % 2 and spec.dtype in INTEGERS:
        return values(spec, replace(payload, kind="random", low=0, high=extent, seed=attempt))
    own = values(spec, payload)
    if payload.kind in SEEDED:
        return values(spec, replace(payload, seed=payload.seed + attempt))
    if own.dtype == torch.bool or not own.numel():
        return own
    if payload.kind == "constant":
        return own + attempt if extent is None else own
    way = attempt % 3
    if payload.kind == "position" and way and own.numel() <= WINDOW:
        # The next values of the recipe, as if the tensor went on: they tell elements apart as well as its own.
        longer = values(TensorSpec((own.numel() * (attempt + 1),), spec.dtype), payload)
        return longer[-own.numel() :].reshape(own.shape)
    if way == 0 and payload.kind == "monotone":
        return values(spec, replace(payload, kind="random", seed=attempt))
    if way == 0 and own.numel() == 1 and not own.is_floating_point():
        low, high = int(own.min()), int(own.max()) + 1
        return values(spec, replace(payload, kind="random", low=min(low, 0), high=high, seed=attempt))
    return own.flatten().roll(attempt).reshape(own.shape)


def _defined(case: Case, inputs: Inputs) -> bool:
    try:
        reference(case, inputs)
    except InvalidCase:
        return False
    return True


def _equal(one: Inputs, other: Inputs) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)
