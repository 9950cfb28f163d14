# SPDX-License-Identifier: Apache-2.0
"""Matrix products. Integers are multiplied in int64 and wrap in their own type when they are stored."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from oracles.stages.elements import widened
from oracles.stages.machine import formatted, local
from oracles.stages.numerics import Numerics
from oracles.stages.program import Operation


@local("stablehlo.dot_general", attributes="dot_dimension_numbers", fixed={"precision_config": ("DEFAULT", "DEFAULT")})
def stablehlo_dot_general(op: Operation, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Products summed over the contracted dims, for every pair of batches (StableHLO spec, dot_general)."""
    numbers = op.attributes["dot_dimension_numbers"]
    batching, contracting = (
        [numbers.get(f"{side}_{kind}_dimensions", ()) for side in ("lhs", "rhs")]
        for kind in ("batching", "contracting")
    )
    return _dot_general(a, b, batching, contracting)


@local("ttir.dot_general", attributes="batch_dims_lhs batch_dims_rhs contract_dims_lhs contract_dims_rhs")
def ttir_dot_general(op: Operation, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """As in StableHLO (TTIROps.td, DotGeneralOp)."""
    batching, contracting = (
        [op.attributes[f"{kind}_dims_{side}"] for side in ("lhs", "rhs")] for kind in ("batch", "contract")
    )
    return _dot_general(a, b, batching, contracting)


def _dot_general(
    a: torch.Tensor, b: torch.Tensor, batching: Sequence[Sequence[int]], contracting: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Result dims: batches, the free dims of `a`, the free dims of `b`."""
    free = [
        [dim for dim in range(tensor.dim()) if dim not in {*batch, *contracted}]
        for tensor, batch, contracted in zip((a, b), batching, contracting, strict=True)
    ]
    a_sizes, b_sizes = ([tensor.shape[dim] for dim in dims] for tensor, dims in zip((a, b), free, strict=True))
    batches = [a.shape[dim] for dim in batching[0]]
    terms = math.prod(a.shape[dim] for dim in contracting[0])
    count = math.prod(batches)
    left = a.permute((*batching[0], *free[0], *contracting[0])).reshape(count, math.prod(a_sizes), terms)
    right = b.permute((*batching[1], *contracting[1], *free[1])).reshape(count, terms, math.prod(b_sizes))
    return torch.bmm(widened(left), widened(right)).reshape((*batches, *a_sizes, *b_sizes))


# Which cores and subblocks compute has no influence on values.
_NO_INFLUENCE = "compute_config matmul_program_config"


@formatted("ttir.matmul ttnn.matmul", attributes=f"transpose_a transpose_b {_NO_INFLUENCE}")
def matmul(op: Operation, numerics: Numerics, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The product of the last two dims, batched like torch.matmul (TTIROps.td and TTNNOps.td, MatmulOp)."""
    a = a.mT if op.attributes.get("transpose_a", False) else a
    b = b.mT if op.attributes.get("transpose_b", False) else b
    if not a.is_floating_point():
        return widened(a) @ widened(b)
    return numerics.matmul(a, b, op.type.element)
