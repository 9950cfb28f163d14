# SPDX-License-Identifier: Apache-2.0
"""Views, reorderings and joins: attributes that mean something else once a dim is split."""

from __future__ import annotations

import torch
from planted import Fault, Use, computes_wrongly, dim, inputs, nodes, pieces

from fuzz.case import Case, is_uneven, shard_counts
from fuzz.ops.core import specs


def uneven_concat_on_split_dim(case: Case) -> bool:
    return any(
        all(v is not None and pieces(case, v, dim(n)) > 1 for v in inputs(case, n))
        and len(n.operands) > 1
        and any(v is not None and is_uneven(v.spec.shape, v.sharding, case.mesh) for v in inputs(case, n))
        for n in nodes(case, "concat")
    )


def three_parts_joined(case: Case) -> bool:
    return any(len(n.operands) >= 3 for n in nodes(case, "concat"))


def slice_starts_inside_a_split_dim(case: Case) -> bool:
    return any(
        pieces(case, inputs(case, n)[0], dim(n)) > 1
        and 0 < n.keywords["start"] < specs(case)[n.operands[0]].shape[dim(n)]
        for n in nodes(case, "slice")
    )


def reshape_merges_a_split_minor_dim(case: Case) -> bool:
    known = specs(case)
    return any(
        (value := inputs(case, n)[0]) is not None
        and len(known[n.name].shape) < len(value.spec.shape)
        and pieces(case, value, len(value.spec.shape) - 1) > 1
        and value.spec.shape[-2] > 1
        for n in nodes(case, "reshape")
    )


@computes_wrongly("roll")
def roll_within_every_shard(use: Use) -> torch.Tensor:
    along = use.node.keywords["dim"]
    (data,) = use.operands
    return torch.cat([use.right(part) for part in data.chunk(use.pieces(0, along), along)], along)


@computes_wrongly("flip")
def flip_turns_one_dim_only(use: Use) -> torch.Tensor:
    return use.right(dims=use.node.keywords["dims"][:1])


@computes_wrongly("pad")
def pad_writes_zeros(use: Use) -> torch.Tensor:
    return use.right(value=0)


@computes_wrongly("transpose")
def transpose_keeps_the_order_in_memory(use: Use) -> torch.Tensor:
    (data,) = use.operands
    return data.reshape(use.right().shape)


@computes_wrongly("permute")
def permute_turns_the_other_way(use: Use) -> torch.Tensor:
    dims = use.node.keywords["dims"]
    return use.right(dims=tuple(dims.index(d) for d in range(len(dims))))


def tile_along_a_split_dim(case: Case) -> bool:
    return any(
        (value := inputs(case, n)[0]) is not None
        and any(
            repeats > 1 and pieces(case, value, position) > 1
            for position, repeats in enumerate(n.keywords["repeats"][-len(value.spec.shape) :])
        )
        for n in nodes(case, "tile")
    )


def expand_constrained_on_its_first_dim(case: Case) -> bool:
    return any(n.sharding is not None and shard_counts(n.sharding, case.mesh)[0] > 1 for n in nodes(case, "expand"))


@computes_wrongly("select")
def select_inside_a_split_dim_takes_the_first_shards(use: Use) -> torch.Tensor:
    along = use.node.keywords["dim"]
    (data,) = use.operands
    return use.right(index=use.node.keywords["index"] % max(data.shape[along] // use.pieces(0, along), 1))


def squeezed_dim_is_split(case: Case) -> bool:
    return any(pieces(case, inputs(case, n)[0], dim(n)) > 1 for n in nodes(case, "squeeze"))


FAULTS = (
    Fault(
        uneven_concat_on_split_dim,
        """
        mesh 1x2
        x0: f32[1] position @ y
        v0: concat(x0, x0) dim=0
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[9,4] position @ x,-
            x1: f32[8,4] position seed=1 @ x,y
            x2: f32[3,4] small @ y,-
            v0: concat(x0, x1, x2) dim=0
            v1: mul(v0, v0)
            return v1 @ x,-
            """,
            """
            mesh 1x4
            x0: i32[4,8] position @ -,y
            x1: i32[4,7] position @ -,y
            v0: concat(x0, x1) dim=1
            v1: sum(v0) dim=0 keepdim=False
            return v0
            return v1
            """,
        ),
    ),
    Fault(
        three_parts_joined,
        """
        mesh 1x1
        x0: f32[1] position
        v0: concat(x0, x0, x0) dim=0
        return v0
        """,
    ),
    Fault(
        slice_starts_inside_a_split_dim,
        """
        mesh 1x2
        x0: f32[2] position @ y
        v0: slice(x0) dim=0 end=2 start=1 step=1
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[16,8] position @ x,y
            v0: slice(x0) dim=0 end=12 start=4 step=2
            v1: mul(v0, v0)
            return v1
            """,
            """
            mesh 1x4
            x0: bf16[3,32,2] position @ -,y,-
            x1: bf16[3,15,2] small
            v0: slice(x0) dim=1 end=32 start=17 step=1
            v1: add(v0, x1)
            return v1 @ -,-,-
            """,
        ),
    ),
    Fault(
        reshape_merges_a_split_minor_dim,
        """
        mesh 1x2
        x0: f32[2,1] position @ -,y
        v0: reshape(x0) shape=(2,)
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[4,8,16] position @ -,x,y
            v0: reshape(x0) shape=(4,128)
            v1: flip(v0) dims=(1,)
            return v1
            """,
            """
            mesh 1x4
            x0: i64[6,8] position @ -,y
            x1: i64[48] small
            v0: reshape(x0) shape=(48,)
            v1: mul(v0, x1)
            return v1
            """,
        ),
    ),
    Fault(
        roll_within_every_shard,
        """
        mesh 1x2
        x0: f32[2] position @ y
        v0: roll(x0) dim=0 shift=1
        return v0
        """,
    ),
    Fault(
        flip_turns_one_dim_only,
        """
        mesh 1x1
        x0: f32[1,2] position
        v0: flip(x0) dims=(0,1)
        return v0
        """,
    ),
    Fault(
        pad_writes_zeros,
        """
        mesh 1x1
        x0: f32[1] position
        v0: pad(x0) pads=(0,1) value=1
        return v0
        """,
    ),
    Fault(
        transpose_keeps_the_order_in_memory,
        """
        mesh 1x1
        x0: f32[2,2] position
        v0: transpose(x0) dim0=0 dim1=1
        return v0
        """,
    ),
    Fault(
        permute_turns_the_other_way,
        """
        mesh 1x1
        x0: f32[1,1,2] position
        v0: permute(x0) dims=(1,2,0)
        return v0
        """,
    ),
    Fault(
        tile_along_a_split_dim,
        """
        mesh 1x2
        x0: f32[1] position @ y
        v0: tile(x0) repeats=(2,)
        return v0
        """,
    ),
    Fault(
        expand_constrained_on_its_first_dim,
        """
        mesh 1x2
        x0: f32[1] position
        v0: expand(x0) shape=(1,) @ y
        return v0
        """,
    ),
    Fault(
        select_inside_a_split_dim_takes_the_first_shards,
        """
        mesh 1x2
        x0: f32[2] position @ y
        v0: select(x0) dim=0 index=1
        return v0
        """,
    ),
    Fault(
        squeezed_dim_is_split,
        """
        mesh 1x2
        x0: f32[1] position @ y
        v0: squeeze(x0) dim=0
        return v0
        """,
    ),
)
