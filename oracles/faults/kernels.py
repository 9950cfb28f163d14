# SPDX-License-Identifier: Apache-2.0
"""Faults of kernels: tile padding that enters a result, rows that are never written, strides that are not obeyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from oracles.faults.fault import Scene, fault
from oracles.stages.program import Operation

TILE = 32


@fault("ttnn", at="ttnn.max ttnn.min ttnn.prod", like="tt-metal#13233")
def padding_in_extremum(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Zeros of the tile padding enter largest, smallest and product along dims that are no multiple of 32."""
    return _padded(scene, op, 0.0)


@fault("ttnn", at="ttnn.sum ttnn.mean", like="tt-metal#25574")
def padding_in_sum(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Tile padding that holds ones enters sums and means along dims that are no multiple of 32."""
    return _padded(scene, op, 1.0)


@fault("ttnn", at="ttnn.rows_gather", like="tt-metal#47506")
def stale_last_row(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """The last row of what a gather reads is never written and stays zero."""
    dim = 1
    read = scene.make(op.name, op.operands, op.type, **op.attributes)
    cut = {"dim": dim, "first": op.type.shape[dim] - 1}
    return [read, replace(op, name="injected.unwritten", operands=read.results, attributes=cut)]


@fault("ttir", at="ttir.permute", like="tt-mlir#8622")
def inverted_permutation(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """A permutation of dims moves elements as its inverse does."""
    permutation = op.attributes["permutation"]
    inverse = tuple(sorted(range(len(permutation)), key=permutation.__getitem__))
    if inverse == tuple(permutation):
        return None
    source = scene.types[op.operands[0]]
    shape = tuple(source.shape[dim] for dim in inverse)
    moved = scene.make(op.name, op.operands, replace(source, shape=shape), permutation=inverse)
    reshape = {"shape": op.type.shape}
    return [moved, replace(op, name="ttir.reshape", operands=moved.results, attributes=reshape)]


def _padded(scene: Scene, op: Operation, value: float) -> Sequence[Operation] | None:
    """The reduction of its operand, whose reduced dims among the last two are padded with the value to whole tiles."""
    (operand,) = op.operands
    type_ = scene.types[operand]
    rank = len(type_.shape)
    given = op.attributes.get("dim_arg")
    dims = {dim % rank for dim in ((given,) if isinstance(given, int) else given or range(rank))}
    shape = tuple(
        -(-size // TILE) * TILE if dim in dims and dim >= rank - 2 else size for dim, size in enumerate(type_.shape)
    )
    if shape == type_.shape:
        return None
    padding = tuple(amount for size, full in zip(type_.shape, shape, strict=True) for amount in (0, full - size))
    padded = scene.make("ttnn.pad", (operand,), replace(type_, shape=shape), padding=padding, value=value)
    return [padded, replace(op, operands=padded.results)]
