# SPDX-License-Identifier: Apache-2.0
"""MLIR's element types in torch: which dtype carries each, and how values get into it.

A carrier holds every value of its element type exactly. torch computes little on unsigned types, so those ride in a
wider signed one and are wrapped after every operation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from oracles.stages.program import NotUnderstood

CARRIERS = {
    "f64": torch.float64,
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "i1": torch.bool,
    "i8": torch.int8,
    "si8": torch.int8,
    "ui8": torch.uint8,
    "i16": torch.int16,
    "si16": torch.int16,
    "ui16": torch.int32,
    "i32": torch.int32,
    "si32": torch.int32,
    "ui32": torch.int64,
    "i64": torch.int64,
    "si64": torch.int64,
    "index": torch.int64,
}
FLOATS = frozenset({"f64", "f32", "f16", "bf16"})
# Bits of the unsigned types whose carrier is wider than they are.
_UNSIGNED_BITS = {"ui16": 16, "ui32": 32}
# Unsigned types as torch stores them, for raw bytes.
_STORED = {"ui16": torch.uint16, "ui32": torch.uint32}


def carrier(element: str) -> torch.dtype:
    """The dtype that holds values of the element type. Raises NotUnderstood."""
    dtype = CARRIERS.get(element)
    if dtype is None:
        raise NotUnderstood(f"element type {element}")
    return dtype


def wrapped(value: torch.Tensor, element: str) -> torch.Tensor:
    """The value modulo 2^n where the carrier of an unsigned type is wider than the type."""
    bits = _UNSIGNED_BITS.get(element)
    return value if bits is None else value & ((1 << bits) - 1)


def widened(value: torch.Tensor) -> torch.Tensor:
    """The value in float64 or int64, where sums and products are taken before one rounding or wrapping."""
    return value.to(torch.float64 if value.is_floating_point() else torch.int64)


def total_order(value: torch.Tensor) -> torch.Tensor:
    """Integers in the total order of the floats: negative ones have the bits of their magnitude inverted."""
    bits = value.double().view(torch.int64)
    return torch.where(bits < 0, bits ^ torch.iinfo(torch.int64).max, bits)


def from_bytes(raw: bytes, element: str) -> torch.Tensor:
    """Elements in the order and form of MLIR's hex constants: little endian, one after another."""
    stored = torch.frombuffer(bytearray(raw), dtype=_STORED.get(element, carrier(element)))
    return stored.to(carrier(element))


def from_literals(literals: Sequence[str], element: str) -> torch.Tensor:
    """Elements as MLIR writes them one by one; floats that decimals cannot write stand as the hex of their bits."""
    dtype = carrier(element)
    if element == "i1":
        return torch.tensor([literal == "true" for literal in literals], dtype=dtype)
    if element not in FLOATS:
        return torch.tensor([int(literal) for literal in literals], dtype=dtype)
    return torch.tensor([_float(literal, dtype) for literal in literals], dtype=torch.float64).to(dtype)


def _float(literal: str, dtype: torch.dtype) -> float:
    if not literal.startswith("0x"):
        return float(literal)
    bits = int(literal, 16).to_bytes(dtype.itemsize, "little")
    return float(torch.frombuffer(bytearray(bits), dtype=dtype).item())
