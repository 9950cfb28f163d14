# SPDX-License-Identifier: Apache-2.0
"""Faults of the ops that move values between devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from oracles.faults.fault import Scene, fault
from oracles.stages.program import Operation, TensorType


@fault("ttir", at="ttir.all_gather ttir.all_reduce ttir.reduce_scatter ttir.mesh_partition", like="tt-xla#5892")
def swapped_cluster_axis(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Collectives run along the other axis of the mesh."""
    if len(set(scene.program.mesh.shape)) > 1:
        return None  # shapes would differ
    return [replace(op, attributes={**op.attributes, "cluster_axis": 1 - op.attributes["cluster_axis"]})]


@fault("ttir", at="ttir.mesh_partition", like="tt-xla#5778")
def neighbour_chunk(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """A device that keeps one chunk of a tensor keeps the next device's."""
    (whole,), dim = op.operands, op.attributes["dim"]
    type_ = scene.types[whole]
    parts = _chunks(scene, whole, dim, type_.shape[dim] // op.type.shape[dim], type_)
    if len(parts) == 1:
        return None
    numbers = [part.results[0] for part in parts]
    rotated = scene.make("ttir.concat", (*numbers[1:], numbers[0]), type_, dim=dim)
    return [*parts, rotated, replace(op, operands=rotated.results)]


@fault("ttir", at="ttir.all_gather", like="tt-mlir#3376")
def reversed_all_gather(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """all_gather joins the parts of the devices last to first."""
    (part,), dim = op.operands, op.attributes["all_gather_dim"]
    count = op.type.shape[dim] // scene.types[part].shape[dim]
    if count == 1:
        return None
    gathered = scene.make(op.name, op.operands, op.type, **op.attributes)
    parts = _chunks(scene, gathered.results[0], dim, count, op.type)
    numbers = tuple(part.results[0] for part in reversed(parts))
    return [gathered, *parts, replace(op, name="ttir.concat", operands=numbers, attributes={"dim": dim})]


@fault("ttir", at="ttir.all_reduce", like="openxla/xla#42481")
def doubled_all_reduce(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """What was summed over the devices is summed over them once more."""
    if op.attributes["reduce_type"] != "sum":
        return None
    first = scene.make(op.name, op.operands, op.type, **op.attributes)
    return [first, replace(op, operands=first.results)]


@fault("ttnn", at="ttnn.all_gather", like="tt-xla#4440")
def dropped_all_gather(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Every device takes its own part for everyone's."""
    (part,), dim = op.operands, op.attributes["all_gather_dim"]
    count = op.type.shape[dim] // scene.types[part].shape[dim]
    if count == 1:
        return None
    return [replace(op, name="ttnn.concat", operands=(part,) * count, attributes={"dim": dim})]


@fault("ttnn", at="ttnn.all_gather", like="tt-metal#21964")
def unaligned_all_gather(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """all_gather of parts that are no multiple of 32 gives zeros for all parts but the first."""
    dim = op.attributes["all_gather_dim"]
    size = scene.types[op.operands[0]].shape[dim]
    if size % 32 == 0 or size == op.type.shape[dim]:
        return None
    gathered = scene.make(op.name, op.operands, op.type, **op.attributes)
    cut = {"dim": dim, "first": size}
    return [gathered, replace(op, name="injected.unwritten", operands=gathered.results, attributes=cut)]


def _chunks(scene: Scene, whole: int, dim: int, count: int, type_: TensorType) -> list[Operation]:
    """Slices of equal size along a dim of a value of that type."""
    shape = list(type_.shape)
    shape[dim] //= count
    parts = []
    for number in range(count):
        begins, ends = [0] * len(shape), list(type_.shape)
        begins[dim], ends[dim] = number * shape[dim], (number + 1) * shape[dim]
        parts.append(
            scene.make(
                "ttir.slice_static",
                (whole,),
                TensorType(tuple(shape), type_.element),
                begins=tuple(begins),
                ends=tuple(ends),
                step=(1,) * len(shape),
            )
        )
    return parts
