# SPDX-License-Identifier: Apache-2.0
"""The same strategies outside a test: (strategy version, seed, index) gives the same case on any machine.

Hypothesis' own provider mixes constants from whatever modules are loaded into its draws, so a draw would depend on the
process. The provider here takes every choice from one seeded stream instead, through the interface Hypothesis
documents for alternative backends.
"""

from __future__ import annotations

import hashlib
import threading
from functools import lru_cache
from random import Random

from hypothesis.internal.conjecture.data import ConjectureData
from hypothesis.internal.conjecture.providers import COLLECTION_DEFAULT_MAX_SIZE, PrimitiveProvider
from hypothesis.internal.intervalsets import IntervalSet
from hypothesis.strategies import SearchStrategy

from fuzz.case import Case
from fuzz.strategies.cases import cases
from fuzz.strategies.space import STRATEGY_VERSION, Space

# Threads of a campaign draw at once; neither Hypothesis' caches nor torch's inference of shapes promise to bear that.
_DRAWING = threading.Lock()


class SeededProvider(PrimitiveProvider):
    """Every choice from one `random.Random`, uniform within its bounds."""

    def __init__(self, data: ConjectureData | None, /, *, stream: Random) -> None:
        super().__init__(data)
        self._stream = stream

    def draw_boolean(self, p: float = 0.5) -> bool:
        return self._stream.random() < p

    def draw_integer(
        self,
        min_value: int | None = None,
        max_value: int | None = None,
        *,
        weights: dict[int, float] | None = None,
        shrink_towards: int = 0,
    ) -> int:
        low = -(1 << 31) if min_value is None else min_value
        high = (1 << 31) if max_value is None else max_value
        # random() is the only draw whose sequence Python promises to keep across versions; 2**53 covers our ranges.
        return low + int(self._stream.random() * (high - low + 1))

    def draw_float(
        self,
        *,
        min_value: float = -1.0,
        max_value: float = 1.0,
        allow_nan: bool = True,
        smallest_nonzero_magnitude: float,
    ) -> float:
        return min_value + self._stream.random() * (max_value - min_value)

    def draw_string(
        self, intervals: IntervalSet, *, min_size: int = 0, max_size: int = COLLECTION_DEFAULT_MAX_SIZE
    ) -> str:
        size = self.draw_integer(min_size, min(max_size, min_size + 10))
        return "".join(chr(intervals[self.draw_integer(0, len(intervals) - 1)]) for _ in range(size))

    def draw_bytes(self, min_size: int = 0, max_size: int = COLLECTION_DEFAULT_MAX_SIZE) -> bytes:
        size = self.draw_integer(min_size, min(max_size, min_size + 10))
        return bytes(self.draw_integer(0, 255) for _ in range(size))


def sample(space: Space, seed: int, index: int) -> Case:
    """Case number `index` of the stream of that seed. A pure function of its arguments."""
    return draw_seeded(_cases(space), f"{STRATEGY_VERSION}/{seed}/{index}")


def draw_seeded(strategy: SearchStrategy[Case], key: str) -> Case:
    """One draw of a strategy from the stream named by `key`."""
    stream = Random(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))
    data = ConjectureData(random=None, provider=SeededProvider, provider_kw={"stream": stream})
    with _DRAWING:
        return data.draw(strategy)


@lru_cache(maxsize=16)
def _cases(space: Space) -> SearchStrategy[Case]:
    return cases(space)
