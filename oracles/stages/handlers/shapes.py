# SPDX-License-Identifier: Apache-2.0
"""Ops that rearrange a tensor's elements by their attributes alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from oracles.stages.elements import carrier
from oracles.stages.machine import local
from oracles.stages.program import NotUnderstood, Operation


@local("stablehlo.reshape ttir.reshape ttnn.reshape ttir.squeeze ttir.unsqueeze", attributes="shape dim")
def reshape(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """The same elements in row-major order."""
    return value.reshape(op.type.shape)


@local("stablehlo.transpose ttir.permute ttnn.permute", attributes="permutation pad_value")
def permute(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Result dim i is operand dim permutation[i]."""
    return value.permute(op.attributes["permutation"])


@local("ttir.transpose ttnn.transpose", attributes="dim0 dim1")
def transpose(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Two dims swapped (TTIROps.td, TransposeOp)."""
    return value.transpose(op.attributes["dim0"], op.attributes["dim1"])


@local("stablehlo.broadcast_in_dim", attributes="broadcast_dimensions")
def broadcast_in_dim(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Operand dim i becomes result dim broadcast_dimensions[i] (StableHLO spec, broadcast_in_dim)."""
    shape = [1] * len(op.type.shape)
    for size, dim in zip(value.shape, op.attributes["broadcast_dimensions"], strict=True):
        shape[dim] = size
    # The listed dims ascend in everything StableHLO's own lowerings write; others would need a permutation first.
    if list(op.attributes["broadcast_dimensions"]) != sorted(op.attributes["broadcast_dimensions"]):
        raise NotUnderstood(f"{op.name} with descending dims")
    return value.reshape(shape).expand(op.type.shape)


@local("ttir.broadcast", attributes="broadcast_dimensions")
def broadcast(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """The attribute holds multipliers per dim (TTIROps.td, BroadcastOp)."""
    return value.repeat(*op.attributes["broadcast_dimensions"]) if value.dim() else value


@local("ttir.repeat ttnn.repeat", attributes="repeat_dimensions repeat_dims")
def repeat(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Multipliers per dim (TTIROps.td, RepeatOp; TTNNOps.td, RepeatOp)."""
    multipliers = op.attributes.get("repeat_dimensions", op.attributes.get("repeat_dims"))
    return value.repeat(*multipliers) if multipliers else value


@local("ttir.repeat_interleave ttnn.repeat_interleave", attributes="repeats dim")
def repeat_interleave(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Each slice along dim, `repeats` times in a row (TTIROps.td, RepeatInterleaveOp)."""
    return value.repeat_interleave(op.attributes["repeats"], op.attributes["dim"])


@local("stablehlo.concatenate ttir.concat ttnn.concat", attributes="dimension dim")
def concat(op: Operation, *values: torch.Tensor) -> torch.Tensor:
    """Operands one behind the other along one dim."""
    return torch.cat(values, op.attributes.get("dimension", op.attributes.get("dim")))


@local("stablehlo.slice", attributes="start_indices limit_indices strides")
def stablehlo_slice(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Half-open ranges with a stride per dim (StableHLO spec, slice)."""
    return _sliced(value, *(op.attributes[name] for name in ("start_indices", "limit_indices", "strides")))


@local("ttir.slice_static ttnn.slice_static", attributes="begins ends step")
def slice_static(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Half-open ranges with a step per dim (TTIROps.td, SliceStaticOp)."""
    if any(number < 0 for name in ("begins", "ends") for number in op.attributes[name]):
        raise NotUnderstood(f"{op.name} with a negative bound")
    return _sliced(value, *(op.attributes[name] for name in ("begins", "ends", "step")))


def _sliced(value: torch.Tensor, begins: Sequence[int], ends: Sequence[int], steps: Sequence[int]) -> torch.Tensor:
    return value[tuple(slice(*bounds) for bounds in zip(begins, ends, steps, strict=True))]


@local("stablehlo.reverse ttir.reverse", attributes="dimensions")
def reverse(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """The listed dims back to front (StableHLO spec, reverse)."""
    return value.flip(op.attributes["dimensions"])


@local("stablehlo.pad", attributes="edge_padding_low edge_padding_high interior_padding")
def stablehlo_pad(op: Operation, value: torch.Tensor, filler: torch.Tensor) -> torch.Tensor:
    """Padding at both ends and between elements; negative edges cut off (StableHLO spec, pad)."""
    low, high, interior = (op.attributes[f"{name}_padding{end}"] for name, end in _PADDING)
    spread = [max(0, (size - 1) * (gap + 1) + 1) for size, gap in zip(value.shape, interior, strict=True)]
    inner = filler.expand(spread).clone()
    inner[tuple(slice(None, None, gap + 1) for gap in interior)] = value
    kept = [
        slice(max(0, -before), max(0, size - max(0, -after)))
        for before, size, after in zip(low, spread, high, strict=True)
    ]
    inner = inner[tuple(kept)]
    padded = filler.expand(op.type.shape).clone()
    padded[tuple(slice(max(0, b), max(0, b) + size) for b, size in zip(low, inner.shape, strict=True))] = inner
    return padded


_PADDING = (("edge", "_low"), ("edge", "_high"), ("interior", ""))


@local("ttir.pad ttnn.pad", attributes="padding value use_multicore")
def pad(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """`padding` lists low and high per dim, `value` fills (TTIROps.td, PadOp)."""
    padding = op.attributes["padding"]
    if any(amount < 0 for amount in padding):
        raise NotUnderstood(f"{op.name} with negative padding")
    filler = torch.tensor(op.attributes["value"], dtype=torch.float64).to(carrier(op.type.element))
    padded = filler.to(value.dtype).expand(op.type.shape).clone()
    padded[tuple(slice(low, low + size) for low, size in zip(padding[::2], value.shape, strict=True))] = value
    return padded
