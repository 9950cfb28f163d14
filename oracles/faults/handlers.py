# SPDX-License-Identifier: Apache-2.0
"""The pseudo dialect `injected`: wrong computations that no op of the compiler does. It makes a fault visible as IR."""

from __future__ import annotations

import torch

from oracles.stages.machine import local
from oracles.stages.numerics import round_significand
from oracles.stages.program import Operation


@local("injected.round_significand", attributes="bits half_up")
def rounded(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """The value as a float with that many significant bits holds it; ties go to even, or up."""
    nearest = round_significand(value.double(), op.attributes["bits"], op.attributes.get("half_up", False))
    return nearest.to(value.dtype)


@local("injected.wrap", attributes="bits")
def wrap(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Only the low bits of an integer, as an unsigned one of that width holds it."""
    mask: int = (1 << op.attributes["bits"]) - 1
    return value & mask


@local("injected.modulo", attributes="sizes dim")
def modulo(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """Each component along `dim`, modulo the size of what it indexes."""
    shape = [-1 if dim == op.attributes["dim"] else 1 for dim in range(value.dim())]
    return torch.remainder(value, torch.tensor(op.attributes["sizes"]).reshape(shape).to(value.dtype))


@local("injected.unwritten", attributes="dim first")
def unwritten(op: Operation, value: torch.Tensor) -> torch.Tensor:
    """The value with zeros from `first` on along `dim`."""
    dim, first = op.attributes["dim"], op.attributes["first"]
    kept = value.clone()
    kept.narrow(dim, first, value.shape[dim] - first).zero_()
    return kept
