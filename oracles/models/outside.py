# SPDX-License-Identifier: Apache-2.0
"""Indexed ops on indices that torch would reject, with each meaning that compilers have given them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch.nn.functional import one_hot

from fuzz.ops.core import Op, call

# A read gives zero and a write is lost; the nearest position; the position modulo the size.
Outside = Literal["dropped", "clamped", "wrapped"]
OUTSIDE: tuple[Outside, ...] = ("dropped", "clamped", "wrapped")


def run_outside(op: Op, operands: Sequence[torch.Tensor], attributes: dict[str, Any], outside: Outside) -> torch.Tensor:
    """The op, where any index may be out of range. Negative indices are: they do not count from the end."""
    if op.name == "one_hot":
        return _one_hot(operands[0], attributes["classes"], outside)
    if not op.indices:
        return call(op, operands, attributes, "cpu")
    changed = _lines_of_base(op, operands, attributes)
    data = op.data[0]
    table = flat = operands[data]
    dims = []
    for position, addressed in op.indices:
        dim = attributes["dim"] % table.dim() if addressed == "dim" else addressed
        if dim == "flat":
            flat, dim = table.flatten(), 0
        dims.append(int(dim))
        size = flat.shape[int(dim)]
        index = changed[position].long()
        inside = (index >= 0) & (index < size)
        kept = index % size if outside == "wrapped" else index.clamp(0, size - 1)
        # One slice more than there is takes what is lost, and gives zeros.
        changed[position] = torch.where(inside, index, size) if outside == "dropped" else kept
    changed[data] = flat
    if outside != "dropped":
        return call(op, changed, attributes, "cpu")
    for dim in dims:
        rim = list(changed[data].shape)
        rim[dim] = 1
        changed[data] = torch.cat([changed[data], torch.zeros(rim, dtype=table.dtype)], dim)
    result = call(op, changed, attributes, "cpu")
    if not writes(op):
        return result
    for dim in dims:
        result = result.narrow(dim, 0, table.shape[dim])
    return result


def _lines_of_base(op: Op, operands: Sequence[torch.Tensor], attributes: dict[str, Any]) -> list[torch.Tensor]:
    """The operands of a write along a dim, without the lines of index and source that the base does not have.

    Such a line names its own number as a position, as in x.scatter(1, index); outside of the base it is lost.
    """
    changed = list(operands)
    base = operands[op.data[0]]
    lines = writes(op) and all(addressed == "dim" for _, addressed in op.indices)
    for position, value in enumerate(operands if lines else ()):
        if position == op.data[0] or value.dim() != base.dim() or base.dim() < 2:
            continue
        for dim, size in enumerate(base.shape):
            if dim != attributes["dim"] % base.dim():
                changed[position] = changed[position].narrow(dim, 0, min(size, changed[position].shape[dim]))
    return changed


def _one_hot(index: torch.Tensor, classes: int, outside: Outside) -> torch.Tensor:
    inside = (index >= 0) & (index < classes)
    kept = index % classes if outside == "wrapped" else index.clamp(0, classes - 1)
    if outside != "dropped":
        return one_hot(kept, classes)
    return one_hot(torch.where(inside, index, classes), classes + 1)[..., :classes]


def writes(op: Op) -> bool:
    """Whether the op puts something into a tensor, rather than reading from one."""
    return len(op.data) > 1 or getattr(op.semantics, "constant", None) is not None


def counted_from_start(op: Op, operands: Sequence[torch.Tensor], attributes: dict[str, Any]) -> list[torch.Tensor]:
    """The operands with negative positions replaced by what they mean."""
    changed = list(operands)
    for position, addressed in op.indices:
        table = operands[op.data[0]]
        dim = attributes["dim"] if addressed == "dim" else addressed
        size = table.numel() if dim == "flat" else table.shape[int(dim)]
        changed[position] = torch.where(operands[position] < 0, operands[position] + size, operands[position])
    return changed
