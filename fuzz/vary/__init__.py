# SPDX-License-Identifier: Apache-2.0
"""The numbers of a case that can be varied while all others stay: for each, the case with another value.

What has to change together (a dim of two tensors, a size and the range of an index into it) is one number. The search
for the values at which a failure begins is in `fuzz.boundary`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.case import Case
from fuzz.vary.extents import dims
from fuzz.vary.layout import device_counts, ranks, shards
from fuzz.vary.numbers import attributes, largest_values
from fuzz.vary.reach import Reach, reach
from fuzz.vary.variation import Variation

__all__ = ["Reach", "Variation", "reach", "variations"]


def variations(case: Case, devices: int) -> Iterator[Variation]:
    """All numbers worth varying, most telling first. `devices`: how many a mesh may have.

    Raises CaseError for a graph torch rejects.
    """
    yield from device_counts(case, devices)
    yield from shards(case)
    yield from ranks(case)
    yield from largest_values(case)
    yield from dims(case)
    yield from attributes(case)
