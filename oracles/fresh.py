# SPDX-License-Identifier: Apache-2.0
"""Other inputs for a case, of the same kind: what a fault model must predict before it is believed."""

from __future__ import annotations

from dataclasses import replace

import torch

from fuzz.case import Case, Input, TensorSpec
from fuzz.payloads import values
from oracles.reference import InvalidCase, reference
from oracles.scene import Inputs

ATTEMPTS = 24  # seeds tried before a case is said to have no more inputs
WINDOW = 600  # elements; with all attempts they stay below the positions that bf16 can hold
SEEDED = frozenset({"permutation", "random", "duplicates", "boundary", "mask", "small"})


def fresh_inputs(case: Case, count: int) -> tuple[Inputs, ...]:
    """Up to `count` sets of input values, all different and different from the case's own. Deterministic."""
    seen = [{value.name: values(value.spec, value.payload) for value in case.inputs}]
    for attempt in range(1, ATTEMPTS + 1):
        # Inputs of one recipe must differ, or nobody can tell one from the other.
        candidate = {value.name: _varied(value, attempt + place) for place, value in enumerate(case.inputs)}
        if len(seen) <= count and _defined(case, candidate) and not any(_equal(candidate, known) for known in seen):
            seen.append(candidate)
    return tuple(seen[1:])


def _varied(value: Input, attempt: int) -> torch.Tensor:
    """Values of the same kind or of the same range, other ones or in other places."""
    spec, payload = value.spec, value.payload
    own = values(spec, payload)
    if payload.kind in SEEDED:
        return values(spec, replace(payload, seed=payload.seed + attempt))
    if own.dtype == torch.bool or payload.kind == "constant" or not own.numel():
        return own
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
