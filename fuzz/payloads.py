# SPDX-License-Identifier: Apache-2.0
"""Input values from their recipes, and the way back from a position-encoding value to its position.

Every value is closed-form integer arithmetic on its flat position, so a recipe means the same numbers on every machine
and with every library version; no random generator is involved.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from fuzz.case import CaseError, Payload, TensorSpec
from fuzz.ops.core import TORCH_DTYPES

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

# Largest prime below 2^24, the last range f32 holds without gaps. Wrapping at a prime keeps the wrap from aligning
# with any power-of-two stride, so that a wrong element never carries the right value by accident.
F32_POSITIONS = 16777213
# bf16 positions are bit patterns: 2 signs x 64 exponents around 1.0 x 128 fractions = 16384; the largest prime below.
BF16_POSITIONS = 16381
BF16_EXPONENTS_HALF = 64 * 128
BF16_FIRST_PATTERN = (127 - 32) << 7

# Nonzero, and as many as a prime, so that no row or column of an even shape repeats its neighbour.
SMALL = np.array((1, -2, 3, 4, -1, 2, -3, -4, 1, 3, -2, 2, -1), dtype=np.int64)

# Where index arithmetic has failed: significands of bf16 (8 bits), f32 through a matrix unit (11) and f32 (24), narrow
# integers, and tiles. Odd neighbours matter: rounding leaves even values alone.
BOUNDARIES = (1, *range(127, 130), *range(255, 258), *range(511, 514), *range(2047, 2051), *range(4095, 4098),
              *range(65535, 65538), *range((1 << 24) - 1, (1 << 24) + 2))  # fmt: skip


def values(spec: TensorSpec, payload: Payload) -> torch.Tensor:
    """The input as a CPU tensor of the spec's shape and dtype.

    Raises CaseError where the payload needs a range and has none, or has too few integers for distinct ones.
    """
    make = _KINDS.get(payload.kind)
    if make is None:
        raise CaseError(f"unknown payload {payload.kind!r}; known: {tuple(_KINDS)}")
    if payload.kind in _RANGED and payload.high <= payload.low:
        raise CaseError(f"payload {payload.kind!r} needs low < high, got [{payload.low}, {payload.high})")
    if payload.kind == "position" and spec.dtype == "bf16":
        return _bf16_positions(spec.elements).reshape(spec.shape)
    return torch.from_numpy(make(spec, payload)).reshape(spec.shape).to(TORCH_DTYPES[spec.dtype])


def decode_position(dtype: str, shape: tuple[int, ...], observed: torch.Tensor) -> torch.Tensor:
    """Flat positions (int64, shaped like `observed`) that the values of a `position` payload of `shape` stand for.

    -1 where a value encodes none. Beyond the wrap (16777213 elements of f32, 16381 of bf16) the first position that
    carries the value; bool values identify no position.
    """
    elements = math.prod(shape)
    if dtype == "bool":
        return torch.full(observed.shape, -1, dtype=torch.int64)
    if dtype == "bf16":
        pattern = observed.to(torch.bfloat16).contiguous().view(torch.int16).to(torch.int64)
        rest = (pattern & 0x7FFF) - BF16_FIRST_PATTERN
        position = rest + BF16_EXPONENTS_HALF * (pattern < 0)
        held = (rest >= 0) & (rest < BF16_EXPONENTS_HALF) & (position < min(elements, BF16_POSITIONS))
    else:
        limit = min(elements, F32_POSITIONS) if dtype == "f32" else elements
        # Range first: converting a NaN or a huge float to an integer is undefined.
        held = (observed >= 1) & (observed <= limit)
        position = torch.where(held, observed, 1).to(torch.int64) - 1
        held &= position + 1 == observed
    return torch.where(held, position, -1)


# --- kinds: flat int64 (or bool) arrays -------------------------------------------------------------------------------


def _positions(spec: TensorSpec) -> Integers:
    return np.arange(spec.elements, dtype=np.int64)


def _hash(numbers: Integers, seed: int) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit of the input reaches every bit of the output."""
    with np.errstate(over="ignore"):
        mixed = numbers.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def _modulo(hashes: Hashes, count: int) -> Integers:
    return (hashes % np.uint64(count)).astype(np.int64)


def _position(spec: TensorSpec, payload: Payload) -> npt.NDArray[np.generic]:
    if spec.dtype == "bool":
        return _mask(spec, payload)
    numbers = np.arange(1, spec.elements + 1, dtype=np.int64)
    if spec.dtype == "f32" and spec.elements > F32_POSITIONS:
        numbers = (numbers - 1) % F32_POSITIONS + 1
    return numbers


def _bf16_positions(elements: int) -> torch.Tensor:
    position = torch.arange(elements, dtype=torch.int64) % BF16_POSITIONS
    sign = position // BF16_EXPONENTS_HALF
    pattern = BF16_FIRST_PATTERN + position % BF16_EXPONENTS_HALF - sign * 0x8000
    return pattern.to(torch.int16).view(torch.bfloat16)


def _small(spec: TensorSpec, payload: Payload) -> Integers:
    return SMALL[(_positions(spec) + 5 * payload.seed) % len(SMALL)]


def _mask(spec: TensorSpec, payload: Payload) -> npt.NDArray[np.bool_]:
    return (_hash(_positions(spec), payload.seed) >> np.uint64(63)).astype(np.bool_)


def _constant(spec: TensorSpec, payload: Payload) -> Integers:
    return np.full(spec.elements, payload.low, dtype=np.int64)


def _random(spec: TensorSpec, payload: Payload) -> Integers:
    return payload.low + _modulo(_hash(_positions(spec), payload.seed), payload.high - payload.low)


def _duplicates(spec: TensorSpec, payload: Payload) -> Integers:
    """Three distinct values at most, in hashed order."""
    which = _modulo(_hash(_positions(spec), payload.seed), 3)
    return payload.low + _modulo(_hash(which, payload.seed + 17), payload.high - payload.low)


def _monotone(spec: TensorSpec, payload: Payload) -> Integers:
    last = payload.high - payload.low - 1
    return payload.low + _positions(spec) * last // max(spec.elements - 1, 1)


def _boundary(spec: TensorSpec, payload: Payload) -> Integers:
    """Ends of the range first, then boundaries from the largest down: few elements still meet the large ones."""
    low, high = payload.low, payload.high
    around = {0, *BOUNDARIES, *((1 << bit) + step for bit in range(2, 31) for step in (-1, 0, 1))}
    inside = {value for value in around | {-value for value in around} if low <= value < high}
    ordered = [high - 1, low, *sorted(inside - {high - 1, low}, key=lambda value: (-abs(value), value))]
    cycle = np.array(list(dict.fromkeys(ordered)), dtype=np.int64)
    return cycle[(_positions(spec) + 3 * payload.seed) % len(cycle)]


def _permutation(spec: TensorSpec, payload: Payload) -> Integers:
    """A keyed bijection of [0, high - low) per line along `dim`, applied to the position in the line."""
    extent, dim = payload.high - payload.low, payload.dim
    if not 0 <= dim < len(spec.shape):
        raise CaseError(f"permutation along dim {dim} does not exist in shape {spec.shape}")
    if spec.shape[dim] > extent:
        raise CaseError(
            f"permutation: {spec.shape[dim]} distinct integers do not fit in [{payload.low}, {payload.high})"
        )
    stride = math.prod(spec.shape[dim + 1 :])
    flat = _positions(spec)
    along = flat // stride % max(spec.shape[dim], 1)
    line = flat // (stride * max(spec.shape[dim], 1)) * stride + flat % stride
    key = _hash(line, payload.seed)
    bits = max((extent - 1).bit_length(), 1)
    permuted = _bijection(along.astype(np.uint64), key, bits)
    # Walking the cycle until it re-enters the range turns a bijection of 2^bits into one of the range.
    while (outside := permuted >= extent).any():
        permuted[outside] = _bijection(permuted[outside], key[outside], bits)
    return payload.low + permuted.astype(np.int64)


def _bijection(numbers: Hashes, key: Hashes, bits: int) -> Hashes:
    """Adding, multiplying by an odd number and xor-shifting each permute [0, 2^bits), hence so does the chain."""
    mask, shift = np.uint64((1 << bits) - 1), np.uint64(max(bits // 2, 1))
    with np.errstate(over="ignore"):
        for step in range(3):
            mixed = _hash(key.astype(np.int64), step)
            numbers = (numbers + mixed) * (mixed >> np.uint64(20) | np.uint64(1)) & mask
            numbers = numbers ^ (numbers >> shift)
    return numbers


_KINDS: dict[str, Callable[[TensorSpec, Payload], npt.NDArray[np.generic]]] = {
    "position": _position,
    "small": _small,
    "mask": _mask,
    "constant": _constant,
    "permutation": _permutation,
    "boundary": _boundary,
    "duplicates": _duplicates,
    "monotone": _monotone,
    "random": _random,
}
_RANGED = frozenset({"permutation", "boundary", "duplicates", "monotone", "random"})
