# SPDX-License-Identifier: Apache-2.0
"""Faults of reads and writes by index: `rows_gather` and `rows_scatter` (see `oracles.stages.handlers.rows`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from oracles.faults.fault import Scene, fault
from oracles.stages.elements import carrier
from oracles.stages.program import Operation, TensorType

_READ = "ttir.rows_gather"
_WRITE = "ttir.rows_scatter"


@fault("ttir", at=_READ, like="tt-metal#42845")
def flat_index_11_bits(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """The flat index of a gather is computed in floats with 11 significant bits: 2609 becomes 2610."""
    return _through_float(scene, op, 11, half_up=True)  # as the matrix unit rounds


@fault("ttir", at=_READ, like="tt-xla#5116")
def flat_index_bf16(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """The flat index of a gather is computed in bf16, which has 8 significant bits: 257 becomes 256."""
    return _through_float(scene, op, 8)


@fault("ttir", at=_READ, like="tt-mlir#8998")
def flat_index_f32(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """The flat index of a gather is computed in f32, which has 24 significant bits: 2^24 + 1 becomes 2^24."""
    return _through_float(scene, op, 24)


@fault("ttnn", at="ttnn.rows_gather ttnn.rows_scatter", like="tt-metal#56398")
def index_wraps_at_16_bits(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Indices are taken modulo 65536."""
    if math.prod(op.attributes["sizes"]) <= 1 << 16:
        return None
    return _with_index(scene, op, "injected.wrap", bits=16)


@fault("ttir", at=_READ, like="tt-mlir#9211")
def unfilled_out_of_bounds(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """A read outside of one shard's rows gives its nearest row instead of zeros."""
    if not op.attributes["fill_out_of_bounds"]:
        return None
    return [replace(op, attributes={**op.attributes, "fill_out_of_bounds": False})]


@fault("ttir", at=f"{_READ} {_WRITE}", like="jax#21708")
def out_of_bounds_wraps(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Indices out of range are taken modulo the size, instead of being clamped, filled or dropped."""
    return _with_index(scene, op, "injected.modulo", dim=1, sizes=op.attributes["sizes"])


@fault("ttir", at=_WRITE, like="tt-metal#36341")
def duplicates_overwrite(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Of several values that are added to one element, only the last is."""
    if op.attributes["reduce"] != "sum":
        return None
    table, *rest = op.operands
    empty = scene.make("ttir.zeros", (), scene.types[table], shape=scene.types[table].shape)
    last = scene.make(op.name, (*empty.results, *rest), op.type, **{**op.attributes, "reduce": "invalid"})
    return [empty, last, replace(op, name="ttir.add", operands=(table, *last.results), attributes={})]


@fault("ttir", at=_WRITE, like="tt-mlir#8475")
def lost_base(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """A scatter that adds starts from zeros instead of its operand."""
    if op.attributes["reduce"] != "sum":
        return None
    table, *rest = op.operands
    empty = scene.make("ttir.zeros", (), scene.types[table], shape=scene.types[table].shape)
    return [empty, replace(op, operands=(*empty.results, *rest))]


@fault("ttir", at=f"{_WRITE} ttir.max ttir.min ttir.all_reduce", like="tt-mlir#6756")
def sum_for_extremum(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Largest and smallest become sums, along dims, over devices and in scatters."""
    if op.name in ("ttir.max", "ttir.min"):
        return [replace(op, name="ttir.sum")]
    key = "reduce" if op.name == _WRITE else "reduce_type"
    if op.attributes[key] not in ("max", "min") or op.type.element == "i1":
        return None
    return [replace(op, attributes={**op.attributes, key: "sum"})]


def _through_float(scene: Scene, op: Operation, bits: int, half_up: bool = False) -> Sequence[Operation] | None:
    """The gather with its components combined to one, and that rounded."""
    sizes = op.attributes["sizes"]
    total = math.prod(sizes)
    if total <= 1 << bits:
        return None  # every index is exact
    if len(sizes) == 1:
        return _with_index(scene, op, "injected.round_significand", bits=bits, half_up=half_up)
    if op.attributes["fill_out_of_bounds"] or any(window != 1 for window in op.attributes["windows"]):
        return None
    flat = _flat_index(scene, op)
    type_ = scene.types[op.operands[1]]
    type_ = replace(type_, shape=flat[-1].type.shape)
    number = scene.make("injected.round_significand", flat[-1].results, type_, bits=bits, half_up=half_up)
    attributes = {**op.attributes, "sizes": (total,), "windows": (1,)}
    gather = replace(op, operands=(op.operands[0], *number.results), attributes=attributes)
    return [*flat, number, gather]


def _flat_index(scene: Scene, op: Operation) -> list[Operation]:
    """Operations that compute sum(component * stride), each component clamped into its dim first."""
    sizes = op.attributes["sizes"]
    index = scene.types[op.operands[1]]
    batch, _, positions = index.shape
    one = TensorType((batch, 1, positions), index.element)
    operations: list[Operation] = []

    def add(name: str, *operands: int, **attributes: object) -> int:
        operations.append(scene.make(name, operands, one, **attributes))
        return operations[-1].results[0]

    flat: int | None = None
    for number, size in enumerate(sizes):
        bounds = {"begins": (0, number, 0), "ends": (batch, number + 1, positions), "step": (1, 1, 1)}
        component = add("ttir.slice_static", op.operands[1], **bounds)
        component = add("ttir.clamp_scalar", component, min=0, max=size - 1)
        stride = torch.full(one.shape, math.prod(sizes[number + 1 :]), dtype=carrier(index.element))
        component = add("ttir.multiply", component, add("ttir.constant", value=stride))
        flat = component if flat is None else add("ttir.add", flat, component)
    return operations


def _with_index(scene: Scene, op: Operation, name: str, **attributes: object) -> Sequence[Operation]:
    """The operation with its index changed by another one."""
    table, index, *rest = op.operands
    changed = scene.make(name, (index,), scene.types[index], **attributes)
    return [changed, replace(op, operands=(table, *changed.results, *rest))]
