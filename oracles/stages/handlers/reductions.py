# SPDX-License-Identifier: Apache-2.0
"""Reductions along dims: StableHLO's reduce and reduce_window with their regions, TTIR's and TTNN's named ones.

Floats are added and multiplied in float64 and rounded once; integers wrap in their own type when they are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce as folded

import torch

from oracles.stages.elements import widened
from oracles.stages.machine import local
from oracles.stages.program import NotUnderstood, Operation
from oracles.stages.regions import Body, with_body

Tensors = tuple[torch.Tensor, ...]
Dims = tuple[int, ...]


def _sum(value: torch.Tensor, dims: Dims) -> torch.Tensor:
    return value.any(dims) if value.dtype is torch.bool else widened(value).sum(dims)


def _product(value: torch.Tensor, dims: Dims) -> torch.Tensor:
    if value.dtype is torch.bool:
        return value.all(dims)
    return folded(torch.prod, sorted((dim % value.dim() for dim in dims), reverse=True), widened(value))


def _all(value: torch.Tensor, dims: Dims) -> torch.Tensor:
    return (value != 0).all(dims)


def _any(value: torch.Tensor, dims: Dims) -> torch.Tensor:
    return (value != 0).any(dims)


def _mean(value: torch.Tensor, dims: Dims) -> torch.Tensor:
    if not value.is_floating_point():
        raise NotUnderstood("mean of integers")
    return value.double().mean(dims)


Reduction = Callable[[torch.Tensor, Dims], torch.Tensor]
# Bodies of StableHLO's reduce; torch's amax and amin propagate NaN like StableHLO's maximum and minimum.
_BODIES: dict[str, Reduction] = {"add": _sum, "multiply": _product, "maximum": torch.amax, "minimum": torch.amin}


@with_body("stablehlo.reduce", attributes="dimensions")
def reduce(op: Operation, body: Body, *tensors: torch.Tensor) -> Tensors:
    """Elements along the dims folded by the body, first to last, with the initial value once (StableHLO spec, reduce).

    The spec leaves the order of folding to the implementation, and asks for a body for which it does not matter.
    """
    count = len(tensors) // 2
    inputs, initial = tensors[:count], tensors[count:]
    dims = tuple(op.attributes["dimensions"])
    if not dims:
        return body(*(start.expand(inputs[0].shape) for start in initial), *inputs)
    reduction = _BODIES.get(body.operation or "")
    if reduction is not None and inputs[0].numel():
        results: Tensors = (reduction(inputs[0], dims),)
    else:
        results = _folded(body, inputs, dims)
    if not results:
        return tuple(start.expand(type_.shape) for start, type_ in zip(initial, op.types, strict=True) if type_)
    return body(*(start.expand(results[0].shape) for start in initial), *results)


def _folded(body: Body, inputs: Tensors, dims: Dims) -> Tensors:
    """Neighbours combined until one is left: order is kept, and the body runs log2(n) times. Nothing, if n is 0."""
    first = tuple(range(len(dims)))
    values = tuple(value.movedim(dims, first).flatten(0, len(dims) - 1) for value in inputs)
    count = values[0].shape[0]
    while count > 1:
        pairs = count - count % 2
        combined = body(*(value[0:pairs:2] for value in values), *(value[1:pairs:2] for value in values))
        values = tuple(torch.cat((new, old[pairs:])) for new, old in zip(combined, values, strict=True))
        count = values[0].shape[0]
    return tuple(value[0] for value in values) if count else ()


@with_body(
    "stablehlo.reduce_window", attributes="window_dimensions window_strides base_dilations window_dilations padding"
)
def reduce_window(op: Operation, body: Body, *tensors: torch.Tensor) -> Tensors:
    """Every window of the padded operand folded by the body, like reduce (StableHLO spec, reduce_window).

    The initial value is also the padding.
    """
    count = len(tensors) // 2
    inputs, initial = tensors[:count], tensors[count:]
    sizes = op.attributes["window_dimensions"]
    ones = (1,) * len(sizes)
    strides, gaps, dilations = (
        op.attributes.get(name, ones) for name in ("window_strides", "base_dilations", "window_dilations")
    )
    padding = op.attributes["padding"].tolist() if "padding" in op.attributes else [(0, 0)] * len(sizes)
    combine = _combiner(body, inputs)
    values = inputs
    for dim, size in enumerate(sizes):
        values = tuple(
            _padded(value, start, dim, gaps[dim], padding[dim]) for value, start in zip(values, initial, strict=True)
        )
        values = _windows(combine, values, dim, size, dilations[dim])
        kept = (slice(None),) * dim + (slice(None, None, strides[dim]),)
        values = tuple(value[kept] for value in values)
    return combine(tuple(start.expand(values[0].shape) for start in initial), values)


Combine = Callable[[Tensors, Tensors], Tensors]


def _combiner(body: Body, inputs: Tensors) -> Combine:
    """The body, but sums and products of floats stay in float64."""
    if inputs[0].is_floating_point() and body.operation == "add":
        return lambda left, right: (left[0].double() + right[0].double(),)
    if inputs[0].is_floating_point() and body.operation == "multiply":
        return lambda left, right: (left[0].double() * right[0].double(),)
    return lambda left, right: body(*left, *right)


def _padded(value: torch.Tensor, filler: torch.Tensor, dim: int, gap: int, padding: Sequence[int]) -> torch.Tensor:
    low, high = padding
    if low < 0 or high < 0:
        raise NotUnderstood("reduce_window with negative padding")
    spread = max(0, (value.shape[dim] - 1) * gap + 1)
    shape = list(value.shape)
    shape[dim] = low + spread + high
    padded = filler.to(value.dtype).expand(shape).clone()
    padded[(slice(None),) * dim + (slice(low, low + spread, gap),)] = value
    return padded


def _windows(combine: Combine, values: Tensors, dim: int, size: int, dilation: int) -> Tensors:
    """All windows of `size` elements, `dilation` apart, along one dim: put together from windows of 1, 2, 4, ..."""

    def part(of: Tensors, start: int, length: int) -> Tensors:
        return tuple(value.narrow(dim, start, length) for value in of)

    outputs = max(0, values[0].shape[dim] - (size - 1) * dilation)
    powers, length, covered = values, 1, 0
    result: Tensors | None = None
    while True:
        if size & length:
            following = part(powers, covered * dilation, outputs) if outputs else part(powers, 0, 0)
            result = following if result is None else combine(result, following)
            covered += length
        if covered == size or not outputs:
            return result if result is not None else part(values, 0, 0)
        step = length * dilation
        rest = powers[0].shape[dim] - step
        powers = combine(part(powers, 0, rest), part(powers, step, rest))
        length *= 2


def _named(names: str, compute: Reduction) -> None:
    """How a chip computes (`compute_config`) has no influence here."""

    @local(names, attributes="dim_arg keep_dim compute_config")
    def named(op: Operation, value: torch.Tensor) -> torch.Tensor:
        listed = op.attributes.get("dim_arg")
        dims = (listed,) if isinstance(listed, int) else tuple(listed or range(value.dim()))
        return (compute(value, dims) if dims else value).reshape(op.type.shape)


_named("ttir.sum ttnn.sum", _sum)
_named("ttir.prod ttnn.prod", _product)
_named("ttir.max ttnn.max", torch.amax)
_named("ttir.min ttnn.min", torch.amin)
_named("ttir.mean ttnn.mean", _mean)
_named("ttir.reduce_and", _all)
_named("ttir.reduce_or", _any)


@local("ttir.argmax ttnn.argmax", attributes="dim_arg dim keep_dim")
def argmax(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Position of the largest element, the first of equal ones (TTIROps.td, ArgMaxOp); over all dims if none is given.

    Neither TTIR nor TTNN says which of equal ones; the first is what the reduce it comes from asks for.
    """
    given = op.attributes.get("dim_arg", op.attributes.get("dim"))
    if isinstance(given, tuple):
        if len(given) > 1:
            raise NotUnderstood(f"{op.name} over dims {given}")
        given = given[0] if given else None
    return value.argmax(given).reshape(op.type.shape)


@local("ttir.cumsum ttnn.cumsum", attributes="dim")
def cumsum(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Sums of all elements up to each one along dim (TTIROps.td, CumSumOp)."""
    return widened(value).cumsum(op.attributes["dim"])
