# SPDX-License-Identifier: Apache-2.0
"""Ops that move values between devices.

Device id = row * columns + column. `cluster_axis` 0: a group's members differ in row, 1: in column (TTIROps.td). In the
partitioned StableHLO stage `replica_groups` lists device ids, since that program is one replica of many partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch

from fuzz.case import Mesh
from oracles.stages.machine import Machine, Shards, collective, structural
from oracles.stages.program import NotUnderstood, Operation
from oracles.stages.regions import Body, body_of

Group = Sequence[int]

_REDUCTIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "sum": lambda a, b: a | b if a.dtype is torch.bool else a + b,
    "prod": torch.mul,
    "max": torch.maximum,
    "min": torch.minimum,
}


def cluster_groups(mesh: Mesh, axis: int) -> list[Group]:
    """Device ids of each group along a cluster axis, in the order of coordinates."""
    rows, columns = _grid(mesh)
    if axis not in (0, 1):
        raise NotUnderstood(f"cluster axis {axis}")
    if axis == 0:
        return [[row * columns + column for row in range(rows)] for column in range(columns)]
    return [[row * columns + column for column in range(columns)] for row in range(rows)]


def _grid(mesh: Mesh) -> tuple[int, int]:
    if len(mesh.shape) == 1:
        return 1, mesh.shape[0]
    if len(mesh.shape) != 2:
        raise NotUnderstood(f"mesh {mesh} is no grid")
    return mesh.shape[0], mesh.shape[1]


def _groups(op: Operation) -> list[Group]:
    groups: list[Group] = op.attributes["replica_groups"].tolist()
    return groups


def _on_groups(groups: Sequence[Group], shards: Shards, compute: Callable[[Shards], Shards]) -> Shards:
    """Apply a function of a group's members, in their order, to every group; every device belongs to one."""
    if sorted(device for group in groups for device in group) != list(range(len(shards))):
        raise NotUnderstood(f"groups {groups} do not cover {len(shards)} devices once")
    results = list(shards)
    for group in groups:
        for device, result in zip(group, compute([shards[member] for member in group]), strict=True):
            results[device] = result
    return results


def _everyone(value: torch.Tensor, members: Shards) -> Shards:
    return [value] * len(members)


def _reduced(members: Shards, reduction: str) -> torch.Tensor:
    if reduction not in _REDUCTIONS:
        raise NotUnderstood(f"reduction {reduction} over devices")
    return reduce(_REDUCTIONS[reduction], members)


def _folded(members: Shards, body: Body) -> torch.Tensor:
    """The values of a group combined by a region, from the first member to the last."""
    return reduce(lambda a, b: body(a, b)[0], members)


def _chunks(value: torch.Tensor, dim: int, count: int) -> Sequence[torch.Tensor]:
    if value.shape[dim] % count:
        raise NotUnderstood(f"{value.shape[dim]} elements in {count} chunks")
    return torch.chunk(value, count, dim)


def _exchange(members: Shards, split_dim: int, concat_dim: int, count: int) -> Shards:
    if count != len(members):
        raise NotUnderstood(f"all_to_all of {len(members)} devices with split_count {count}")
    chunks = [_chunks(member, split_dim, count) for member in members]
    return [torch.cat([sent[receiver] for sent in chunks], concat_dim) for receiver in range(count)]


# --- StableHLO (spec: all_gather, all_reduce, reduce_scatter, all_to_all, collective_permute, partition_id) -----------


@collective("stablehlo.all_gather", attributes="all_gather_dim replica_groups channel_handle")
def stablehlo_all_gather(op: Operation, mesh: Mesh, shards: Shards) -> Shards:
    """Everyone gets the shards of its group, in the order the group lists its members."""
    dim = op.attributes["all_gather_dim"]
    return _on_groups(_groups(op), shards, lambda members: _everyone(torch.cat(members, dim), members))


@structural("stablehlo.all_reduce", attributes="replica_groups channel_handle")
def stablehlo_all_reduce(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
    """Everyone gets the reduction of its group's values."""
    body = body_of(machine, op)
    return [
        _on_groups(_groups(op), shards, lambda members: _everyone(_folded(members, body), members))
        for shards in operands
    ]


@structural("stablehlo.reduce_scatter", attributes="replica_groups scatter_dimension channel_handle")
def stablehlo_reduce_scatter(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
    """The reduction of the group's values, member i keeping chunk i."""
    dim, body = op.attributes["scatter_dimension"], body_of(machine, op)
    return [
        _on_groups(_groups(op), shards, lambda members: list(_chunks(_folded(members, body), dim, len(members))))
        for shards in operands
    ]


@collective(
    "stablehlo.all_to_all", attributes="split_dimension concat_dimension split_count replica_groups channel_handle"
)
def stablehlo_all_to_all(op: Operation, mesh: Mesh, shards: Shards) -> Shards:
    """Member i gets chunk i of every member, concatenated in the order of members."""
    split, concat, count = (op.attributes[name] for name in ("split_dimension", "concat_dimension", "split_count"))
    return _on_groups(_groups(op), shards, lambda members: _exchange(members, split, concat, count))


@collective("stablehlo.collective_permute ttir.collective_permute", attributes="source_target_pairs channel_handle")
def collective_permute(op: Operation, mesh: Mesh, shards: Shards) -> Shards:
    """Targets get their source's value; a device that is no target gets zeros."""
    results = [torch.zeros_like(shards[0])] * len(shards)
    for source, target in op.attributes["source_target_pairs"].tolist():
        results[target] = shards[source]
    return results


@collective("stablehlo.partition_id")
def partition_id(op: Operation, mesh: Mesh) -> Shards:
    """The device's own id."""
    return [torch.tensor(device) for device in range(mesh.size)]


# --- TTIR and TTNN (TTIROps.td, TTNNOps.td) ---------------------------------------------------------------------------


@collective("ttir.all_gather ttnn.all_gather", attributes="all_gather_dim cluster_axis")
def all_gather(op: Operation, mesh: Mesh, shards: Shards) -> Shards:
    """Everyone gets the shards of its group in coordinate order."""
    dim = op.attributes["all_gather_dim"]
    groups = cluster_groups(mesh, op.attributes["cluster_axis"])
    return _on_groups(groups, shards, lambda members: _everyone(torch.cat(members, dim), members))


@collective("ttir.all_reduce ttnn.all_reduce", attributes="cluster_axis reduce_type compute_config")
def all_reduce(op: Operation, mesh: Mesh, shards: Shards) -> Shards:
    """Everyone gets the reduction over its group."""
    groups, reduction = cluster_groups(mesh, op.attributes["cluster_axis"]), op.attributes["reduce_type"]
    return _on_groups(groups, shards, lambda members: _everyone(_reduced(members, reduction), members))


@collective("ttir.reduce_scatter ttnn.reduce_scatter", attributes="cluster_axis reduce_type scatter_dim compute_config")
def reduce_scatter(op: Operation, mesh: Mesh, shards: Shards) -> Shards:
    """The reduction over the group, each device keeping the chunk at its coordinate."""
    dim, reduction = op.attributes["scatter_dim"], op.attributes["reduce_type"]
    groups = cluster_groups(mesh, op.attributes["cluster_axis"])
    return _on_groups(groups, shards, lambda members: list(_chunks(_reduced(members, reduction), dim, len(members))))


@collective("ttir.all_to_all", attributes="split_dim concat_dim split_count replica_groups")
def all_to_all(op: Operation, mesh: Mesh, shards: Shards) -> Shards:
    """Member i gets chunk i of every member, concatenated."""
    split, concat, count = (op.attributes[name] for name in ("split_dim", "concat_dim", "split_count"))
    return _on_groups(_groups(op), shards, lambda members: _exchange(members, split, concat, count))


@collective("ttir.mesh_partition ttnn.mesh_partition", attributes="dim cluster_axis")
def mesh_partition(op: Operation, mesh: Mesh, shards: Shards) -> Shards:
    """Each device keeps the chunk of its own tensor at its own coordinate (TTIROps.td, MeshPartitionOp)."""
    groups, dim = cluster_groups(mesh, op.attributes["cluster_axis"]), op.attributes["dim"]
    return _on_groups(
        groups,
        shards,
        lambda members: [_chunks(member, dim, len(members))[place] for place, member in enumerate(members)],
    )


@collective("ttnn.point_to_point", attributes="sender_coord receiver_coord")
def point_to_point(op: Operation, mesh: Mesh, shards: Shards, target: Shards) -> Shards:
    """The receiver gets the sender's value; the others keep what `target` holds (TTNNOps.td, PointToPointOp)."""
    _, columns = _grid(mesh)
    sender, receiver = (
        row * columns + column for row, column in (op.attributes["sender_coord"], op.attributes["receiver_coord"])
    )
    results = list(target)
    results[receiver] = shards[sender]
    return results
