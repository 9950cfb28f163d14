# SPDX-License-Identifier: Apache-2.0
"""Faults of the mesh, of stated layouts, and of two ops that are wrong only together."""

from __future__ import annotations

from planted import Fault, inputs, nodes, pieces, split

from fuzz.case import Case, shard_counts


def four_devices_on_axis_1(case: Case) -> bool:
    return case.mesh.shape[1] >= 4 and any(nodes(case, "add"))


def grid_of_devices(case: Case) -> bool:
    return min(case.mesh.shape) > 1 and any(nodes(case, "sub"))


def constraint_undoes_a_split(case: Case) -> bool:
    return any(
        n.sharding is not None and not any(n.sharding) and any(split(case, n, i) for i in range(len(n.operands)))
        for n in nodes(case, "add")
    )


def result_wanted_in_pieces_of_a_whole(case: Case) -> bool:
    whole = not any(max(shard_counts(value.sharding, case.mesh), default=1) > 1 for value in case.inputs)
    return whole and any(
        output.name == n.name and output.sharding and max(shard_counts(output.sharding, case.mesh)) > 1
        for output in case.outputs
        for n in nodes(case, "abs")
    )


def two_options_together(case: Case) -> bool:
    return {("optimization_level", "1"), ("enable_const_eval", "false")} <= set(case.options) and any(
        nodes(case, "matmul")
    )


def embedding_of_counted_ids(case: Case) -> bool:
    counted = {n.name for n in nodes(case, "arange")}
    return any(n.operands[0] in counted and pieces(case, inputs(case, n)[1], 0) > 1 for n in nodes(case, "embedding"))


def read_where_argmax_says(case: Case) -> bool:
    best = {n.name for n in nodes(case, "argmax")}
    return any(n.operands[1] in best and split(case, n, 0) for n in nodes(case, "gather"))


def matmul_of_a_transposed(case: Case) -> bool:
    turned = {n.name for n in nodes(case, "transpose")}
    return any(n.operands[1] in turned for n in nodes(case, "matmul"))


def positions_and_values_of_one_topk(case: Case) -> bool:
    returned = {output.name for output in case.outputs}
    return any(
        first.operands == second.operands and {first.name, second.name} <= returned
        for first in nodes(case, "topk_values")
        for second in nodes(case, "topk_indices")
    )


def sum_of_a_cast(case: Case) -> bool:
    rounded = {n.name for n in nodes(case, "cast") if n.keywords["dtype"] == "bf16"}
    return any(n.operands[0] in rounded for n in nodes(case, "sum"))


FAULTS = (
    Fault(
        four_devices_on_axis_1,
        """
        mesh 1x4
        x0: f32[1] position
        v0: add(x0, x0)
        return v0
        """,
        (
            """
            mesh 2x4
            x0: f32[16,8] position @ x,y
            x1: f32[16,8] small @ xy,-
            v0: add(x0, x1)
            return v0
            """,
            """
            mesh 1x8
            x0: i64[8] position @ y
            x1: i64[8] small
            v0: add(x0, x1) @ y
            v1: mul(v0, x1)
            v2: sum(v1) dim=0 keepdim=True
            return v2
            """,
        ),
    ),
    Fault(
        constraint_undoes_a_split,
        """
        mesh 1x2
        x0: f32[1] position @ y
        v0: add(x0, x0) @ -
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[8,16] position @ x,y
            x1: f32[8,16] small @ y,-
            v0: add(x0, x1) @ -,-
            v1: add(v0, x1)
            return v1 @ x,y
            """,
            """
            mesh 4x1
            x0: i64[4,4] position
            x1: i64[4,4] position @ -,x
            v0: add(x0, x0)
            v1: add(x1, x0) @ -,-
            v2: cumsum(v1) dim=0
            return v2
            return v0
            """,
        ),
    ),
    Fault(
        embedding_of_counted_ids,
        """
        mesh 1x2
        x0: f32[1,1] position @ y,-
        v0: arange() dtype='i64' end=1 start=0 step=1
        v1: embedding(v0, x0)
        return v1
        """,
        (
            """
            mesh 2x2
            x0: f32[64,16] position @ xy,-
            v0: arange() dtype='i64' end=32 start=0 step=1
            v1: reshape(v0) shape=(4,8)
            v2: add(v1, v1)
            v3: embedding(v2, x0)
            v4: sum(v3) dim=2 keepdim=False
            v5: embedding(v0, x0)
            return v4
            return v5
            """,
            """
            mesh 1x4
            x0: bf16[32,8] position @ y,-
            x1: f32[9,8] position
            v0: arange() dtype='i32' end=29 start=2 step=3
            v1: embedding(v0, x0)
            v2: cast(v1) dtype='f32'
            v3: add(v2, x1)
            return v3 @ -,y
            """,
        ),
    ),
    Fault(
        read_where_argmax_says,
        """
        mesh 1x2
        x0: f32[1] position @ y
        v0: argmax(x0) dim=0 keepdim=False
        v1: gather(x0, v0) dim=0
        return v1
        """,
        (
            """
            mesh 2x2
            x0: f32[4,600] permutation high=600 dim=1 @ x,y
            x1: f32[4,600] position @ x,y
            v0: argmax(x0) dim=1 keepdim=True
            v1: gather(x1, v0) dim=1
            return v1
            """,
        ),
    ),
    Fault(
        matmul_of_a_transposed,
        """
        mesh 1x1
        x0: f32[1] position
        v0: transpose(x0) dim0=0 dim1=0
        v1: matmul(x0, v0)
        return v1
        """,
        (
            """
            mesh 2x2
            x0: f32[8,16] position @ x,y
            x1: f32[32,16] small @ -,y
            v0: transpose(x1) dim0=0 dim1=1
            v1: matmul(x0, v0)
            return v1
            """,
        ),
    ),
    Fault(
        positions_and_values_of_one_topk,
        """
        mesh 1x1
        x0: f32[1] position
        v0: topk_values(x0) dim=0 k=1 largest=False
        v1: topk_indices(x0) dim=0 k=1 largest=False
        return v0
        return v1
        """,
    ),
    Fault(
        grid_of_devices,
        """
        mesh 2x2
        x0: f32[1] position
        v0: sub(x0, x0)
        return v0
        """,
    ),
    Fault(
        result_wanted_in_pieces_of_a_whole,
        """
        mesh 1x2
        x0: f32[1] position
        v0: abs(x0)
        return v0 @ y
        """,
    ),
    Fault(
        two_options_together,
        """
        mesh 1x1
        x0: f32[1] position
        v0: matmul(x0, x0)
        return v0
        option enable_const_eval=false
        option optimization_level=1
        """,
    ),
    Fault(
        sum_of_a_cast,
        """
        mesh 1x1
        x0: f32[1] position
        v0: cast(x0) dtype='bf16'
        v1: sum(v0) dim=0 keepdim=False
        return v1
        """,
    ),
)
