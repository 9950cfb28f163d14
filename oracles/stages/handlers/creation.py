# SPDX-License-Identifier: Apache-2.0
"""Ops that make values out of attributes alone. Every device gets the same tensor object."""

from __future__ import annotations

import torch

from oracles.stages.elements import carrier
from oracles.stages.machine import local
from oracles.stages.program import NotUnderstood, Operation


@local("stablehlo.constant ttir.constant ttnn.constant", attributes="value")
def constant(op: Operation, *device: torch.Tensor) -> torch.Tensor:
    """The dense constant of the attribute; TTNN's names the layout's element type, which may differ."""
    value: torch.Tensor = op.attributes["value"]
    return value.reshape(op.type.shape)


@local("ttir.full ttnn.full", attributes="fill_value shape")
def full(op: Operation, *device: torch.Tensor) -> torch.Tensor:
    """`shape` of `fill_value` (TTIROps.td, FullOp)."""
    return torch.full(op.type.shape, op.attributes["fill_value"], dtype=torch.float64).to(carrier(op.type.element))


@local("ttir.zeros ttnn.zeros", attributes="shape")
def zeros(op: Operation, *device: torch.Tensor) -> torch.Tensor:
    """`shape` of zeros (TTIROps.td, ZerosOp)."""
    return torch.zeros(op.type.shape, dtype=carrier(op.type.element))


@local("ttir.ones ttnn.ones", attributes="shape")
def ones(op: Operation, *device: torch.Tensor) -> torch.Tensor:
    """`shape` of ones (TTIROps.td, OnesOp)."""
    return torch.ones(op.type.shape, dtype=carrier(op.type.element))


@local("stablehlo.iota", attributes="iota_dimension")
def iota(op: Operation) -> torch.Tensor:
    """0, 1, 2, ... along one dim (StableHLO spec, iota)."""
    return _along(torch.arange(op.type.shape[op.attributes["iota_dimension"]]), op, op.attributes["iota_dimension"])


@local("ttir.arange ttnn.arange", attributes="start end step arange_dimension")
def arange(op: Operation, *device: torch.Tensor) -> torch.Tensor:
    """start, start + step, ... below end, along one dim (TTIROps.td, ArangeOp); ttnn.arange has rank 1."""
    start, end, step = (op.attributes[name] for name in ("start", "end", "step"))
    dim = op.attributes.get("arange_dimension", 0)
    values = torch.arange(start, end, step)
    if len(values) != op.type.shape[dim]:
        raise NotUnderstood(f"{op.name} of {len(values)} numbers for shape {op.type.shape}")
    return _along(values, op, dim)


def _along(values: torch.Tensor, op: Operation, dim: int) -> torch.Tensor:
    shape = op.type.shape
    return values.reshape([-1 if d == dim else 1 for d in range(len(shape))]).expand(shape)
