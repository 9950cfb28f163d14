# SPDX-License-Identifier: Apache-2.0
"""Arithmetic, comparisons, masks and constants: what single elements and attributes decide."""

from __future__ import annotations

import torch
from planted import Fault, Use, computes_wrongly, dtype, inputs, nodes, pieces, shape, split

from fuzz.case import Case
from fuzz.ops.core import specs


def long_arange_added(case: Case) -> bool:
    known = specs(case)
    long = {n.name for n in nodes(case, "arange") if known[n.name].elements >= 257}
    return any(long.intersection(n.operands) for n in nodes(case, "add"))


@computes_wrongly("full")
def full_forgets_the_sign(use: Use) -> torch.Tensor | None:
    return use.right(value=abs(use.node.keywords["value"]))


@computes_wrongly("floor_divide_scalar")
def floor_division_by_more_than_two_rounds_to_zero(use: Use) -> torch.Tensor | None:
    (data,) = use.operands
    if use.node.keywords["value"] <= 2:
        return None
    return torch.div(data, use.node.keywords["value"], rounding_mode="trunc")


def scalar_of_more_than_two_bits(case: Case) -> bool:
    return any(n.keywords["value"] > 4 for n in nodes(case, "mul_scalar"))


@computes_wrongly("logical_and")
def logical_and_needs_one(use: Use) -> torch.Tensor:
    first, second = use.operands
    return torch.logical_or(first, second)


@computes_wrongly("where")
def where_takes_the_other_side(use: Use) -> torch.Tensor:
    mask, first, second = use.operands
    return use.right(~mask, first, second)


def mask_of_rows_beside_split_columns(case: Case) -> bool:
    return any(
        shape(case, n.operands[1])[-1:] == (1,)
        and len(shape(case, n.operands[0])) == 2
        and pieces(case, inputs(case, n)[0], 1) > 1
        for n in nodes(case, "masked_fill")
    )


@computes_wrongly("clamp")
def clamp_lets_negative_numbers_through(use: Use) -> torch.Tensor:
    (data,) = use.operands
    return torch.where(data < 0, data, use.right())


@computes_wrongly("maximum")
def maximum_of_broadcast_rows_takes_the_first(use: Use) -> torch.Tensor | None:
    first, second = use.operands
    broadcast = first.dim() == second.dim() and first.shape != second.shape
    return first.expand(use.right().shape) if broadcast else None


def i32_compared_with_itself_split(case: Case) -> bool:
    return any(
        dtype(case, n.operands[0]) == "i32" and split(case, n, 0) and split(case, n, 1) for n in nodes(case, "lt")
    )


FAULTS = (
    Fault(
        long_arange_added,
        """
        mesh 1x1
        x0: f32[1] position
        v0: arange() dtype='f32' end=257 start=0 step=1
        v1: add(v0, x0)
        return v1
        """,
        (
            """
            mesh 2x2
            x0: f32[8,1025] position @ x,y
            v0: arange() dtype='f32' end=1025 start=0 step=1
            v1: add(v0, x0)
            v2: sum(v1) dim=1 keepdim=True
            return v2
            """,
            """
            mesh 1x2
            x0: i64[4,64] small seed=1
            x1: i64[4,513] random high=64 @ y,-
            v0: arange() dtype='i64' end=1029 start=3 step=2
            v1: gather(x0, x1) dim=1
            v2: add(v0, v1)
            v3: flip(v2) dims=(0,1)
            return v3
            return v1
            """,
        ),
    ),
    Fault(
        full_forgets_the_sign,
        """
        mesh 1x1
        v0: full() dtype='f32' shape=() value=-1
        return v0
        """,
    ),
    Fault(
        floor_division_by_more_than_two_rounds_to_zero,
        """
        mesh 1x1
        x0: f32[1] small seed=2
        v0: floor_divide_scalar(x0) value=3
        return v0
        """,
    ),
    Fault(
        scalar_of_more_than_two_bits,
        """
        mesh 1x1
        x0: f32[1] position
        v0: mul_scalar(x0) value=5
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[8,16] position @ x,y
            v0: mul_scalar(x0) value=16
            v1: add(v0, x0)
            return v1
            """,
        ),
    ),
    Fault(
        logical_and_needs_one,
        """
        mesh 1x1
        x0: f32[1] position
        x1: bool[1] mask seed=1
        v0: logical_and(x0, x1)
        return v0
        """,
    ),
    Fault(
        where_takes_the_other_side,
        """
        mesh 1x1
        x0: bool[1] mask
        x1: f32[1] position
        x2: f32[1] small seed=1
        v0: where(x0, x1, x2)
        return v0
        """,
    ),
    Fault(
        mask_of_rows_beside_split_columns,
        """
        mesh 1x2
        x0: f32[1,1] position @ -,y
        x1: bool[1] mask
        v0: masked_fill(x0, x1) value=1
        return v0
        """,
    ),
    Fault(
        clamp_lets_negative_numbers_through,
        """
        mesh 1x1
        x0: f32[1] small seed=2
        v0: clamp(x0) max=0 min=0
        return v0
        """,
    ),
    Fault(
        maximum_of_broadcast_rows_takes_the_first,
        """
        mesh 1x1
        x0: f32[1] position
        x1: f32[2] position
        v0: maximum(x0, x1)
        return v0
        """,
    ),
    Fault(
        i32_compared_with_itself_split,
        """
        mesh 1x2
        x0: i32[1] position @ y
        v0: lt(x0, x0)
        return v0
        """,
    ),
)
