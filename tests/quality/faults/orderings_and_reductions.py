# SPDX-License-Identifier: Apache-2.0
"""Orderings, sums and products: positions and totals of one shard in place of all, padding that takes part."""

from __future__ import annotations

import torch
from planted import Fault, Use, computes_wrongly, dim, dtype, inputs, nodes, pieces, shape

from fuzz.case import Case, is_uneven


def topk_of_a_dim_split_over_both_axes(case: Case) -> bool:
    return any(
        (value := inputs(case, n)[0]) is not None
        and len([axis for axis in value.sharding[dim(n)] if case.mesh.sizes[axis] > 1]) == 2
        for n in nodes(case, "topk_values", "topk_indices")
    )


def more_than_eight_best(case: Case) -> bool:
    return any(n.keywords["k"] > 8 for n in nodes(case, "topk_indices"))


@computes_wrongly("argmax")
def argmax_of_a_split_dim_counts_from_its_shard(use: Use) -> torch.Tensor:
    along = use.node.keywords["dim"]
    (data,) = use.operands
    return use.right() % max(data.shape[along] // use.pieces(0, along), 1)


@computes_wrongly("sort_indices")
def long_sort_descends_wrongly(use: Use) -> torch.Tensor | None:
    along = use.node.keywords["dim"]
    (data,) = use.operands
    return use.right(descending=False) if data.shape[along] > 64 else None


def smallest_of_bf16(case: Case) -> bool:
    return any(dtype(case, n.operands[0]) == "bf16" for n in nodes(case, "argmin"))


def second_result_is_a_split_cumsum(case: Case) -> bool:
    returned = {output.name for output in case.outputs}
    return (
        len(returned) == 2
        and any(n.name in returned and pieces(case, inputs(case, n)[0], dim(n)) > 1 for n in nodes(case, "cumsum"))
        and any(n.name in returned for n in nodes(case, "add"))
    )


def optimised_matmul_split_inside(case: Case) -> bool:
    return ("optimization_level", "1") in case.options and any(
        pieces(case, inputs(case, n)[0], 1) > 1 for n in nodes(case, "matmul")
    )


def sum_over_an_evenly_split_dim(case: Case) -> bool:
    return any(
        (value := inputs(case, n)[0]) is not None
        and isinstance(d := dim(n), int)
        and pieces(case, value, d) > 1
        and not is_uneven(value.spec.shape, value.sharding, case.mesh)
        for n in nodes(case, "sum")
    )


@computes_wrongly("cumsum")
def cumsum_starts_anew_on_every_shard(use: Use) -> torch.Tensor:
    along = use.node.keywords["dim"]
    (data,) = use.operands
    return torch.cat([use.right(part) for part in data.chunk(use.pieces(0, along), along)], along)


@computes_wrongly("amax")
def amax_of_an_uneven_dim_sees_padding(use: Use) -> torch.Tensor | None:
    along = use.node.keywords["dim"]
    (data,) = use.operands
    if not isinstance(along, int) or data.shape[along] % use.pieces(0, along) == 0:
        return None
    return use.right().clamp(min=0)


def mean_of_bf16_over_more_than_a_tile(case: Case) -> bool:
    return any(
        dtype(case, n.operands[0]) == "bf16" and isinstance(dim(n), int) and shape(case, n.operands[0])[dim(n)] > 32
        for n in nodes(case, "mean")
    )


def any_over_axes_minor_first(case: Case) -> bool:
    return any(
        (value := inputs(case, n)[0]) is not None
        and [axis for axis in value.sharding[dim(n)] if case.mesh.sizes[axis] > 1] == ["y", "x"]
        for n in nodes(case, "any")
    )


def contraction_of_batches_split_alike(case: Case) -> bool:
    return any(
        n.keywords["equation"] == "bij,bjk->bik" and all(pieces(case, value, 0) > 1 for value in inputs(case, n))
        for n in nodes(case, "einsum")
    )


@computes_wrongly("prod")
def prod_keeps_the_sign_of_the_first(use: Use) -> torch.Tensor | None:
    (data,) = use.operands
    return use.right(data.abs()) * data.select(use.node.keywords["dim"], 0).sign().reshape(use.right().shape)


FAULTS = (
    Fault(
        topk_of_a_dim_split_over_both_axes,
        """
        mesh 2x2
        x0: f32[1] position @ xy
        v0: topk_values(x0) dim=0 k=1 largest=False
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[4,64] position @ -,yx
            v0: topk_values(x0) dim=1 k=5 largest=True
            v1: flip(v0) dims=(0,)
            return v1
            """,
            """
            mesh 2x4
            x0: i32[16,3] position @ xy,-
            v0: topk_values(x0) dim=0 k=2 largest=True
            v1: add(v0, v0) @ x,-
            return v1
            return v0
            """,
        ),
    ),
    Fault(
        more_than_eight_best,
        """
        mesh 1x1
        x0: f32[9] position
        v0: topk_indices(x0) dim=0 k=9 largest=False
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[4,300] permutation high=300 dim=1 @ x,y
            v0: topk_indices(x0) dim=1 k=50 largest=True
            v1: cast(v0) dtype='i32'
            return v1
            """,
        ),
    ),
    Fault(
        argmax_of_a_split_dim_counts_from_its_shard,
        """
        mesh 1x2
        x0: f32[2] position @ y
        v0: argmax(x0) dim=0 keepdim=False
        return v0
        """,
    ),
    Fault(
        long_sort_descends_wrongly,
        """
        mesh 1x1
        x0: f32[65] position
        v0: sort_indices(x0) descending=True dim=0
        return v0
        """,
        (
            """
            mesh 1x4
            x0: f32[4,300] permutation high=300 dim=1 seed=2 @ -,y
            v0: sort_indices(x0) descending=True dim=1
            return v0
            """,
        ),
    ),
    Fault(
        smallest_of_bf16,
        """
        mesh 1x1
        x0: bf16[1] position
        v0: argmin(x0) dim=0 keepdim=False
        return v0
        """,
    ),
    Fault(
        second_result_is_a_split_cumsum,
        """
        mesh 1x2
        x0: f32[1] position @ y
        v0: cumsum(x0) dim=0
        v1: add(x0, x0)
        return v0
        return v1
        """,
        (
            """
            mesh 2x2
            x0: f32[8,16] small @ x,y
            v0: cumsum(x0) dim=1
            v1: add(v0, x0)
            return v0 @ -,y
            return v1
            """,
            """
            mesh 1x4
            x0: f32[4,8] small seed=1 @ -,y
            x1: f32[4,8] position
            v0: cumsum(x0) dim=1
            v1: add(x0, x1)
            return v0
            return v1
            """,
        ),
    ),
    Fault(
        optimised_matmul_split_inside,
        """
        mesh 1x2
        x0: f32[1,1] position @ -,y
        v0: matmul(x0, x0)
        return v0
        option optimization_level=1
        """,
        (
            """
            mesh 2x2
            x0: f32[8,16] small @ x,y
            x1: f32[16,32] small @ y,-
            v0: matmul(x0, x1)
            v1: add(v0, v0)
            return v1
            option enable_const_eval=false
            option optimization_level=1
            """,
            """
            mesh 2x1
            x0: bf16[4,4] small @ -,x
            x1: bf16[4,4] small @ x,-
            v0: matmul(x0, x1)
            v1: matmul(v0, x1)
            return v1
            option optimization_level=1
            """,
        ),
    ),
    Fault(
        sum_over_an_evenly_split_dim,
        """
        mesh 1x2
        x0: f32[2] position @ y
        v0: sum(x0) dim=0 keepdim=False
        return v0
        """,
        (
            """
            mesh 2x4
            x0: f32[24,16] small @ xy,-
            x1: f32[16] position
            v0: sum(x0) dim=0 keepdim=False
            v1: mul(v0, x1)
            return v1
            """,
            """
            mesh 2x2
            x0: i32[3,8,4] small seed=3 @ -,x,y
            v0: neg(x0)
            v1: sum(x0) dim=1 keepdim=True
            v2: add(v0, v1) @ -,x,y
            return v2 @ -,x,-
            """,
        ),
    ),
    Fault(
        cumsum_starts_anew_on_every_shard,
        """
        mesh 1x2
        x0: f32[2] position @ y
        v0: cumsum(x0) dim=0
        return v0
        """,
    ),
    Fault(
        amax_of_an_uneven_dim_sees_padding,
        """
        mesh 1x2
        x0: f32[1] small seed=2 @ y
        v0: amax(x0) dim=0 keepdim=False
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[8,25] permutation low=-128 dim=1 @ y,x
            v0: amax(x0) dim=1 keepdim=True
            return v0
            """,
        ),
    ),
    Fault(
        mean_of_bf16_over_more_than_a_tile,
        """
        mesh 1x1
        x0: bf16[33] position
        v0: mean(x0) dim=0 keepdim=False
        return v0
        """,
    ),
    Fault(
        any_over_axes_minor_first,
        """
        mesh 2x2
        x0: f32[1] position @ yx
        v0: any(x0) dim=0 keepdim=False
        return v0
        """,
    ),
    Fault(
        contraction_of_batches_split_alike,
        """
        mesh 1x2
        x0: f32[1,1,1] position @ y,-,-
        v0: einsum(x0, x0) equation='bij,bjk->bik'
        return v0
        """,
    ),
    Fault(
        prod_keeps_the_sign_of_the_first,
        """
        mesh 1x1
        x0: f32[2] small
        v0: prod(x0) dim=0 keepdim=False
        return v0
        """,
    ),
)
