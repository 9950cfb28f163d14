# SPDX-License-Identifier: Apache-2.0
"""Payloads: the same numbers everywhere, in range, distinct where promised, and decodable."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.case import DTYPES, PAYLOAD_KINDS, CaseError, Payload, TensorSpec
from fuzz.ops import TORCH_DTYPES
from fuzz.payloads import BF16_POSITIONS, F32_POSITIONS, decode_position, values

RANGED = ("permutation", "boundary", "duplicates", "monotone", "random")
shapes = st.lists(st.integers(0, 9), max_size=4).map(tuple)
seeds = st.integers(0, 3)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PAYLOAD_KINDS), st.sampled_from(DTYPES), shapes, seeds)
def test_values_have_the_shape_and_dtype_of_the_spec_and_are_the_same_each_time(
    kind: str, dtype: str, shape: tuple[int, ...], seed: int
) -> None:
    spec = TensorSpec(shape or (1,), dtype)
    payload = Payload(kind, 0, 100, 0, seed)
    first, second = values(spec, payload), values(spec, payload)
    assert first.shape == spec.shape
    assert first.dtype == TORCH_DTYPES[dtype]
    assert torch.equal(first, second)


# Written down once: a change here changes every recorded case, and must raise the strategy version.
@pytest.mark.parametrize(
    ("payload", "dtype", "expected"),
    [
        (Payload("position"), "f32", [1, 2, 3, 4, 5, 6]),
        (Payload("small", seed=1), "i32", [2, -3, -4, 1, 3, -2]),
        (Payload("mask", seed=2), "bool", [0, 1, 1, 1, 1, 0]),
        (Payload("constant", 7), "i64", [7, 7, 7, 7, 7, 7]),
        (Payload("permutation", 0, 6), "i64", [5, 0, 2, 3, 1, 4]),
        (Payload("boundary", 0, 4100), "i64", [4099, 0, 4097, 4096, 4095, 2050]),
        (Payload("duplicates", 0, 100), "i64", [41, 20, 41, 2, 41, 20]),
        (Payload("monotone", 0, 11), "i64", [0, 2, 4, 6, 8, 10]),
        (Payload("random", -5, 100, seed=3), "i64", [-1, 30, 31, 72, 52, 39]),
    ],
    ids=PAYLOAD_KINDS,
)
def test_values_are_the_ones_written_down(payload: Payload, dtype: str, expected: list[int]) -> None:
    assert values(TensorSpec((6,), dtype), payload).tolist() == expected


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(RANGED), shapes, st.integers(-70000, 70000), st.integers(9, 1 << 25), seeds)
def test_index_values_lie_in_their_range(kind: str, shape: tuple[int, ...], low: int, extent: int, seed: int) -> None:
    made = values(TensorSpec((*shape, 3), "i64"), Payload(kind, low, low + extent, len(shape), seed))
    assert ((made >= low) & (made < low + extent)).all()


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple), st.integers(0, 30), seeds)
def test_a_permutation_repeats_nothing_along_its_dim(
    data: st.DataObject, shape: tuple[int, ...], spare: int, seed: int
) -> None:
    dim = data.draw(st.integers(0, len(shape) - 1))
    made = values(TensorSpec(shape, "i64"), Payload("permutation", 5, 5 + shape[dim] + spare, dim, seed))
    ordered = made.sort(dim).values
    assert (ordered.diff(dim=dim) > 0).all()


def test_the_lines_of_a_permutation_differ() -> None:
    """Equal rows would hide an index that reads another row's."""
    made = values(TensorSpec((16, 64), "i64"), Payload("permutation", 0, 64, 1))
    assert len({tuple(row) for row in made.tolist()}) == 16


def test_a_permutation_is_far_from_the_identity() -> None:
    made = values(TensorSpec((512,), "i64"), Payload("permutation", 0, 512))
    assert (made == torch.arange(512)).sum() < 10
    assert (made.diff().abs() == 1).sum() < 10


@pytest.mark.parametrize("kind", RANGED)
def test_an_index_payload_without_a_range_is_a_case_error(kind: str) -> None:
    with pytest.raises(CaseError, match="low < high"):
        values(TensorSpec((4,), "i64"), Payload(kind, 3, 3))


def test_a_permutation_of_too_few_integers_is_a_case_error() -> None:
    with pytest.raises(CaseError, match="5 distinct integers do not fit"):
        values(TensorSpec((5,), "i64"), Payload("permutation", 0, 4))


def test_a_permutation_along_a_missing_dim_is_a_case_error() -> None:
    with pytest.raises(CaseError, match="dim 2"):
        values(TensorSpec((5, 5), "i64"), Payload("permutation", 0, 8, 2))


@settings(max_examples=40, deadline=None)
@given(shapes, st.integers(1, 1 << 25), seeds)
def test_monotone_values_rise_from_the_low_end(shape: tuple[int, ...], extent: int, seed: int) -> None:
    made = values(TensorSpec((*shape, 2), "i64"), Payload("monotone", 3, 3 + extent, 0, seed)).flatten()
    assert (made.diff() >= 0).all()
    if made.numel():
        assert made[0] == 3
        assert made[-1] == 3 + extent - 1


def test_duplicates_repeat() -> None:
    made = values(TensorSpec((64,), "i64"), Payload("duplicates", 0, 1 << 20))
    assert 1 < made.unique().numel() <= 3


@pytest.mark.parametrize("boundary", [128, 257, 2049, 65535, (1 << 24) + 1])
def test_boundary_values_hit_what_the_range_holds(boundary: int) -> None:
    made = values(TensorSpec((256,), "i64"), Payload("boundary", 0, boundary + 5))
    assert boundary in made
    assert boundary + 4 in made
    assert 0 in made


def test_boundary_values_of_negative_positions_count_from_the_end() -> None:
    made = values(TensorSpec((256,), "i64"), Payload("boundary", -3000, 3000))
    assert {-2049, -3000, 2049, 2999} <= set(made.tolist())


@pytest.mark.parametrize("dtype", ["f32", "bf16", "i32", "i64"])
def test_small_values_are_nonzero_and_between_minus_4_and_4(dtype: str) -> None:
    made = values(TensorSpec((100,), dtype), Payload("small", seed=2))
    assert (made != 0).all()
    assert (made.abs() <= 4).all()


@pytest.mark.parametrize("kind", ["mask", "position"])
def test_masks_hold_about_as_many_true_as_false(kind: str) -> None:
    made = values(TensorSpec((1000,), "bool"), Payload(kind))
    assert 400 < int(made.sum()) < 600


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["f32", "bf16", "i32", "i64"]), st.lists(st.integers(0, 20), max_size=3).map(tuple))
def test_positions_decode_to_themselves(dtype: str, shape: tuple[int, ...]) -> None:
    made = values(TensorSpec(shape, dtype), Payload("position"))
    decoded = decode_position(dtype, shape, made)
    assert torch.equal(decoded, torch.arange(math.prod(shape)).reshape(shape))


def test_bf16_positions_are_distinct_normal_numbers_up_to_the_wrap() -> None:
    made = values(TensorSpec((BF16_POSITIONS,), "bf16"), Payload("position"))
    assert made.double().unique().numel() == BF16_POSITIONS
    assert made.isfinite().all()
    assert (made.double().abs() >= 2.0**-32).all()


def test_bf16_positions_wrap_at_a_prime() -> None:
    made = values(TensorSpec((BF16_POSITIONS + 2,), "bf16"), Payload("position"))
    assert decode_position("bf16", made.shape, made)[-2:].tolist() == [0, 1]


def test_f32_positions_wrap_where_f32_would_skip_integers() -> None:
    made = values(TensorSpec((F32_POSITIONS + 2,), "f32"), Payload("position"))
    assert made[-3:].tolist() == [F32_POSITIONS, 1, 2]


@pytest.mark.parametrize(
    ("dtype", "foreign"),
    [
        ("f32", [0.0, -1.0, 1.5, 13.0, math.nan, math.inf, 1e30]),
        ("bf16", [0.0, math.nan, math.inf, 1e30, -1e-30, 2.0**-32 * 1.5]),
        ("i64", [0, -1, 13, 1 << 62]),
        ("i32", [0, -1, 13]),
    ],
)
def test_values_that_encode_no_position_decode_to_minus_one(dtype: str, foreign: list[float]) -> None:
    decoded = decode_position(dtype, (3, 4), torch.tensor(foreign, dtype=TORCH_DTYPES[dtype]))
    assert decoded.tolist() == [-1] * len(foreign)


def test_truth_values_decode_to_no_position() -> None:
    assert decode_position("bool", (2,), torch.tensor([True, False])).tolist() == [-1, -1]
