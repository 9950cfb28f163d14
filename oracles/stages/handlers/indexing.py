# SPDX-License-Identifier: Apache-2.0
"""Reads and writes at computed positions: StableHLO's gather, scatter, dynamic_slice and dynamic_update_slice.

Positions are computed as flat row-major indices of the operand: the start of each window plus the offsets within one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from oracles.stages.elements import widened
from oracles.stages.machine import local
from oracles.stages.program import NotUnderstood, Operation
from oracles.stages.regions import Body, with_body

FILL_MARK = "tt.fill_out_of_bounds"


@local("stablehlo.gather", attributes=f"dimension_numbers slice_sizes indices_are_sorted {FILL_MARK}")
def gather(op: Operation, operand: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Windows of slice_sizes at start indices clamped into the operand (StableHLO spec, gather).

    The TT compiler marks a gather of one shard's rows with `tt.fill_out_of_bounds`: then a window that does not lie
    in the operand gives zeros instead, and the shards are summed.
    """
    numbers, sizes = op.attributes["dimension_numbers"], op.attributes["slice_sizes"]
    batching = numbers.get("operand_batching_dims", ())
    starts = _starts(
        indices,
        numbers.get("index_vector_dim", 0),
        numbers.get("start_index_map", ()),
        dict(zip(batching, numbers.get("start_indices_batching_dims", ()), strict=True)),
    )
    limits = {dim: operand.shape[dim] - sizes[dim] for dim in starts}
    clamped = {dim: start.clamp(0, limits[dim]) for dim, start in starts.items()}
    dropped = {*numbers.get("collapsed_slice_dims", ()), *batching}
    window = {dim: size for dim, size in enumerate(sizes) if dim not in dropped}
    batch_shape = _batch_shape(indices, numbers)
    result = operand.reshape(-1)[_positions(operand.shape, batch_shape, clamped, window)]
    if op.attributes.get(FILL_MARK, False):
        inside = _inside(starts, limits, batch_shape)
        result = torch.where(_aligned(inside, len(window)), result, torch.zeros((), dtype=result.dtype))
    offsets = tuple(numbers.get("offset_dims", ()))
    return result.movedim(tuple(range(len(batch_shape), result.dim())), offsets)


@with_body("stablehlo.scatter", attributes="scatter_dimension_numbers indices_are_sorted unique_indices")
def scatter(op: Operation, body: Body, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Updates combined into the operands one window after the other (StableHLO spec, scatter).

    The spec leaves a window that does not lie in the operand to the implementation. As in XLA (ScatterExpander) it is
    dropped whole, even if part of it would fit. Sums and products of floats are rounded once, at the end.
    """
    count = len(tensors) // 2
    operands, indices, updates = tensors[:count], tensors[count], tensors[count + 1 :]
    numbers = op.attributes["scatter_dimension_numbers"]
    batching = numbers.get("input_batching_dims", ())
    starts = _starts(
        indices,
        numbers.get("index_vector_dim", 0),
        numbers.get("scatter_dims_to_operand_dims", ()),
        dict(zip(batching, numbers.get("scatter_indices_batching_dims", ()), strict=True)),
    )
    shape = operands[0].shape
    window_dims = tuple(numbers.get("update_window_dims", ()))
    dropped = {*numbers.get("inserted_window_dims", ()), *batching}
    kept = [dim for dim in range(len(shape)) if dim not in dropped]
    window = {dim: updates[0].shape[position] for dim, position in zip(kept, window_dims, strict=True)}
    limits = {dim: shape[dim] - window.get(dim, 1) for dim in starts}
    batch_shape = _batch_shape(indices, numbers)
    inside = _inside(starts, limits, batch_shape)
    targets = _positions(shape, batch_shape, starts, window)[inside].reshape(-1)
    last = tuple(range(len(batch_shape), updates[0].dim()))
    written = [update.movedim(window_dims, last)[inside].reshape(-1) for update in updates]
    results = _combined(body, [operand.reshape(-1) for operand in operands], targets, written)
    return tuple(result.reshape(shape) for result in results)


def _batch_shape(indices: torch.Tensor, numbers: Mapping[str, Any]) -> tuple[int, ...]:
    vector_dim = numbers.get("index_vector_dim", 0)
    return tuple(size for dim, size in enumerate(indices.shape) if dim != vector_dim)


def _starts(
    indices: torch.Tensor, vector_dim: int, index_map: Sequence[int], batching: Mapping[int, int]
) -> dict[int, torch.Tensor]:
    """Start of every window along the operand dims that have one; `batching` maps operand dims to dims of indices."""
    if vector_dim == indices.dim():
        indices = indices.unsqueeze(-1)
    components = indices.long().movedim(vector_dim, -1)
    batch_shape = components.shape[:-1]
    starts = {dim: components[..., number] for number, dim in enumerate(index_map)}
    for dim, indices_dim in batching.items():
        batch_dim = indices_dim - (indices_dim > vector_dim)
        shape = [-1 if d == batch_dim else 1 for d in range(len(batch_shape))]
        starts[dim] = torch.arange(batch_shape[batch_dim]).reshape(shape).expand(batch_shape)
    return starts


def _positions(
    shape: Sequence[int], batch_shape: Sequence[int], starts: Mapping[int, torch.Tensor], window: Mapping[int, int]
) -> torch.Tensor:
    """Flat index in a tensor of `shape` for every element of every window: batch dims first, then window dims."""
    strides = [math.prod(shape[dim + 1 :]) for dim in range(len(shape))]
    first = torch.zeros(tuple(batch_shape), dtype=torch.int64)
    for dim, start in starts.items():
        first = first + start * strides[dim]
    positions = _aligned(first, len(window))
    for number, (dim, size) in enumerate(window.items()):
        offsets = torch.arange(size) * strides[dim]
        positions = positions + _aligned(offsets, len(window) - number - 1)
    return positions


def _aligned(value: torch.Tensor, following: int) -> torch.Tensor:
    """With dims of size 1 for those that follow."""
    return value.reshape((*value.shape, *([1] * following)))


def _inside(starts: Mapping[int, torch.Tensor], limits: Mapping[int, int], batch_shape: Sequence[int]) -> torch.Tensor:
    """Which windows lie in the operand."""
    inside = torch.ones(tuple(batch_shape), dtype=torch.bool)
    for dim, start in starts.items():
        inside = inside & (start >= 0) & (start <= limits[dim])
    return inside


# On truth values these are the same as maximum and minimum.
_OF_TRUTH = {"add": "amax", "or": "amax", "maximum": "amax", "multiply": "amin", "and": "amin", "minimum": "amin"}
_OF_NUMBERS = {"add": "sum", "multiply": "prod", "maximum": "amax", "minimum": "amin"}


def _combined(
    body: Body, operands: Sequence[torch.Tensor], targets: torch.Tensor, updates: Sequence[torch.Tensor]
) -> Sequence[torch.Tensor]:
    """Flat operands with every update combined into the element at its target, in order."""
    if len(operands) > 1:
        return _one_by_one(body, operands, targets, updates)
    (operand,), (update,) = operands, updates
    if body.overwrites:
        return [_overwritten(operand, targets, update)]
    truth = operand.dtype is torch.bool
    reduction = (_OF_TRUTH if truth else _OF_NUMBERS).get(body.operation or "")
    if reduction is None:
        return _one_by_one(body, operands, targets, updates)
    base = operand.to(torch.uint8) if truth else widened(operand)
    return [base.scatter_reduce(0, targets, update.to(base.dtype), reduction).to(operand.dtype)]


def _overwritten(operand: torch.Tensor, targets: torch.Tensor, update: torch.Tensor) -> torch.Tensor:
    """The last update of each target wins; torch's own index_put leaves open which one does."""
    writer = torch.full(operand.shape, -1).scatter_reduce(0, targets, torch.arange(len(targets)), "amax")
    written = writer >= 0
    result = operand.clone()
    result[written] = update[writer[written]]
    return result


def _one_by_one(
    body: Body, operands: Sequence[torch.Tensor], targets: torch.Tensor, updates: Sequence[torch.Tensor]
) -> Sequence[torch.Tensor]:
    """Rounds of updates that do not meet: the n-th round has the n-th update of every target."""
    results = [operand.clone() for operand in operands]
    ordered, order = targets.sort(stable=True)
    occurrence = torch.arange(len(ordered)) - torch.searchsorted(ordered, ordered)
    by_round = order[occurrence.argsort(stable=True)]
    for chosen in torch.split(by_round, occurrence.bincount().tolist()):
        where = targets[chosen]
        combined = body(*(result[where] for result in results), *(update[chosen] for update in updates))
        for result, value in zip(results, combined, strict=True):
            result[where] = value
    return results


@local("stablehlo.dynamic_slice", attributes="slice_sizes")
def dynamic_slice(op: Operation, operand: torch.Tensor, *starts: torch.Tensor) -> torch.Tensor:
    """The window of slice_sizes at a start clamped into the operand (StableHLO spec, dynamic_slice)."""
    return operand[_window(operand.shape, op.attributes["slice_sizes"], starts)]


@local("stablehlo.dynamic_update_slice")
def dynamic_update_slice(
    op: Operation, operand: torch.Tensor, update: torch.Tensor, *starts: torch.Tensor
) -> torch.Tensor:
    """The operand with `update` at a start clamped into it (StableHLO spec, dynamic_update_slice)."""
    result = operand.clone()
    result[_window(operand.shape, update.shape, starts)] = update
    return result


def _window(shape: Sequence[int], sizes: Sequence[int], starts: Sequence[torch.Tensor]) -> tuple[slice, ...]:
    if len(starts) != len(shape):
        raise NotUnderstood(f"{len(starts)} start indices for rank {len(shape)}")
    first = [min(max(int(start), 0), total - size) for start, total, size in zip(starts, shape, sizes, strict=True)]
    return tuple(slice(begin, begin + size) for begin, size in zip(first, sizes, strict=True))
