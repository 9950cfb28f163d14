# SPDX-License-Identifier: Apache-2.0
"""Which smaller numbers to try in place of a number, and which attributes are extents: what several passes share."""

from __future__ import annotations

from collections.abc import Iterator

SMALL = (1, 2, 3, 4)  # one element, an even split, an uneven one, an even split over four devices


def smaller(number: int) -> Iterator[int]:
    """Positive numbers below `number`: the smallest, then `number - 1` rounded down to ever finer powers of two.

    Taking the first that still fails, again and again, is a binary search. Its probes are round numbers wherever it
    starts from, so what was tried once is met again (and not run again), and even splits stay even until the last step.
    """
    yield from (small for small in SMALL if small < number)
    seen = SMALL[-1]
    for bit in reversed(range((number - 1).bit_length() if number > 1 else 0)):
        rounded = (number - 1) >> bit << bit
        if rounded > seen:
            seen = rounded
            yield rounded


def is_computed_with(key: str) -> bool:
    """Whether an attribute of this name is a number that elements are computed or compared with, not a size."""
    return key in ("value", "min", "max")
