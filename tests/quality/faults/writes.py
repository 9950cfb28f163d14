# SPDX-License-Identifier: Apache-2.0
"""Indexed writes: lost writes, writes in the wrong place, bases that are counted twice."""

from __future__ import annotations

import torch
from planted import Fault, Use, computes_wrongly, inputs, nodes, pieces, split

from fuzz.case import Case


def scatter_index_split_base_not(case: Case) -> bool:
    return any(
        split(case, n, 1) and case.input(n.operands[0]) and not split(case, n, 0) for n in nodes(case, "scatter")
    )


@computes_wrongly("scatter_value")
def scatter_value_into_a_split_dim_writes_the_first_shard(use: Use) -> torch.Tensor:
    base, index = use.operands
    along = use.node.keywords["dim"]
    return use.right(base, index % max(base.shape[along] // use.pieces(0, along), 1))


@computes_wrongly("index_fill")
def index_fill_writes_once(use: Use) -> torch.Tensor:
    base, index = use.operands
    return use.right(base, index[:1])


@computes_wrongly("index_copy")
def index_copy_takes_positions_for_sorted(use: Use) -> torch.Tensor:
    base, index, source = use.operands
    return use.right(base, index.sort().values, source)


@computes_wrongly("index_put_value")
def index_put_counts_every_row_from_its_shard(use: Use) -> torch.Tensor:
    base, row, column = use.operands
    return use.right(base, row % max(base.shape[0] // use.pieces(0, 0), 1), column)


@computes_wrongly("slice_scatter")
def strided_slice_scatter_writes_every_place_of_a_split_dim(use: Use) -> torch.Tensor | None:
    along = use.node.keywords["dim"]
    base, source = use.operands
    if use.pieces(0, along) == 1:
        return None
    start = use.node.keywords["start"]
    return torch.slice_scatter(base, source, along, start, start + source.shape[along], 1)


@computes_wrongly("select_scatter")
def select_scatter_writes_the_first_place(use: Use) -> torch.Tensor:
    return use.right(index=0)


def one_hot_of_more_classes_than_a_tile(case: Case) -> bool:
    return any(n.keywords["classes"] > 32 for n in nodes(case, "one_hot"))


@computes_wrongly("scatter_add")
def bf16_scatter_add_keeps_one_of_several(use: Use) -> torch.Tensor | None:
    base, index, source = use.operands
    along = use.node.keywords["dim"]
    if base.dtype != torch.bfloat16:
        return None
    corner = source[tuple(slice(size) for size in index.shape)]
    return base.scatter(along, index, base.gather(along, index) + corner)


@computes_wrongly("index_add")
def index_add_counts_the_base_on_every_shard_of_the_index(use: Use) -> torch.Tensor:
    base, index, source = use.operands
    return use.right(base * use.pieces(1, 0), index, source)


@computes_wrongly("scatter_reduce_amax")
def scatter_reduce_amax_never_includes_the_base(use: Use) -> torch.Tensor:
    return use.right(include_self=False)


@computes_wrongly("scatter_reduce_prod")
def scatter_reduce_prod_keeps_the_first_write(use: Use) -> torch.Tensor | None:
    base, index, source = use.operands
    along = use.node.keywords["dim"]
    if use.node.keywords["include_self"]:
        return None
    corner = source[tuple(slice(size) for size in index.shape)]
    return base.scatter(along, index.flip(along), corner.flip(along))


def accumulating_put_into_both_split_dims(case: Case) -> bool:
    return any(
        pieces(case, value, 0) > 1 and pieces(case, value, 1) > 1
        for n in nodes(case, "index_put_accumulate")
        for value in inputs(case, n)[:1]
    )


FAULTS = (
    Fault(
        scatter_index_split_base_not,
        """
        mesh 1x2
        x0: f32[1] position
        x1: i64[1] monotone high=1 @ y
        v0: scatter(x0, x1, x0) dim=0
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[16,8] position
            x1: i64[4,8] permutation high=16 @ xy,-
            x2: f32[4,8] position @ x,-
            v0: scatter(x0, x1, x2) dim=0
            v1: add(v0, x0)
            return v1 @ x,-
            return v0
            """,
            """
            mesh 1x4
            x0: bf16[2,4,8] position seed=2
            x1: i64[2,4,8] permutation high=8 dim=2 seed=1 @ -,-,y
            x2: bf16[2,4,8] small @ -,y,-
            v0: mul(x2, x2)
            v1: scatter(x0, x1, v0) dim=2
            v2: cumsum(v1) dim=1
            return v2
            """,
        ),
    ),
    Fault(
        scatter_value_into_a_split_dim_writes_the_first_shard,
        """
        mesh 1x2
        x0: f32[2] position @ y
        x1: i64[1] monotone low=1 high=2
        v0: scatter_value(x0, x1) dim=0 value=1
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[16,32] position @ x,y
            x1: i64[16,4] permutation high=32 dim=1 @ x,-
            x2: f32[16,32] small
            v0: scatter_value(x0, x1) dim=1 value=1
            v1: mul(v0, x2)
            return v1
            """,
        ),
    ),
    Fault(
        index_fill_writes_once,
        """
        mesh 1x1
        x0: f32[2] position
        x1: i64[2] monotone high=2
        v0: index_fill(x0, x1) dim=0 value=1
        return v0
        """,
    ),
    Fault(
        index_copy_takes_positions_for_sorted,
        """
        mesh 1x1
        x0: f32[2] position
        x1: i64[2] permutation high=2 seed=2
        v0: index_copy(x0, x1, x0) dim=0
        return v0
        """,
    ),
    Fault(
        index_put_counts_every_row_from_its_shard,
        """
        mesh 1x2
        x0: f32[2,2] position @ y,-
        x1: i64[1] monotone low=1 high=2
        v0: index_put_value(x0, x1, x1) value=1
        return v0
        """,
    ),
    Fault(
        strided_slice_scatter_writes_every_place_of_a_split_dim,
        """
        mesh 1x2
        x0: f32[3] position @ y
        x1: f32[2] position
        v0: slice_scatter(x0, x1) dim=0 end=3 start=0 step=2
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[8,33] small @ y,x
            x1: f32[8,8] position
            v0: slice_scatter(x0, x1) dim=1 end=33 start=10 step=3
            return v0
            """,
        ),
    ),
    Fault(
        select_scatter_writes_the_first_place,
        """
        mesh 1x1
        x0: f32[1,2] position
        x1: f32[1] position
        v0: select_scatter(x0, x1) dim=1 index=1
        return v0
        """,
    ),
    Fault(
        one_hot_of_more_classes_than_a_tile,
        """
        mesh 1x1
        x0: i64[1] position
        v0: one_hot(x0) classes=33
        return v0
        """,
        (
            """
            mesh 2x2
            x0: i64[8,4] permutation high=160 dim=1 @ x,-
            v0: one_hot(x0) classes=160
            v1: amax(v0) dim=1 keepdim=False
            v2: cast(v1) dtype='f32'
            return v2 @ -,y
            """,
        ),
    ),
    Fault(
        bf16_scatter_add_keeps_one_of_several,
        """
        mesh 1x1
        x0: bf16[2] position
        x1: i64[2] monotone high=1
        v0: scatter_add(x0, x1, x0) dim=0
        return v0
        """,
        (
            """
            mesh 2x2
            x0: bf16[8,16] small @ x,-
            x1: i64[32,16] duplicates high=8 seed=3 @ y,-
            x2: bf16[32,16] small seed=2
            v0: scatter_add(x0, x1, x2) dim=0
            v1: flip(v0) dims=(1,)
            return v1
            """,
            """
            mesh 1x2
            x0: bf16[4,2,8] position @ y,-,-
            x1: i64[4,2,8] duplicates high=8
            v0: add(x0, x0)
            v1: scatter_add(x0, x1, v0) dim=2
            v2: cast(v1) dtype='f32'
            return v2
            return v0
            """,
        ),
    ),
    Fault(
        index_add_counts_the_base_on_every_shard_of_the_index,
        """
        mesh 1x2
        x0: f32[1] position
        x1: i64[1] monotone high=1 @ y
        v0: index_add(x0, x1, x0) dim=0
        return v0
        """,
    ),
    Fault(
        scatter_reduce_amax_never_includes_the_base,
        """
        mesh 1x1
        x0: f32[2] position
        x1: i64[1] monotone low=1 high=2
        v0: scatter_reduce_amax(x0, x1, x0) dim=0 include_self=True
        return v0
        """,
    ),
    Fault(
        scatter_reduce_prod_keeps_the_first_write,
        """
        mesh 1x1
        x0: f32[2] position
        x1: i64[2] monotone high=1
        v0: scatter_reduce_prod(x0, x1, x0) dim=0 include_self=False
        return v0
        """,
    ),
    Fault(
        accumulating_put_into_both_split_dims,
        """
        mesh 2x2
        x0: f32[1,1] position @ x,y
        x1: i64[1] monotone high=1
        x2: f32[1] position
        v0: index_put_accumulate(x0, x1, x1, x2)
        return v0
        """,
    ),
)
