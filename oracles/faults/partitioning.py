# SPDX-License-Identifier: Apache-2.0
"""Faults of the step that cuts a program into the parts of the devices: what a device holds is taken for the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from oracles.faults.fault import Scene, fault
from oracles.stages.program import Operation

# What a row number passes on its way from an iota to where it is used.
_POSITIONAL = frozenset(
    f"stablehlo.{name}"
    for name in (
        *("add", "all_gather", "all_to_all", "broadcast_in_dim", "clamp", "concatenate", "convert", "multiply"),
        *("reshape", "select", "slice", "subtract", "transpose"),
    )
)
_SHAPING = frozenset({"stablehlo.reshape", "stablehlo.broadcast_in_dim", "stablehlo.convert", "stablehlo.transpose"})

Use = Callable[[Operation, int], bool]


@fault("shlo_compiler", at="stablehlo.composite", like="tt-xla#5409")
def local_row_iota(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Row numbers that index a gather or scatter count from 0 on every shard."""
    return _first_block(scene, op) if _reaches(scene, op, _indexes) else None


@fault("shlo_compiler", at="stablehlo.composite", like="tt-xla#4494")
def local_order_iota(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Positions that argmax, sort and topk carry along count from 0 on every shard."""
    return _first_block(scene, op) if _reaches(scene, op, _orders) else None


@fault("shlo_compiler", at="stablehlo.composite", like="tt-mlir#6885")
def local_constant(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Every shard of a constant with unequal elements is its first."""
    source = scene.makers.get(op.operands[0])
    return _first_block(scene, op) if source is not None and source.name == "stablehlo.constant" else None


@fault("shlo_compiler", at="stablehlo.partition_id", like="tt-xla#4206")
def lost_shard_base(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Every shard of an indexed dim takes itself for the first."""
    first = scene.make("stablehlo.partition_id", (), op.type)
    return [first, replace(op, name="stablehlo.subtract", operands=(first.results[0],) * 2)]


@fault("shlo_compiler", at="stablehlo.slice", like="tt-xla#5862")
def slice_of_shard(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """A slice of a sharded dim takes its share from every shard: start and limit are divided by the shards."""
    gathering = scene.makers.get(op.operands[0])
    if gathering is None or gathering.name != "stablehlo.all_gather":
        return None
    dim, shards = gathering.attributes["all_gather_dim"], gathering.attributes["replica_groups"].shape[1]
    start, limit = op.attributes["start_indices"][dim], op.attributes["limit_indices"][dim]
    size = scene.types[gathering.results[0]].shape[dim]
    if start % shards or limit % shards or op.attributes["strides"][dim] != 1 or limit - start == size:
        return None
    bounds = {name: list(op.attributes[name]) for name in ("start_indices", "limit_indices")}
    bounds["start_indices"][dim], bounds["limit_indices"][dim] = start // shards, limit // shards
    shape = list(op.type.shape)
    shape[dim] //= shards
    part = scene.make(
        "stablehlo.slice",
        gathering.operands,
        replace(op.type, shape=tuple(shape)),
        **{name: tuple(bound) for name, bound in bounds.items()},
        strides=op.attributes["strides"],
    )
    return [part, replace(gathering, operands=part.results, results=op.results, types=op.types)]


@fault("shlo_compiler", at="stablehlo.all_reduce", like="tt-xla#4440")
def dropped_all_reduce(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Each shard's part of a sum, product, largest or smallest is taken for the whole."""
    if len(op.operands) > 1:
        return None
    return [replace(op, name="stablehlo.reshape", attributes={}, regions=())]


def _first_block(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """A slice of an iota or constant between shards, as the same slice of the first shard on all of them."""
    if op.attributes["name"] != "sdy.all_slice" or not _counted(scene, op.operands[0]):
        return None
    shape = op.type.shape
    bounds = {"start_indices": (0,) * len(shape), "limit_indices": shape, "strides": (1,) * len(shape)}
    return [replace(op, name="stablehlo.slice", attributes=bounds)]


def _counted(scene: Scene, number: int) -> bool:
    """Whether a value is an iota, or a constant with unequal elements, in some shape."""
    maker = scene.makers.get(number)
    while maker is not None and maker.name in _SHAPING:
        maker = scene.makers.get(maker.operands[0])
    if maker is None:
        return False
    if maker.name == "stablehlo.constant":
        value = maker.attributes["value"].flatten()
        return bool((value != value[:1]).any())
    return maker.name == "stablehlo.iota"


def _reaches(scene: Scene, op: Operation, used: Use) -> bool:
    """Whether the result comes to such a use by operations that only place, combine or move numbers."""
    todo, seen = list(op.results), set(op.results)
    while todo:
        number = todo.pop()
        for user in scene.users.get(number, ()):
            if any(used(user, place) for place, operand in enumerate(user.operands) if operand == number):
                return True
            fresh = [result for result in user.results if user.name in _POSITIONAL and result not in seen]
            todo += fresh
            seen.update(fresh)
    return False


def _indexes(op: Operation, place: int) -> bool:
    """Whether the operand holds the positions of a gather or scatter."""
    if op.name == "stablehlo.gather":
        return place == 1
    return op.name == "stablehlo.scatter" and place == (len(op.operands) - 1) // 2


def _orders(op: Operation, place: int) -> bool:
    """Whether the operand is carried along by what orders the first one."""
    carried = {"stablehlo.sort": len(op.operands), "stablehlo.reduce": len(op.operands) // 2}
    return 0 < place < carried.get(op.name, 0)
