# SPDX-License-Identifier: Apache-2.0
"""Faults that take values through a number format too narrow for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from oracles.faults.fault import Scene, fault
from oracles.stages.elements import FLOATS
from oracles.stages.program import Operation

BF16_BITS, F32_BITS = 8, 24


@fault("ttnn", at="ttnn.rows_gather", like="tt-xla#5321")
def gathered_through_bf16(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """The table of a gather is converted to bf16 and back: 257 becomes 256."""
    return _first_rounded(scene, op, BF16_BITS)


@fault("ttnn", at="ttnn.concat", like="tt-xla#3463")
def concatenated_through_bf16(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Integers that are concatenated pass through bf16: 19585 becomes 19584."""
    return _rounded(scene, op, BF16_BITS) if op.type.element not in FLOATS else None


@fault("ttnn", at="ttnn.argmax", like="tt-metal#8662")
def argmax_index_bf16(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """argmax gives positions in bf16: 1025 becomes 1024."""
    return _rounded(scene, op, BF16_BITS)


@fault("ttnn", at="ttnn.sum ttnn.max ttnn.min", like="tt-mlir#8279")
def integer_reduction_bf16(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Sums, largest and smallest of integers are computed in bf16: 8400 becomes 8384."""
    return _rounded(scene, op, BF16_BITS) if op.type.element not in FLOATS else None


@fault("ttnn", at="ttnn.permute ttnn.where ttnn.sum ttnn.max ttnn.min ttnn.rows_gather", like="tt-metal#19950")
def integers_through_f32(scene: Scene, op: Operation) -> Sequence[Operation] | None:
    """Integers that are moved or reduced pass through f32: 2^24 + 1 becomes 2^24."""
    return _rounded(scene, op, F32_BITS) if op.type.element not in FLOATS else None


def _rounded(scene: Scene, op: Operation, bits: int) -> Sequence[Operation]:
    """The operation with its result rounded."""
    exact = scene.make(op.name, op.operands, op.type, **op.attributes)
    return [
        exact,
        replace(op, name="injected.round_significand", operands=exact.results, attributes={"bits": bits}),
    ]


def _first_rounded(scene: Scene, op: Operation, bits: int) -> Sequence[Operation] | None:
    """The operation on its first operand rounded, unless that holds no more bits."""
    first, *rest = op.operands
    if scene.types[first].element in ("bf16", "i1"):
        return None
    narrow = scene.make("injected.round_significand", (first,), scene.types[first], bits=bits)
    return [narrow, replace(op, operands=(*narrow.results, *rest))]
