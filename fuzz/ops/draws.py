# SPDX-License-Identifier: Apache-2.0
"""The few kinds of choice that cases are drawn from, all of them integers.

Their strategies are kept: to make one takes longer than to draw from it, and a case needs forty.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

T = TypeVar("T")


def integer(draw: DrawFn, low: int, high: int) -> int:
    """Inclusive on both ends."""
    return draw(_integers(low, high))


def choose(draw: DrawFn, options: Sequence[T]) -> T:
    """One of the options, all equally likely; earlier ones are simpler."""
    return options[draw(_integers(0, len(options) - 1)) if len(options) > 1 else 0]


def chance(draw: DrawFn, percent: int) -> bool:
    """Whether something happens that happens so often."""
    return draw(_integers(0, 99)) < percent


@lru_cache(maxsize=1024)
def _integers(low: int, high: int) -> SearchStrategy[int]:
    return st.integers(low, high)
