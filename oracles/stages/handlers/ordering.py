# SPDX-License-Identifier: Apache-2.0
"""Sorting: StableHLO's with its comparator, TTIR's and TTNN's sort and topk. All are stable here, asked for or not."""

from __future__ import annotations

import torch

from oracles.stages.elements import total_order
from oracles.stages.machine import local
from oracles.stages.program import NotUnderstood, Operation
from oracles.stages.regions import Body, with_body

Tensors = tuple[torch.Tensor, ...]


@with_body("stablehlo.sort", attributes="dimension is_stable")
def sort(op: Operation, body: Body, *values: torch.Tensor) -> Tensors:
    """All operands in the order that the comparator gives along one dim (StableHLO spec, sort)."""
    dim = op.attributes["dimension"]
    key = _key(body, values)
    if key is not None:
        compared, descending = key
        order = compared.sort(dim=dim, descending=descending, stable=True).indices
    else:
        order = _merge_order(body, tuple(value.movedim(dim, -1) for value in values)).movedim(-1, dim)
    return tuple(value.gather(dim, order) for value in values)


def _key(body: Body, values: Tensors) -> tuple[torch.Tensor, bool] | None:
    """What torch can sort by, and whether it descends, if the comparator is one LT or GT of one operand's elements."""
    region = body.region
    comparison = region.operations[0]
    if len(region.operations) != 2 or comparison.name != "stablehlo.compare" or region.returned != comparison.results:
        return None
    positions = [region.parameters.index(n) if n in region.parameters else -1 for n in comparison.operands]
    operand = min(positions) // 2
    direction = comparison.attributes["comparison_direction"]
    if operand < 0 or sorted(positions) != [2 * operand, 2 * operand + 1] or direction not in ("LT", "GT"):
        return None
    value = values[operand]
    if comparison.attributes.get("compare_type") == "TOTALORDER":
        value = total_order(value)
    elif value.is_floating_point() and bool(value.isnan().any()):
        raise NotUnderstood("sort of NaN by a comparison that does not order it")
    swapped = positions[0] > positions[1]
    return value.to(torch.uint8) if value.dtype is torch.bool else value, (direction == "GT") != swapped


def _merge_order(body: Body, values: Tensors) -> torch.Tensor:
    """Stable order along the last dim by any comparator: runs of 1, 2, 4, ... elements are merged pair by pair.

    All elements look up their places at once: how many elements of the other run come before them, by bisection.
    """
    count = values[0].shape[-1]
    position = torch.arange(count)
    order = position.expand(values[0].shape)
    length = 1
    while length < count:
        run_start = position // length * length
        later = (position // length) % 2 == 1  # whether the element is in the second run of its pair
        other_start = torch.where(later, run_start - length, run_start + length)
        low = other_start.clamp(max=count)
        high = torch.where(later, run_start, (run_start + 2 * length).clamp(max=count))
        before = _places(body, values, order, low, torch.maximum(low, high), later)
        pair_start = torch.minimum(run_start, other_start)
        target = pair_start + (position - run_start) + (before - low)
        order = torch.empty_like(order).scatter(-1, target, order)
        length *= 2
    return order


def _places(
    body: Body, values: Tensors, order: torch.Tensor, low: torch.Tensor, high: torch.Tensor, later: torch.Tensor
) -> torch.Tensor:
    """For every element, the first position in [low, high) whose element does not come before it.

    An equal element of an earlier run comes before; one of a later run does not.
    """
    mine = tuple(value.gather(-1, order) for value in values)
    low, high, later = (bound.expand(order.shape) for bound in (low, high, later))
    while bool((low < high).any()):
        middle = (low + high) // 2
        theirs = tuple(value.gather(-1, middle.clamp(max=order.shape[-1] - 1)) for value in mine)
        (theirs_first,) = body(*_interleaved(theirs, mine))
        (mine_first,) = body(*_interleaved(mine, theirs))
        before = torch.where(later, ~mine_first, theirs_first)
        searching = low < high
        low = torch.where(searching & before, middle + 1, low)
        high = torch.where(searching & ~before, middle, high)
    return low


def _interleaved(left: Tensors, right: Tensors) -> list[torch.Tensor]:
    """The comparator's parameters: two per operand."""
    return [value for pair in zip(left, right, strict=True) for value in pair]


@local("ttir.sort ttnn.sort", attributes="dim descending stable")
def named_sort(op: Operation, value: torch.Tensor) -> Tensors:
    """Sorted values and the positions they come from (TTIROps.td and TTNNOps.td, SortOp)."""
    return _sorted(value, op.attributes["dim"], op.attributes["descending"])


@local("ttir.topk ttnn.topk", attributes="dim k largest", fixed={"sorted": True})
def topk(op: Operation, value: torch.Tensor) -> Tensors:
    """The first k of the sorted values, and their positions (TTIROps.td and TTNNOps.td, TopKOp)."""
    dim, count = op.attributes["dim"], op.attributes["k"]
    values, positions = _sorted(value, dim, op.attributes["largest"])
    return values.narrow(dim, 0, count), positions.narrow(dim, 0, count)


def _sorted(value: torch.Tensor, dim: int, descending: bool) -> Tensors:
    if value.is_floating_point() and bool(value.isnan().any()):
        raise NotUnderstood("sort of NaN")
    values, positions = value.sort(dim=dim, descending=descending, stable=True)
    return values, positions
