# SPDX-License-Identifier: Apache-2.0
"""Reads and writes by index in TTIR and TTNN: against a plain loop over every index, and against torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.stages.numerics import EXACT, WIDE
from oracles.stages.program import NotUnderstood, TensorType

Run = Callable[..., Any]
EXAMPLES = 60


@dataclass(frozen=True)
class Rows:
    """A table of [batch, *sizes, rest] and an index of [batch or 1, components, positions]."""

    batch: int
    sizes: tuple[int, ...]
    windows: tuple[int, ...]
    rest: int | None  # None: the op reads single elements (`column`)
    index: torch.Tensor

    @property
    def table(self) -> torch.Tensor:
        shape = (self.batch, *self.sizes, *(() if self.rest is None else (self.rest,)))
        return torch.arange(1, math.prod(shape) + 1).reshape(shape)

    @property
    def updates(self) -> torch.Tensor:
        """As many as there are places, all different."""
        count = self.index.shape[2] * math.prod(self.windows)
        shape = (self.batch, count) if self.rest is None else (self.batch, count, self.rest)
        return torch.arange(1, math.prod(shape) + 1).reshape(shape) * 1000

    @property
    def attributes(self) -> dict[str, Any]:
        return {"column": self.rest is None, "sizes": self.sizes, "windows": self.windows}

    def places(self, batch: int) -> Iterator[tuple[int, tuple[int, ...], tuple[int, ...]]]:
        """(number of the update, where its window starts, offset in the window), in order."""
        index = self.index[batch if self.index.shape[0] > 1 else 0]
        numbers = itertools.count()
        for position in range(index.shape[1]):
            start = tuple(index[:, position].tolist())
            for offset in itertools.product(*map(range, self.windows)):
                yield next(numbers), start, offset

    def inside(self, start: Sequence[int]) -> bool:
        return all(0 <= at <= size - w for at, size, w in zip(start, self.sizes, self.windows, strict=True))

    def clamped(self, start: Sequence[int]) -> tuple[int, ...]:
        return tuple(min(max(at, 0), size - w) for at, size, w in zip(start, self.sizes, self.windows, strict=True))


def plus(start: Sequence[int], offset: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(start, offset, strict=True))


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    """Starts reach two beyond the table on both sides."""
    batch = draw(st.integers(1, 3))
    sizes = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=2)))
    windows = tuple(draw(st.integers(1, size)) for size in sizes)
    count = draw(st.integers(1, 4))
    shared = draw(st.booleans())
    index = torch.tensor(
        [
            [[draw(st.integers(-2, size + 1)) for _ in range(count)] for size in sizes]
            for _ in range(1 if shared else batch)
        ]
    )
    return Rows(batch, sizes, windows, draw(st.sampled_from((None, 1, 3))), index)


@pytest.mark.parametrize("dialect", ["ttir", "ttnn"])
@pytest.mark.parametrize("fill", [False, True])
@settings(max_examples=EXAMPLES)
@given(case=rows())
def test_rows_gather_reads_a_window_at_every_index(run_op: Run, dialect: str, fill: bool, case: Rows) -> None:
    """Outside: zeros with `fill_out_of_bounds`, else the nearest window inside."""
    table = case.table
    expected = torch.zeros_like(case.updates)
    for batch in range(case.batch):
        for number, start, offset in case.places(batch):
            if case.inside(start) or not fill:
                expected[batch, number] = table[(batch, *plus(case.clamped(start), offset))]
    (result,) = run_op(
        f"{dialect}.rows_gather", [table, case.index], [TensorType(tuple(expected.shape), "i64")],
        case.attributes | {"fill_out_of_bounds": fill},
    )  # fmt: skip
    assert torch.equal(result, expected)


@pytest.mark.parametrize("dialect", ["ttir", "ttnn"])
@pytest.mark.parametrize(
    ("reduction", "combine"),
    [
        ("invalid", lambda old, new: new),
        ("sum", lambda old, new: old + new),
        ("max", torch.maximum),
        ("min", torch.minimum),
    ],
)
@settings(max_examples=EXAMPLES)
@given(case=rows())
def test_rows_scatter_writes_a_window_at_every_index_in_order(
    run_op: Run, dialect: str, reduction: str, combine: Callable[..., torch.Tensor], case: Rows
) -> None:
    """The last of several at one place wins; a window that reaches outside is dropped as a whole."""
    expected, updates = case.table.clone(), case.updates
    for batch in range(case.batch):
        for number, start, offset in case.places(batch):
            if case.inside(start):
                place = (batch, *plus(start, offset))
                expected[place] = combine(expected[place], updates[batch, number])
    (result,) = run_op(
        f"{dialect}.rows_scatter", [case.table, case.index, updates], [TensorType(tuple(expected.shape), "i64")],
        case.attributes | {"reduce": reduction},
    )  # fmt: skip
    assert torch.equal(result, expected)


def test_rows_scatter_leaves_its_operand_alone(run_op: Run) -> None:
    case = Rows(1, (4,), (1,), 2, torch.tensor([[[1, 2]]]))
    table = case.table
    run_op(
        "ttnn.rows_scatter", [table, case.index, case.updates], [TensorType((1, 4, 2), "i64")],
        case.attributes | {"reduce": "sum"},
    )  # fmt: skip
    assert torch.equal(table, case.table)


def test_rows_scatter_multiplies(run_op: Run) -> None:
    case = Rows(1, (3,), (1,), None, torch.tensor([[[1, 1]]]))
    (result,) = run_op(
        "ttir.rows_scatter", [case.table, case.index, torch.tensor([[5, 7]])], [TensorType((1, 3), "i64")],
        case.attributes | {"reduce": "prod"},
    )  # fmt: skip
    assert result.tolist() == [[1, 70, 3]]


SCATTERED = Rows(1, (4,), (1,), 2, torch.tensor([[[0, 1]]]))


@pytest.mark.parametrize(
    "changed",
    [
        {"sizes": (4, 1)},  # two sizes, one component
        {"windows": (1, 1)},
        {"reduce": "mean"},
        {"windows": (2,)},  # more places than updates
    ],
)
def test_rows_that_do_not_fit_are_not_understood(run_op: Run, changed: dict[str, Any]) -> None:
    attributes = SCATTERED.attributes | {"reduce": "sum"} | changed
    with pytest.raises(NotUnderstood):
        run_op(
            "ttir.rows_scatter", [SCATTERED.table, SCATTERED.index, SCATTERED.updates],
            [TensorType((1, 4, 2), "i64")], attributes,
        )  # fmt: skip


def test_truth_values_are_scattered_but_not_added(run_op: Run) -> None:
    operands = [torch.tensor([[True, True]]), torch.tensor([[[0]]]), torch.tensor([[False]])]
    attributes = {"column": True, "sizes": (2,), "windows": (1,)}
    (result,) = run_op("ttir.rows_scatter", operands, [TensorType((1, 2), "i1")], attributes | {"reduce": "invalid"})
    assert result.tolist() == [[False, True]]
    with pytest.raises(NotUnderstood, match="truth values"):
        run_op("ttir.rows_scatter", operands, [TensorType((1, 2), "i1")], attributes | {"reduce": "sum"})


def test_a_sum_of_integers_wraps_in_its_own_type(run_op: Run) -> None:
    operands = [torch.tensor([[65535]], dtype=torch.int32), torch.tensor([[[0]]]), torch.tensor([[2]])]
    attributes = {"column": True, "sizes": (1,), "windows": (1,), "reduce": "sum"}
    assert run_op("ttnn.rows_scatter", operands, [TensorType((1, 1), "ui16")], attributes, EXACT)[0].item() == 1
    assert run_op("ttnn.rows_scatter", operands, [TensorType((1, 1), "ui16")], attributes, WIDE)[0].item() == 65537


# --- gather, scatter, index_select, embedding ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ttir.gather", "ttnn.gather"])
@given(data=st.data(), dim=st.integers(0, 1))
def test_gather_is_that_of_torch(run_op: Run, name: str, data: st.DataObject, dim: int) -> None:
    value = torch.arange(12).reshape(3, 4)
    index = torch.tensor([[data.draw(st.integers(0, value.shape[dim] - 1)) for _ in range(3)] for _ in range(2)])
    (result,) = run_op(name, [value, index], [TensorType((2, 3), "i64")], {"dim": dim})
    for i, j in itertools.product(range(2), range(3)):
        at = int(index[i, j])
        assert result[i, j] == (value[at, j] if dim == 0 else value[i, at])


@pytest.mark.parametrize("bad", [-1, 4])
@pytest.mark.parametrize("name", ["ttir.gather", "ttnn.gather"])
def test_gather_out_of_range_is_not_understood(run_op: Run, name: str, bad: int) -> None:
    with pytest.raises(NotUnderstood, match="out of range"):
        run_op(name, [torch.arange(4), torch.tensor([bad])], [TensorType((1,), "i64")], {"dim": 0})


@pytest.mark.parametrize("name", ["ttir.scatter", "ttnn.scatter"])
@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("invalid", [20, 30, 3]),
        ("sum", [31, 32, 3]),
        ("prod", [200, 60, 3]),
        ("max", [20, 30, 3]),
        ("min", [1, 2, 3]),
    ],
)
def test_scatter_combines_in_order_with_what_is_there(
    run_op: Run, name: str, reduction: str, expected: list[int]
) -> None:
    operands = [torch.tensor([1, 2, 3]), torch.tensor([0, 1, 0]), torch.tensor([10, 30, 20])]
    attributes = {"dim": 0, "scatter_reduce_type": reduction}
    assert run_op(name, operands, [TensorType((3,), "i64")], attributes)[0].tolist() == expected
    assert operands[0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("bad", [-1, 3])
def test_scatter_out_of_range_is_not_understood(run_op: Run, bad: int) -> None:
    operands = [torch.arange(3), torch.tensor([bad]), torch.tensor([10])]
    with pytest.raises(NotUnderstood, match="out of range"):
        run_op("ttir.scatter", operands, [TensorType((3,), "i64")], {"dim": 0, "scatter_reduce_type": "sum"})


def test_index_select_reads_a_strided_range(run_op: Run) -> None:
    attributes = {"dim": 1, "begin": 1, "end": 6, "step": 2}
    (result,) = run_op("ttir.index_select", [torch.arange(12).reshape(2, 6)], [TensorType((2, 3), "i64")], attributes)
    assert result.tolist() == [[1, 3, 5], [7, 9, 11]]


@pytest.mark.parametrize("name", ["ttir.embedding", "ttnn.embedding"])
@pytest.mark.parametrize("weight_shape", [(4, 3), (1, 1, 4, 3)])
def test_embedding_reads_rows_at_indices_of_any_shape(run_op: Run, name: str, weight_shape: tuple[int, ...]) -> None:
    weight = torch.arange(12.0).reshape(weight_shape)
    index = torch.tensor([[0, 3], [3, 1]])
    (result,) = run_op(name, [index, weight], [TensorType((2, 2, 3), "f32")], {})
    assert torch.equal(result, weight.reshape(4, 3)[index])
