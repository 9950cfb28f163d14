# SPDX-License-Identifier: Apache-2.0
"""Reads and writes by index in TTIR and TTNN: upstream's ops, and the `rows_*` ops of the plugin.

`rows_gather(table, index)` and `rows_scatter(table, index, source)` see the table as [batch, prod(sizes), rest]; with
`column` there is no rest. The index holds one integer component per indexed dim: [batch or 1, components, positions].
A position stands for a window of shape `windows` that starts there. (Read from dumps, and confirmed by the agreement
of thousands of passing cases with the reference.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from oracles.stages.machine import formatted, local
from oracles.stages.numerics import Numerics
from oracles.stages.program import NotUnderstood, Operation


@local("ttir.rows_gather ttnn.rows_gather", attributes="column fill_out_of_bounds sizes windows")
def rows_gather(op: Operation, table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows (or single elements) at the indices: zeros outside with `fill_out_of_bounds`, else the nearest inside."""
    sizes, windows = op.attributes["sizes"], op.attributes["windows"]
    flat, inside = _positions(index, sizes, windows, clamp=not op.attributes["fill_out_of_bounds"])
    rows = _rows(table, sizes, op.attributes["column"])
    gathered = rows.gather(1, flat.unsqueeze(-1).expand(rows.shape[0], -1, rows.shape[2]))
    result = torch.where(inside.unsqueeze(-1), gathered, torch.zeros((), dtype=gathered.dtype))
    return result.reshape(op.type.shape)


@formatted("ttir.rows_scatter ttnn.rows_scatter", attributes="column reduce sizes windows")
def rows_scatter(
    op: Operation, numerics: Numerics, table: torch.Tensor, index: torch.Tensor, source: torch.Tensor
) -> torch.Tensor:
    """Windows of the source written or combined at the indices, in order; windows that reach outside are dropped."""
    sizes, windows = op.attributes["sizes"], op.attributes["windows"]
    flat, inside = _positions(index, sizes, windows, clamp=False)
    rows = _rows(table, sizes, op.attributes["column"]).clone()
    batch, _, rest = rows.shape
    updates = source.reshape(batch, -1, rest)
    if updates.shape[1] != flat.shape[1]:
        raise NotUnderstood(f"{op.name} of {updates.shape[1]} updates at {flat.shape[1]} positions")
    # Dropped updates go to one row more, which is cut off again.
    spare = torch.where(inside, flat, torch.full_like(flat, rows.shape[1]))
    padded = torch.cat([rows, torch.zeros_like(rows[:, :1])], 1)
    combined = combine(
        padded, 1, spare.unsqueeze(-1).expand(batch, -1, rest), updates, op.attributes["reduce"], numerics
    )
    return combined[:, :-1].reshape(op.type.shape)


def _rows(table: torch.Tensor, sizes: Sequence[int], column: bool) -> torch.Tensor:
    """The table as [batch, indexed, rest]."""
    return table.reshape(table.shape[0], math.prod(sizes), 1 if column else -1)


def _positions(
    index: torch.Tensor, sizes: Sequence[int], windows: Sequence[int], clamp: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat positions of every window element, and whether its window lies inside: both [batch or 1, positions]."""
    if index.shape[1] != len(sizes) or len(windows) != len(sizes):
        raise NotUnderstood(f"{index.shape[1]} index components for sizes {sizes} and windows {windows}")
    index = index.long()
    inside = torch.ones(index.shape[0], index.shape[2], dtype=torch.bool)
    flat = torch.zeros_like(inside, dtype=torch.int64).unsqueeze(-1)
    for component, size, window in zip(index.unbind(1), sizes, windows, strict=True):
        last = size - window
        inside &= (component >= 0) & (component <= last)
        start = component.clamp(0, last)
        offsets = torch.arange(window)
        flat = (flat.unsqueeze(-1) * size + start[..., None, None] + offsets).flatten(2)
    if clamp:
        inside = torch.ones_like(inside)
    count = flat.shape[2]
    return flat.flatten(1), inside.unsqueeze(-1).expand(-1, -1, count).flatten(1)


@local("ttir.gather ttnn.gather", attributes="dim")
def gather(op: Operation, value: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """torch.gather along dim (TTIROps.td, GatherOp); what lies outside is not defined."""
    return value.gather(op.attributes["dim"], _defined(op, index, value.shape[op.attributes["dim"]]))


@formatted("ttir.scatter ttnn.scatter", attributes="dim scatter_reduce_type")
def scatter(
    op: Operation, numerics: Numerics, value: torch.Tensor, index: torch.Tensor, source: torch.Tensor
) -> torch.Tensor:
    """torch.scatter, or scatter_reduce with the value included (TTIROps.td, ScatterOp)."""
    dim = op.attributes["dim"]
    index = _defined(op, index, value.shape[dim])
    return combine(value.clone(), dim, index, source, op.attributes["scatter_reduce_type"], numerics)


@local("ttir.index_select", attributes="dim begin end step")
def index_select(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """A strided range along one dim (TTIROps.td, IndexOp)."""
    begin, end, step = (op.attributes[name] for name in ("begin", "end", "step"))
    return value.index_select(op.attributes["dim"], torch.arange(begin, end, step))


@formatted("ttir.embedding ttnn.embedding")
def embedding(op: Operation, numerics: Numerics, index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Row index[..] of the weight (TTIROps.td, EmbeddingOp)."""
    table = weight.reshape(-1, weight.shape[-1])
    index = index.long()
    inside = (index >= 0) & (index < table.shape[0])
    rows = table[index.clamp(0, table.shape[0] - 1)]
    if not bool(inside.all()):
        if not numerics.has("no_clamp"):
            raise NotUnderstood(f"{op.name} with an index out of range")
        garbage = torch.full((), float("nan")) if weight.is_floating_point() else torch.tensor(2**31 - 1)
        rows = torch.where(inside.unsqueeze(-1), rows, garbage.to(rows.dtype))
    return rows.reshape(op.type.shape)


def _defined(op: Operation, index: torch.Tensor, size: int) -> torch.Tensor:
    index = index.long()
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= size):
        raise NotUnderstood(f"{op.name} with an index out of range")
    return index


def combine(
    target: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor, reduction: str, numerics: Numerics
) -> torch.Tensor:
    """Write or combine the source into the target (which is changed) at the indices along dim, in their order."""
    source = source.to(target.dtype)
    if reduction == "invalid":
        return target.scatter_(dim, index, source)
    torch_name = {"sum": "sum", "prod": "prod", "max": "amax", "min": "amin"}.get(reduction)
    if torch_name is None:
        raise NotUnderstood(f"scatter that reduces with {reduction}")
    if target.dtype is torch.bool:
        raise NotUnderstood(f"scatter of truth values that reduces with {reduction}")
    if target.dtype is torch.bfloat16 and not numerics.has("bf16_accumulation"):
        wide = target.double().scatter_reduce_(dim, index, source.double(), torch_name)
        return wide.to(target.dtype)
    if target.dtype is torch.bfloat16:  # torch itself would add in f32 and round once
        for place in range(index.shape[dim]):
            target.scatter_reduce_(dim, index.narrow(dim, place, 1), source.narrow(dim, place, 1), torch_name)
        return target
    return target.scatter_reduce_(dim, index, source, torch_name)
