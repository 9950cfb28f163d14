# SPDX-License-Identifier: Apache-2.0
"""Indexed reads: rows that cannot be named, offsets that are missing, indices laid out unlike their data."""

from __future__ import annotations

import torch
from planted import Fault, Use, computes_wrongly, dim, inputs, nodes, pieces, split

from fuzz.case import Case
from fuzz.ops.core import specs


def gather_along_split_dim_1(case: Case) -> bool:
    return any(dim(n) == 1 and pieces(case, inputs(case, n)[0], 1) > 1 for n in nodes(case, "gather"))


def flat_index_over_11_bits(case: Case) -> bool:
    known = specs(case)
    return any(
        len(known[n.operands[0]].shape) >= 2 and known[n.operands[0]].elements > 2048 for n in nodes(case, "gather")
    )


def take_from_more_than_f32_counts(case: Case) -> bool:
    """Not computed: 2^24 elements at a time would take minutes."""
    return any(specs(case)[n.operands[0]].elements > 1 << 24 for n in nodes(case, "take"))


@computes_wrongly("embedding")
def embedding_rows_through_bf16(use: Use) -> torch.Tensor:
    ids, table = use.operands
    return use.right(ids.bfloat16().to(ids.dtype).clamp(max=table.shape[0] - 1), table)


@computes_wrongly("embedding")
def embedding_rows_wrap_at_16_bits(use: Use) -> torch.Tensor:
    ids, table = use.operands
    return use.right(ids % (1 << 16), table)


@computes_wrongly("take")
def take_position_through_11_bits(use: Use) -> torch.Tensor:
    """An f32 significand that passed a matrix unit holds 11 bits."""
    data, positions = use.operands
    excess = 2.0 ** (torch.frexp(positions.double()).exponent - 11).clamp(min=0)
    rounded = (torch.round(positions / excess) * excess).long()
    return use.right(data, rounded.clamp(max=data.numel() - 1))


@computes_wrongly("gather")
def gather_position_wraps_at_8_bits(use: Use) -> torch.Tensor:
    """The flat position, row by row: also of a dim shorter than that."""
    data, index = use.operands
    flat = torch.arange(data.numel()).reshape(data.shape).gather(use.node.keywords["dim"], index)
    return data.flatten()[flat % 256]


@computes_wrongly("index2")
def index2_counts_columns_of_one_shard(use: Use) -> torch.Tensor:
    data, row, column = use.operands
    return use.right(data, row, column % (data.shape[1] // use.pieces(0, 1) or 1))


@computes_wrongly("index_select")
def index_select_of_a_split_dim_reads_the_first_shard(use: Use) -> torch.Tensor:
    data, index = use.operands
    along = use.node.keywords["dim"]
    return use.right(data, index % max(data.shape[along] // use.pieces(0, along), 1))


@computes_wrongly("index")
def index_below_zero_reads_the_first_row(use: Use) -> torch.Tensor:
    data, index = use.operands
    return use.right(data, index.clamp(min=0))


@computes_wrongly("take_along_dim")
def take_along_dim_does_not_broadcast(use: Use) -> torch.Tensor:
    data, index = use.operands
    along = use.node.keywords["dim"]
    return data.gather(along, index)


def index_of_dim_1_split_data_not(case: Case) -> bool:
    return any(
        split(case, n, 1) and case.input(n.operands[0]) and not split(case, n, 0) for n in nodes(case, "index_dim1")
    )


def narrow_ids_into_a_table_split_by_columns(case: Case) -> bool:
    return any(
        specs(case)[n.operands[0]].dtype == "i32" and pieces(case, inputs(case, n)[1], 1) > 1
        for n in nodes(case, "embedding")
    )


FAULTS = (
    Fault(
        gather_along_split_dim_1,
        """
        mesh 1x2
        x0: f32[1,1] position @ -,y
        x1: i64[1,1] monotone high=1
        v0: gather(x0, x1) dim=1
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[8,16] position seed=1 @ x,y
            x1: i64[8,4] random high=16 seed=3 @ x,-
            x2: f32[8,4] small @ x,-
            v0: gather(x0, x1) dim=1
            v1: add(v0, x2) @ x,y
            v2: sum(v1) dim=0 keepdim=False
            return v2
            """,
            """
            mesh 2x4
            x0: bf16[4,8,32] position @ -,xy,-
            x1: i64[4,8,32] boundary high=8 @ x,-,y
            v0: flip(x1) dims=(2,)
            v1: gather(x0, v0) dim=1
            v2: permute(v1) dims=(1,0,2)
            return v2 @ y,-,-
            return v0
            option optimization_level=1
            """,
            """
            mesh 2x1
            x0: i32[64,64] small
            x1: i32[64,64] position @ -,x
            x2: i64[64,64] duplicates high=64 seed=2 @ x,-
            v0: mul(x0, x1)
            v1: gather(x1, x2) dim=1
            v2: add(v0, v1)
            return v2 @ -,-
            """,
        ),
    ),
    Fault(
        flat_index_over_11_bits,
        """
        mesh 1x1
        x0: f32[1,2049] position
        x1: i64[1,1] monotone high=1
        v0: gather(x0, x1) dim=0
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[64,64] position @ x,y
            x1: i64[8,64] random high=64 @ x,-
            v0: gather(x0, x1) dim=0
            v1: add(v0, v0)
            return v1
            """,
            """
            mesh 1x2
            x0: i32[513,8] position @ y,-
            x1: i64[16,8] boundary high=513
            v0: gather(x0, x1) dim=0
            return v0
            """,
            """
            mesh 1x1
            x0: f32[8,16,24] position
            x1: i64[8,4,24] boundary high=16
            v0: gather(x0, x1) dim=1
            v1: cumsum(v0) dim=2
            return v1
            """,
        ),
    ),
    Fault(
        take_from_more_than_f32_counts,
        """
        mesh 1x1
        x0: f32[16777217] position
        x1: i64[1] monotone high=1
        v0: take(x0, x1)
        return v0
        """,
        (
            """
            mesh 2x2
            x0: i32[4104,4100] position @ x,y
            x1: i64[8] random low=16777216 high=16826400
            v0: take(x0, x1)
            v1: add(v0, v0)
            return v1 @ xy
            """,
        ),
    ),
    Fault(
        embedding_rows_through_bf16,
        """
        mesh 1x1
        x0: i64[1] monotone low=257 high=258
        x1: f32[258,1] position
        v0: embedding(x0, x1)
        return v0
        """,
        (
            """
            mesh 2x2
            x0: i64[4,8] boundary high=2056 seed=1 @ x,-
            x1: f32[2056,8] position @ -,y
            v0: embedding(x0, x1)
            return v0
            """,
        ),
    ),
    Fault(
        embedding_rows_wrap_at_16_bits,
        """
        mesh 1x1
        x0: i64[1] monotone low=65536 high=65537
        x1: f32[65537,1] position
        v0: embedding(x0, x1)
        return v0
        """,
        (
            """
            mesh 1x2
            x0: i64[8,16] random high=262144 seed=2
            x1: bf16[262144,2] position @ y,-
            v0: embedding(x0, x1)
            v1: mul(v0, v0)
            return v1
            """,
        ),
    ),
    Fault(
        take_position_through_11_bits,
        """
        mesh 1x1
        x0: f32[2050] position
        x1: i64[1] monotone low=2049 high=2050
        v0: take(x0, x1)
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[264,17] position @ x,-
            x1: i64[8] duplicates high=17
            v0: arange() dtype='i64' end=264 start=256 step=1
            v1: mul_scalar(v0) value=17
            v2: add(v1, x1)
            v3: take(x0, v2)
            return v3
            """,
        ),
    ),
    Fault(
        gather_position_wraps_at_8_bits,
        """
        mesh 1x1
        x0: f32[257] position
        x1: i64[1] monotone low=256 high=257
        v0: gather(x0, x1) dim=0
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[64,32] position @ x,-
            x1: i64[16,32] random high=64 @ y,-
            v0: gather(x0, x1) dim=0
            return v0
            """,
        ),
    ),
    Fault(
        index2_counts_columns_of_one_shard,
        """
        mesh 1x2
        x0: f32[2,2] position @ -,y
        x1: i64[1] monotone low=1 high=2
        v0: index2(x0, x1, x1)
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[8,32] position @ x,y
            x1: i64[8,4] random high=32
            v0: arange() dtype='i64' end=8 start=0 step=1
            v1: unsqueeze(v0) dim=1
            v2: expand(v1) shape=(8,4)
            v3: index2(x0, v2, x1)
            return v3
            """,
        ),
    ),
    Fault(
        index_select_of_a_split_dim_reads_the_first_shard,
        """
        mesh 1x2
        x0: f32[2] position @ y
        x1: i64[1] monotone low=1 high=2
        v0: index_select(x0, x1) dim=0
        return v0
        """,
    ),
    Fault(
        index_below_zero_reads_the_first_row,
        """
        mesh 1x1
        x0: f32[2] position
        x1: i64[1] monotone low=-1
        v0: index(x0, x1)
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[16,8] position @ x,y
            x1: i64[4,8] random low=-16 high=16 seed=1 @ y,-
            v0: index(x0, x1)
            v1: sum(v0) dim=2 keepdim=False
            return v1
            """,
        ),
    ),
    Fault(
        take_along_dim_does_not_broadcast,
        """
        mesh 1x1
        x0: f32[1,2] position
        x1: i64[1,1] monotone high=1
        v0: take_along_dim(x0, x1) dim=0
        return v0
        """,
        (
            """
            mesh 1x4
            x0: f32[8,5,24] position @ -,-,y
            x1: i64[8,3,1] random high=5
            v0: take_along_dim(x0, x1) dim=1
            return v0
            """,
        ),
    ),
    Fault(
        index_of_dim_1_split_data_not,
        """
        mesh 1x2
        x0: f32[1,1] position
        x1: i64[1] monotone high=1 @ y
        v0: index_dim1(x0, x1)
        return v0
        """,
    ),
    Fault(
        narrow_ids_into_a_table_split_by_columns,
        """
        mesh 1x2
        x0: i32[1] monotone high=1
        x1: f32[1,1] position @ -,y
        v0: embedding(x0, x1)
        return v0
        """,
        (
            """
            mesh 2x2
            x0: i64[4,8] random high=32 @ x,-
            x1: f32[32,16] position @ -,y
            v0: cast(x0) dtype='i32'
            v1: embedding(v0, x1)
            return v1
            """,
        ),
    ),
)
