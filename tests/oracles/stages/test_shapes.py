# SPDX-License-Identifier: Apache-2.0
"""Ops that rearrange elements: against numpy or a plain loop, on values that say where they came from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from oracles.stages.program import NotUnderstood, TensorType

Run = Callable[..., Any]
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


def positions(shape: Sequence[int]) -> torch.Tensor:
    """Every element holds its own flat position."""
    return torch.arange(math.prod(shape)).reshape(tuple(shape))


def typed(shape: Sequence[int]) -> list[TensorType]:
    return [TensorType(tuple(shape), "i64")]


@pytest.mark.parametrize(
    "name", ["stablehlo.reshape", "ttir.reshape", "ttnn.reshape", "ttir.squeeze", "ttir.unsqueeze"]
)
def test_reshape_keeps_the_row_major_order(run_op: Run, name: str) -> None:
    (result,) = run_op(name, [positions((2, 6))], typed((3, 1, 4)), {})
    assert result.tolist() == [[[0, 1, 2, 3]], [[4, 5, 6, 7]], [[8, 9, 10, 11]]]


@pytest.mark.parametrize("name", ["stablehlo.transpose", "ttir.permute", "ttnn.permute"])
@given(data=st.data(), shape=shapes)
def test_permute_is_the_transpose_of_numpy(run_op: Run, name: str, data: st.DataObject, shape: tuple[int, ...]) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    value = positions(shape)
    expected = value.numpy().transpose(order)
    (result,) = run_op(name, [value], typed(expected.shape), {"permutation": tuple(order)})
    assert np.array_equal(result.numpy(), expected)


@pytest.mark.parametrize("name", ["ttir.transpose", "ttnn.transpose"])
@pytest.mark.parametrize("dims", [(0, 2), (2, 0), (-1, 0), (1, 1)])
def test_transpose_swaps_two_dims(run_op: Run, name: str, dims: tuple[int, int]) -> None:
    expected = positions((2, 3, 4)).numpy().swapaxes(*dims)
    (result,) = run_op(name, [positions((2, 3, 4))], typed(expected.shape), {"dim0": dims[0], "dim1": dims[1]})
    assert np.array_equal(result.numpy(), expected)


@given(data=st.data(), shape=shapes, result=st.lists(st.integers(1, 4), min_size=3, max_size=4))
def test_broadcast_in_dim_reads_the_listed_dims(
    run_op: Run, data: st.DataObject, shape: tuple[int, ...], result: list[int]
) -> None:
    dims = sorted(data.draw(st.permutations(range(len(result))))[: len(shape)])
    value = positions([data.draw(st.sampled_from((1, result[dim]))) for dim in dims])
    (got,) = run_op("stablehlo.broadcast_in_dim", [value], typed(result), {"broadcast_dimensions": tuple(dims)})
    for place in itertools.product(*map(range, result)):
        source = tuple(place[dim] if size > 1 else 0 for dim, size in zip(dims, value.shape, strict=True))
        assert got[place] == value[source]


def test_broadcast_in_dim_of_a_scalar_fills(run_op: Run) -> None:
    (got,) = run_op("stablehlo.broadcast_in_dim", [torch.tensor(7)], typed((2, 2)), {"broadcast_dimensions": ()})
    assert got.tolist() == [[7, 7], [7, 7]]


def test_broadcast_in_dim_with_descending_dims_is_not_understood(run_op: Run) -> None:
    with pytest.raises(NotUnderstood, match="descending"):
        run_op("stablehlo.broadcast_in_dim", [positions((2, 3))], typed((3, 2)), {"broadcast_dimensions": (1, 0)})


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("ttir.broadcast", "broadcast_dimensions"),
        ("ttir.repeat", "repeat_dimensions"),
        ("ttnn.repeat", "repeat_dims"),
    ],
)
@given(data=st.data(), shape=shapes)
def test_multipliers_tile_every_dim(
    run_op: Run, name: str, attribute: str, data: st.DataObject, shape: tuple[int, ...]
) -> None:
    multipliers = [data.draw(st.integers(1, 3)) for _ in shape]
    expected = np.tile(positions(shape).numpy(), multipliers)
    (result,) = run_op(name, [positions(shape)], typed(expected.shape), {attribute: tuple(multipliers)})
    assert np.array_equal(result.numpy(), expected)


@pytest.mark.parametrize(
    ("name", "attribute"), [("ttir.broadcast", "broadcast_dimensions"), ("ttnn.repeat", "repeat_dims")]
)
def test_a_scalar_has_no_multipliers(run_op: Run, name: str, attribute: str) -> None:
    assert run_op(name, [torch.tensor(7)], typed(()), {attribute: ()})[0].item() == 7


@pytest.mark.parametrize("name", ["ttir.repeat_interleave", "ttnn.repeat_interleave"])
def test_repeat_interleave_repeats_slices_in_a_row(run_op: Run, name: str) -> None:
    (result,) = run_op(name, [positions((2, 2))], typed((2, 4)), {"repeats": 2, "dim": 1})
    assert result.tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]


@pytest.mark.parametrize(
    ("name", "attribute"), [("stablehlo.concatenate", "dimension"), ("ttir.concat", "dim"), ("ttnn.concat", "dim")]
)
@given(data=st.data(), shape=shapes, count=st.integers(1, 3))
def test_concat_puts_operands_one_behind_the_other(
    run_op: Run, name: str, attribute: str, data: st.DataObject, shape: tuple[int, ...], count: int
) -> None:
    dim = data.draw(st.integers(0, len(shape) - 1))
    parts = []
    for number in range(count):
        size = data.draw(st.integers(1, 3))
        parts.append(positions([size if d == dim else s for d, s in enumerate(shape)]) + 100 * number)
    expected = np.concatenate([part.numpy() for part in parts], dim)
    (result,) = run_op(name, parts, typed(expected.shape), {attribute: dim})
    assert np.array_equal(result.numpy(), expected)


SLICES = [
    ("stablehlo.slice", ("start_indices", "limit_indices", "strides")),
    ("ttir.slice_static", ("begins", "ends", "step")),
    ("ttnn.slice_static", ("begins", "ends", "step")),
]


@pytest.mark.parametrize(("name", "attributes"), SLICES)
@given(data=st.data(), size=st.integers(1, 9))
def test_slices_are_half_open_ranges_with_a_stride(
    run_op: Run, name: str, attributes: tuple[str, ...], data: st.DataObject, size: int
) -> None:
    begin = data.draw(st.integers(0, size))
    end = data.draw(st.integers(begin, size))
    stride = data.draw(st.integers(1, 4))
    expected = list(range(begin, end, stride))
    given_values = ((begin, 1), (end, 3), (stride, 1))
    (result,) = run_op(
        name, [positions((size, 3))], typed((len(expected), 2)), dict(zip(attributes, given_values, strict=True))
    )
    assert result.tolist() == [[3 * row + 1, 3 * row + 2] for row in expected]


@pytest.mark.parametrize("name", ["ttir.slice_static", "ttnn.slice_static"])
@pytest.mark.parametrize("bounds", [((-3,), (4,)), ((0,), (-1,))])
def test_negative_bounds_of_a_slice_are_not_understood(
    run_op: Run, name: str, bounds: tuple[tuple[int], tuple[int]]
) -> None:
    with pytest.raises(NotUnderstood, match="negative bound"):
        run_op(name, [positions((4,))], typed((3,)), {"begins": bounds[0], "ends": bounds[1], "step": (1,)})


@pytest.mark.parametrize("name", ["stablehlo.reverse", "ttir.reverse"])
def test_reverse_turns_the_listed_dims_around(run_op: Run, name: str) -> None:
    (result,) = run_op(name, [positions((2, 3))], typed((2, 3)), {"dimensions": (1,)})
    assert result.tolist() == [[2, 1, 0], [5, 4, 3]]
    (both,) = run_op(name, [positions((2, 3))], typed((2, 3)), {"dimensions": (0, 1)})
    assert both.tolist() == [[5, 4, 3], [2, 1, 0]]


# --- padding ---------------------------------------------------------------------------------------------------------


def padded_line(line: Sequence[int], filler: int, low: int, high: int, interior: int) -> list[int]:
    """StableHLO spec, pad, for one dim: spread, then add or cut at the edges."""
    spread = [n for element in line for n in (element, *[filler] * interior)][: -interior or None]
    after = [filler] * low + spread + [filler] * high
    return after[max(0, -low) : len(after) - max(0, -high)]


edges = st.tuples(st.integers(1, 4), st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 2))


@given(rows=edges, columns=edges)
def test_pad_spreads_and_then_adds_or_cuts_at_the_edges(
    run_op: Run, rows: tuple[int, ...], columns: tuple[int, ...]
) -> None:
    value = positions((rows[0], columns[0])) + 1
    lines = [padded_line(line, -1, *columns[1:]) for line in value.tolist()]
    expected = [
        list(line) for line in zip(*(padded_line(c, -1, *rows[1:]) for c in zip(*lines, strict=True)), strict=True)
    ]
    shape = [size + (size - 1) * interior + low + high for size, low, high, interior in (rows, columns)]
    assume(min(shape) >= 0)
    attributes = {
        "edge_padding_low": (rows[1], columns[1]),
        "edge_padding_high": (rows[2], columns[2]),
        "interior_padding": (rows[3], columns[3]),
    }
    (result,) = run_op("stablehlo.pad", [value, torch.tensor(-1)], typed(shape), attributes)
    assert result.numel() == 0 or result.tolist() == expected


def test_pad_may_cut_into_its_own_padding(run_op: Run) -> None:
    """Low 4 and high -7 of five elements leave two of the padding."""
    attributes = {"edge_padding_low": (4,), "edge_padding_high": (-7,), "interior_padding": (0,)}
    (result,) = run_op("stablehlo.pad", [torch.arange(5), torch.tensor(-1)], typed((2,)), attributes)
    assert result.tolist() == [-1, -1]


@pytest.mark.parametrize("name", ["ttir.pad", "ttnn.pad"])
@given(data=st.data(), shape=shapes)
def test_pad_of_tt_lists_low_and_high_of_every_dim(
    run_op: Run, name: str, data: st.DataObject, shape: tuple[int, ...]
) -> None:
    amounts = [(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in shape]
    expected = np.pad(positions(shape).numpy(), amounts, constant_values=-1)
    attributes = {"padding": tuple(itertools.chain(*amounts)), "value": -1.0}
    (result,) = run_op(name, [positions(shape)], typed(expected.shape), attributes)
    assert np.array_equal(result.numpy(), expected)


def test_negative_padding_of_tt_is_not_understood(run_op: Run) -> None:
    with pytest.raises(NotUnderstood, match="negative padding"):
        run_op("ttir.pad", [positions((4,))], typed((3,)), {"padding": (-1, 0), "value": 0.0})


def test_pad_fills_with_what_the_element_type_holds(run_op: Run) -> None:
    attributes = {"padding": (1, 0), "value": -3.4028234663852886e38}
    (result,) = run_op("ttnn.pad", [torch.ones(1).bfloat16()], [TensorType((2,), "bf16")], attributes)
    assert result.tolist() == [-math.inf, 1.0]
