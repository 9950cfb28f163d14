# SPDX-License-Identifier: Apache-2.0
"""Faults of index arithmetic: rounded, wrapped, collapsed and ignored indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch

from fuzz.ops.core import Moves
from oracles.models.model import SIGNIFICANDS, Hypothesis, always
from oracles.models.outside import OUTSIDE, Outside, counted_from_start, run_outside, writes
from oracles.scene import Scene
from oracles.stages.numerics import round_significand

Change = Callable[[torch.Tensor], torch.Tensor]


def _rounded(index: torch.Tensor, *, bits: int, half_up: bool) -> torch.Tensor:
    return round_significand(index.double(), bits, half_up).long()


def _unsigned16(index: torch.Tensor) -> torch.Tensor:
    return index % (1 << 16)


def _signed16(index: torch.Tensor) -> torch.Tensor:
    return (index + (1 << 15)) % (1 << 16) - (1 << 15)


def _changes() -> Iterator[tuple[str, Change]]:
    for bits in SIGNIFICANDS:
        for half_up in (True, False):  # one kind of fault: only half of the ties tell the rules apart
            yield f"{bits} significant bits", partial(_rounded, bits=bits, half_up=half_up)
    yield "modulo 65536", _unsigned16
    yield "as a signed 16-bit number", _signed16


def changed_flat_index(scene: Scene) -> Iterator[Hypothesis]:
    """The flat index into the table that is read goes through something narrower."""
    if scene.op is None or not isinstance(scene.op.semantics, Moves) or not scene.op.indices or writes(scene.op):
        return
    for what, change in _changes():

        def predict(scene: Scene, change: Change = change) -> torch.Tensor:
            table, positions = _read(scene)
            return table.flatten()[change(positions).clamp(0, table.numel() - 1)]

        def sentence(scene: Scene, change: Change = change, what: str = what) -> str:
            _, positions = _read(scene)
            return f"flat index {_first_change(positions, change(positions))}: {what}"

        yield Hypothesis(f"flat index {what}", predict, sentence)


def _read(scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    """The table, and for each element of the result the flat position in it that should be read."""
    position = scene.op.data[0] if scene.op is not None else 0
    table = scene.operands[position]
    return table, scene.run(scene.with_operand(position, torch.arange(table.numel()).reshape(table.shape)))


def changed_index(scene: Scene) -> Iterator[Hypothesis]:
    """An index operand goes through something narrower; or its sign is not understood."""
    for position, _ in scene.op.indices if scene.op is not None else ():
        for what, change in (*_changes(), ("negative ones out of range", lambda index: index)):
            for outside in OUTSIDE:

                def sentence(scene: Scene, at: int = position, change: Change = change, what: str = what) -> str:
                    index = scene.operands[at]
                    return f"index {_first_change(index, change(index))}: {what}"

                negative = what.startswith("negative")
                yield Hypothesis(
                    f"index {what}",
                    partial(_with_index, position=position, change=change, outside=outside, keep_sign=negative),
                    always(f"negative indices are {outside}, not counted from the end") if negative else sentence,
                )


def _with_index(scene: Scene, *, position: int, change: Change, outside: Outside, keep_sign: bool) -> torch.Tensor:
    if scene.op is None:
        raise TypeError("an input has no index")
    operands = list(scene.operands) if keep_sign else counted_from_start(scene.op, scene.operands, scene.attributes)
    operands[position] = change(operands[position])
    return run_outside(scene.op, operands, scene.attributes, outside)


def _first_change(before: torch.Tensor, after: torch.Tensor) -> str:
    changed = before != after
    if not bool(changed.any()):
        return "any"
    return f"{int(before[changed][0])} became {int(after[changed][0])}"


def ignored_index(scene: Scene) -> Iterator[Hypothesis]:
    """Positions 0, 1, 2, .. instead of those in the index; or always the first."""
    for position, _ in scene.op.indices if scene.op is not None else ():
        operand = scene.node.operands[position] if scene.node is not None else ""
        for dim in range(scene.operands[position].dim()):

            def counting(index: torch.Tensor, dim: int = dim) -> torch.Tensor:
                shape = [-1 if other == dim else 1 for other in range(index.dim())]
                return torch.arange(index.shape[dim]).reshape(shape).expand_as(index)

            yield Hypothesis(
                "index ignored",
                partial(_with_index, position=position, change=counting, outside="dropped", keep_sign=False),
                always(f"index {operand} is ignored: positions 0, 1, 2, .. are used instead"),
            )
        yield Hypothesis(
            "index ignored",
            partial(_with_index, position=position, change=torch.zeros_like, outside="dropped", keep_sign=False),
            always(f"index {operand} is ignored: position 0 is used instead"),
        )


def collapsed_index(scene: Scene) -> Iterator[Hypothesis]:
    """The first line of an index is used for all lines."""
    for position, _ in scene.op.indices if scene.op is not None else ():
        operand = scene.node.operands[position] if scene.node is not None else ""
        for dim in range(scene.operands[position].dim()):

            def first(index: torch.Tensor, dim: int = dim) -> torch.Tensor:
                return index.narrow(dim, 0, 1).expand_as(index)

            yield Hypothesis(
                "index collapsed",
                partial(_with_index, position=position, change=first, outside="dropped", keep_sign=False),
                always(f"index {operand} differs along dim {dim}, and its first entry there is used for all"),
            )
