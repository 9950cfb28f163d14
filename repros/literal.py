# SPDX-License-Identifier: Apache-2.0
"""Tensor values as Python source: what a person reads in a script instead of a file of numbers.

Short formulas where the values follow one, lists where they are few. Formulas repeat `fuzz.payloads` in numpy; the
tests hold the two equal. Nothing here evaluates source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fuzz.case import DTYPES, Input, MeshfuzzError, Payload, TensorSpec
from fuzz.ops.core import DTYPE_NAMES
from fuzz.payloads import BF16_EXPONENTS_HALF, BF16_FIRST_PATTERN, BF16_POSITIONS, F32_POSITIONS, values

LITERAL_ELEMENTS = 64
# Lifted constants have no formula to fall back on; beyond this a script is no longer something to read.
MAX_LITERAL_ELEMENTS = 4096
MAX_CYCLE = 96
ROW_WIDTH = 100


class EmitError(MeshfuzzError):
    """The case cannot be written as a script. The message says which part."""


@dataclass(frozen=True, slots=True)
class Language:
    """How one array library spells the same thing."""

    module: str
    make: str  # {0} nested list, {1} dtype
    dtypes: dict[str, str]
    cast: str  # {0} a numpy expression of integers, {1} dtype
    from_bits: str  # {0} a numpy expression of int16 bit patterns of bf16


TORCH = Language(
    module="torch",
    make="torch.tensor({0}, dtype={1})",
    dtypes={"f32": "torch.float32", "bf16": "torch.bfloat16", "i32": "torch.int32", "i64": "torch.int64",
            "bool": "torch.bool"},
    cast="torch.from_numpy({0}).to({1})",
    from_bits="torch.from_numpy({0}).view(torch.bfloat16)",
)  # fmt: skip
NUMPY = Language(
    module="np",
    make="np.array({0}, dtype={1})",
    dtypes={"f32": "np.float32", "bf16": "ml_dtypes.bfloat16", "i32": "np.int32", "i64": "np.int64",
            "bool": "np.bool_"},
    cast="{0}.astype({1})",
    from_bits="{0}.view(ml_dtypes.bfloat16)",
)  # fmt: skip


def input_source(value: Input, language: Language) -> str:
    """The values of a case's input. May call `mixed` or `permutation` of the script templates' payload helpers.

    Raises CaseError for a payload that makes no values.
    """
    spec, payload = value.spec, value.payload
    formula = _formula(spec, payload)
    if payload.kind == "position" and spec.dtype == "bf16" and spec.elements > LITERAL_ELEMENTS:
        bits = f"({_bf16_position_bits(spec.elements)}).astype(np.int16).reshape({spec.shape})"
        return language.from_bits.format(bits)
    if formula is None or spec.elements <= LITERAL_ELEMENTS:
        return tensor_source(values(spec, payload), language)
    return language.cast.format(formula, language.dtypes[spec.dtype])


def tensor_source(tensor: torch.Tensor, language: Language) -> str:
    """Any tensor: constant, counting and repeating values as a formula, others as a list.

    Raises EmitError for a large tensor without a pattern.
    """
    dtype, shape = language.dtypes[_dtype_name(tensor)], tuple(tensor.shape)
    if not tensor.numel():
        return f"{language.module}.zeros({shape}, dtype={dtype})"
    flat = tensor.detach().reshape(-1)
    first = _number(flat[0].item())
    if tensor.numel() > 1 and bool((flat == flat[0]).all()):
        return f"{language.module}.full({shape}, {first}, dtype={dtype})"
    if _counts_up(flat):
        stop = int(flat[0]) + tensor.numel()
        reshape = f".reshape({', '.join(map(str, shape))})" if tensor.dim() != 1 else ""
        return f"{language.module}.arange({first}, {stop}, dtype={dtype}){reshape}"
    if tensor.numel() > LITERAL_ELEMENTS and (cycle := _cycle(flat)) is not None:
        return language.cast.format(f"np.resize({cycle}, {shape})", dtype)
    if tensor.numel() > MAX_LITERAL_ELEMENTS:
        raise EmitError(f"a constant of {tensor.numel()} elements without a pattern is too large for a script")
    return language.make.format(_nested(tensor), dtype)


def _dtype_name(tensor: torch.Tensor) -> str:
    name = DTYPE_NAMES.get(tensor.dtype)
    if name is None:
        raise EmitError(f"dtype {tensor.dtype} is outside the input space {DTYPES}")
    return name


# --- formulas of payloads: numpy expressions of int64 -----------------------------------------------------------------


def _formula(spec: TensorSpec, payload: Payload) -> str | None:
    """None where the values themselves show the pattern, or none is needed."""
    count, extent, seed = spec.elements, payload.high - payload.low, payload.seed
    flat = f"np.arange({count})"
    if payload.kind == "mask" or (payload.kind == "position" and spec.dtype == "bool"):
        return f"(mixed({flat}, {seed}) >> 63).astype(np.int64).reshape({spec.shape})"
    if payload.kind == "position" and spec.dtype == "f32" and count > F32_POSITIONS:
        return f"({flat} % {F32_POSITIONS} + 1).reshape({spec.shape})"
    if payload.kind == "random":
        return f"({_plus(payload.low)}(mixed({flat}, {seed}) % {extent}).astype(np.int64)).reshape({spec.shape})"
    if payload.kind == "duplicates":
        three = f"mixed(mixed({flat}, {seed}) % 3, {seed + 17})"
        return f"({_plus(payload.low)}({three} % {extent}).astype(np.int64)).reshape({spec.shape})"
    if payload.kind == "monotone":
        return f"({_plus(payload.low)}{flat} * {extent - 1} // {max(count - 1, 1)}).reshape({spec.shape})"
    if payload.kind == "permutation":
        return f"({_plus(payload.low)}permutation({spec.shape}, {payload.dim}, {extent}, {seed}))"
    return None


def _plus(low: int) -> str:
    return f"{low} + " if low else ""


def _bf16_position_bits(count: int) -> str:
    fraction = f"(p := np.arange({count}) % {BF16_POSITIONS}) % {BF16_EXPONENTS_HALF}"
    return f"{BF16_FIRST_PATTERN} + {fraction} - p // {BF16_EXPONENTS_HALF} * {1 << 15}"


# --- patterns and lists -----------------------------------------------------------------------------------------------


def _counts_up(flat: torch.Tensor) -> bool:
    # Beyond 2^24 a float range does not hold all its integers; bf16 beyond 2^8.
    limit = {torch.bfloat16: 1 << 8, torch.float32: 1 << 24}.get(flat.dtype, 1 << 62)
    if flat.dtype is torch.bool or flat.numel() < 3 or not math.isfinite(first := flat[0].item()):
        return False
    if int(first) != first or abs(first) + flat.numel() > limit:
        return False
    return torch.equal(flat, torch.arange(int(first), int(first) + flat.numel(), dtype=flat.dtype))


def _cycle(flat: torch.Tensor) -> str | None:
    """The shortest repeating part of integer values, as a list."""
    if flat.is_floating_point() and not bool((flat == flat.trunc()).all()):
        return None
    for length in range(2, min(MAX_CYCLE, flat.numel() // 2) + 1):
        if torch.equal(flat[length:], flat[:-length]):
            return repr([int(number) for number in flat[:length].tolist()])
    return None


def _number(value: float | bool) -> str:
    if math.isnan(value):
        return "float('nan')"
    if math.isinf(value):
        return "float('inf')" if value > 0 else "float('-inf')"
    # The dtype is always written next to it; -0.0 must stay a float.
    if value == int(value) and abs(value) < 1 << 53 and str(value) != "-0.0":
        return str(int(value))
    return repr(value)


def _nested(tensor: torch.Tensor) -> str:
    if tensor.dim() == 0:
        return _number(tensor.item())
    parts = [_nested(row) for row in tensor]
    line = ", ".join(parts)
    wide = len(line) > ROW_WIDTH and tensor.dim() > 1
    return "[" + (",\n    ".join(parts) if wide else line) + "]"
