# SPDX-License-Identifier: Apache-2.0
"""A graph under construction: what the `draw` functions of ops and motifs work with.

A scope hands out operands that fit (an earlier value, or a new input with a fitting payload), so that every graph is
valid by construction. It knows for integer values the range they lie in, because only those may serve as indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis.strategies import DrawFn, SearchStrategy

from fuzz.case import Attribute, Input, Node, Payload, TensorSpec, replicated
from fuzz.ops import draws
from fuzz.ops.core import FLOATS, INTEGERS, Accumulates, Chooses, Moves, get, infer

T = TypeVar("T")

# Integers of up to 25 bits lose digits in f32, and a sum of 64 of them still fits 32 bits.
WIDE_INTEGERS = 1 << 25
# Sizes on which tiles (32), shards (2, 4, 8) and index widths divide or just do not; the odd ones are their own class.
DIM_SIZES = (8, 4, 16, 32, 2, 64, 24, 12)
ODD_SIZES = (1, 3, 5, 7, 9, 17, 31, 33)


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the graph. `low` and `high` bound integer values, half open; None where nothing is known."""

    name: str
    spec: TensorSpec
    low: int | None = None
    high: int | None = None
    distinct: bool = False  # no two elements are equal, so that orderings have no ties
    constant: bool = False  # made in the graph (arange), not fed
    exact: bool = True  # the same in all correct implementations, so that discontinuous ops may read it
    open: bool = False  # positions that ties may leave open: an output, but nothing another op may read

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @property
    def rank(self) -> int:
        return len(self.spec.shape)

    @property
    def dtype(self) -> str:
        return self.spec.dtype


@dataclass
class Scope:
    """Collects inputs and nodes while strategies draw them."""

    drawer: DrawFn
    dtypes: tuple[str, ...]  # data dtypes allowed
    max_elements: int  # of one value
    inputs: list[Input] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    def draw(self, strategy: SearchStrategy[T]) -> T:
        return self.drawer(strategy)

    def choose(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely; earlier ones are simpler."""
        return draws.choose(self.drawer, options)

    def chance(self, percent: int) -> bool:
        return draws.chance(self.drawer, percent)

    def integer(self, low: int, high: int) -> int:
        """Inclusive on both ends."""
        return draws.integer(self.drawer, low, high)

    # --- shapes ---------------------------------------------------------------------------------------------------

    def size(self) -> int:
        """One dim: mostly divisible by shard counts, sometimes not."""
        return self.choose(ODD_SIZES) if self.chance(12) else self.choose(DIM_SIZES)

    def shape(self, min_rank: int = 1, max_rank: int = 5, limit: int | None = None) -> tuple[int, ...]:
        """Ranks 2 and 3 are the most common, as in models; large ones get small dims. At most `limit` elements."""
        common = [rank for rank in (2, 2, 2, 3, 3, 1, 4, 5) if min_rank <= rank <= max_rank]
        rank = self.choose(common or [min_rank])
        shape: list[int] = []
        budget = min(self.max_elements, 1 << 14) if limit is None else min(self.max_elements, 1 << 14, limit)
        for left in range(rank, 0, -1):
            size = self.size()
            if size * (2 ** (left - 1)) > budget:
                size = min(2, max(budget, 1))
            budget //= max(size, 1)
            shape.append(size)
        return tuple(shape)

    @property
    def readable(self) -> list[Value]:
        """Earlier values that other ops may read."""
        return [value for value in self.values if not value.open]

    # --- operands -------------------------------------------------------------------------------------------------

    def data(
        self,
        min_rank: int = 1,
        max_rank: int = 5,
        dtypes: Sequence[str] | None = None,
        distinct: bool = False,
        exact: bool = False,
    ) -> Value:
        """A value to read from: an earlier one that fits, or a new input (which is exact)."""
        allowed = [dtype for dtype in self.dtypes if dtypes is None or dtype in dtypes] or list(dtypes or self.dtypes)
        fitting = [
            v
            for v in self.readable
            if min_rank <= v.rank <= max_rank
            and v.dtype in allowed
            and (v.distinct or not distinct)
            and (v.exact or not exact)
        ]
        if fitting and self.chance(65):
            return fitting[-1] if self.chance(60) else self.choose(fitting)
        return self.new_data(self.shape(min_rank, max_rank), self.choose(allowed), distinct=distinct)

    def like(self, shape: tuple[int, ...], dtype: str, *, exact: bool = False) -> Value:
        """A value of exactly this shape and dtype."""
        fitting = [v for v in self.readable if v.shape == shape and v.dtype == dtype and (v.exact or not exact)]
        if fitting and self.chance(40):
            return self.choose(fitting)
        return self.new_data(shape, dtype)

    def new_data(self, shape: tuple[int, ...], dtype: str, *, distinct: bool = False, small: bool = False) -> Value:
        """A new input. Position-encoding by default; small nonzero integers where sums should stay exact."""
        if dtype == "i32" and not (distinct or small) and self.chance(25):
            # Not i64: products would leave the 32 bits that the TT compiler has for them.
            return self._input(shape, dtype, Payload("boundary", -WIDE_INTEGERS, WIDE_INTEGERS, 0, self.integer(0, 3)))
        if dtype == "bool":
            kind = "mask"
        else:
            kind = "position" if distinct or not (small or self.chance(15)) else "small"
        payload = Payload(kind, seed=self.integer(0, 3))
        return self._input(shape, dtype, payload, distinct=kind == "position" and dtype != "bf16")

    def new_ranked(self, shape: tuple[int, ...], dtype: str, dim: int, *, negative: bool = False) -> Value:
        """A new input without ties along `dim`, in pseudo-random order: what orderings need. `negative`: all below 0.

        bf16 holds consecutive integers to 256 only: `shape[dim]` must not exceed that for it.
        """
        count = max(shape[dim], 128)
        low, high = (-count, 0) if negative else (0, count)
        return self._input(shape, dtype, Payload("permutation", low, high, dim, self.integer(0, 3)))

    def mask(self, shape: tuple[int, ...]) -> Value:
        return self.like(shape, "bool")

    def index(self, shape: tuple[int, ...], extent: int, *, negative: bool = False) -> Value:
        """Integers valid as positions in a dim of `extent`; negative ones only where the op defines them."""
        fitting = [
            v
            for v in self.readable
            if v.shape == shape and v.dtype == "i64" and v.low is not None and v.high is not None
            and v.low >= (-extent if negative else 0) and v.high <= extent
        ]  # fmt: skip
        if fitting and self.chance(60):
            return self.choose(fitting)
        return self.new_index(shape, extent, negative=negative)

    def new_index(
        self,
        shape: tuple[int, ...],
        extent: int,
        *,
        kinds: Sequence[str] = (),
        negative: bool = False,
        low: int = 0,
    ) -> Value:
        """A new index input: random, boundaries, duplicates, monotone or constant; none below `low`."""
        options = kinds or ("random", "boundary", "duplicates", "monotone", "random", "constant")
        low = -extent if negative and self.chance(25) else low
        return self._input(shape, "i64", Payload(self.choose(options), low, extent, 0, self.integer(0, 3)))

    def new_unique_index(self, shape: tuple[int, ...], extent: int, dim: int = 0) -> Value:
        """Positions without duplicates along `dim`: what an overwriting scatter needs to be defined.

        `shape[dim]` must not exceed `extent`.
        """
        return self._input(shape, "i64", Payload("permutation", 0, extent, dim, self.integer(0, 3)))

    def _input(self, shape: tuple[int, ...], dtype: str, payload: Payload, distinct: bool = False) -> Value:
        name = f"x{len(self.inputs)}"
        spec = TensorSpec(shape, dtype)
        self.inputs.append(Input(name, spec, payload, replicated(len(shape))))
        indexes = payload.high > payload.low and dtype in INTEGERS
        value = Value(
            name, spec, payload.low if indexes else None, payload.high if indexes else None, distinct=distinct
        )
        self.values.append(value)
        return value

    # --- nodes ----------------------------------------------------------------------------------------------------

    def apply(
        self,
        op: str,
        *operands: Value,
        low: int | None = None,
        high: int | None = None,
        distinct: bool = False,
        **attributes: Attribute,
    ) -> Value:
        """Add a node. `low`/`high` state the range of an integer result; movement of ranged integers keeps theirs."""
        pairs = tuple(sorted(attributes.items()))
        spec = infer(op, [operand.spec for operand in operands], pairs)
        name = f"v{len(self.nodes)}"
        self.nodes.append(Node(name, op, tuple(operand.name for operand in operands), pairs))
        if low is None and spec.dtype in INTEGERS:
            low, high = self._moved_range(op, operands)
        semantics = get(op).semantics
        value = Value(
            name,
            spec,
            low,
            high,
            distinct=distinct,
            constant=not operands,
            exact=all(operand.exact for operand in operands)
            and not (isinstance(semantics, Accumulates) and spec.dtype in FLOATS),
            # Whoever knows that nothing ties states the range of the positions.
            open=isinstance(semantics, Chooses) and low is None,
        )
        self.values.append(value)
        return value

    @staticmethod
    def _moved_range(op: str, operands: Sequence[Value]) -> tuple[int | None, int | None]:
        semantics = get(op).semantics
        if not isinstance(semantics, Moves) or semantics.constant is not None or not operands:
            return None, None
        sources = [operands[i] for i in semantics.data if i < len(operands)]
        lows = [v.low for v in sources if v.low is not None]
        highs = [v.high for v in sources if v.high is not None]
        if len(lows) != len(sources) or len(highs) != len(sources):
            return None, None
        return min(lows), max(highs)


def is_float(value: Value) -> bool:
    return value.dtype in FLOATS
