# SPDX-License-Identifier: Apache-2.0
"""One wrong output as a fault model sees it: the op that made it, what that op read, and what every device holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from fuzz.case import Case, Mesh, Node, Sharding
from fuzz.ops.core import Op, call, get
from oracles.placement import take_block
from oracles.reference import Expected, reference
from oracles.targets.base import Block, Outputs

Inputs = Mapping[str, torch.Tensor]
Observe = Callable[[Inputs], Outputs]  # what the devices hold at the end of the guilty stage, for these input values
# What each device should hold if a hypothesis is true, as a whole output of which it has its part; or one for all.
Prediction = torch.Tensor | Mapping[int, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Scene:
    """An output, the node that makes it (none for an input that is returned), and its operands' right values."""

    case: Case
    output: str
    node: Node | None
    operands: tuple[torch.Tensor, ...]  # floats as float64
    # As far as the case says it: by which mesh axes each operand is split; unsplit where it says nothing.
    layouts: tuple[Sharding, ...]
    wanted: torch.Tensor
    bound: torch.Tensor | None  # largest distance of a right element; None: exact
    blocks: tuple[Block, ...]  # in the dtype of `wanted`

    @property
    def mesh(self) -> Mesh:
        return self.case.mesh

    @property
    def op(self) -> Op | None:
        return None if self.node is None else get(self.node.op)

    @property
    def attributes(self) -> dict[str, Any]:
        return {} if self.node is None else self.node.keywords

    @property
    def demanded(self) -> Sharding | None:
        """The layout that the case asks for the output, if it does."""
        output = next(output for output in self.case.outputs if output.name == self.output)
        return output.sharding or (self.node.sharding if self.node is not None else None)

    def run(self, operands: tuple[torch.Tensor, ...], **attributes: Any) -> torch.Tensor:
        """The op on other operands, with other attributes. What torch raises, it raises."""
        if self.node is None:
            return operands[0]
        return call(get(self.node.op), operands, self.attributes | attributes, "cpu")

    def with_operand(self, position: int, value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (*self.operands[:position], value, *self.operands[position + 1 :])

    def right(self, block: Block) -> torch.Tensor:
        """Which elements of a device's part are."""
        part = take_block(self.wanted, block.start, block.values.shape)
        return _close(part, block.values, self._bound(block))

    def fits(self, prediction: Prediction) -> bool:
        """Whether every element of every device, right or wrong, is as predicted."""
        for block in self.blocks:
            whole = prediction if isinstance(prediction, torch.Tensor) else prediction[block.device]
            if whole.shape != self.wanted.shape:
                return False
            part = take_block(whole, block.start, block.values.shape)
            if not bool(_close(part.to(self.wanted.dtype), block.values, self._bound(block)).all()):
                return False
        return True

    def _bound(self, block: Block) -> torch.Tensor | None:
        return None if self.bound is None else take_block(self.bound, block.start, block.values.shape)


def _close(want: torch.Tensor, got: torch.Tensor, bound: torch.Tensor | None) -> torch.Tensor:
    if not want.is_floating_point():
        return want == got
    equal = (want == got) | (want.isnan() & got.isnan())
    return equal if bound is None else equal | ((want - got).abs() <= bound)


def scenes(case: Case, inputs: Inputs, outputs: Outputs) -> tuple[Scene, ...]:
    """One per output, wrong or right. Raises InvalidCase for inputs that torch leaves no result for."""
    expected = reference(case, inputs)
    return tuple(
        _scene(case, output.name, expected, blocks) for output, blocks in zip(case.outputs, outputs, strict=True)
    )


def _scene(case: Case, name: str, expected: Mapping[str, Expected], blocks: tuple[Block, ...]) -> Scene:
    node = case.node(name)
    operands = (name,) if node is None else node.operands
    right = expected[name]
    return Scene(
        case,
        name,
        node,
        tuple(expected[operand].values for operand in operands),
        tuple(layout_of(case, operand, expected[operand].values.dim()) for operand in operands),
        right.values,
        right.bound,
        tuple(replace(block, values=block.values.to(right.values.dtype)) for block in blocks),
    )


def layout_of(case: Case, name: str, rank: int) -> Sharding:
    """By which mesh axes a value is split, as far as the case says it."""
    value, node = case.input(name), case.node(name)
    asked = value.sharding if value is not None else node.sharding if node is not None else None
    return asked if asked is not None else ((),) * rank


def pieces(mesh: Mesh, axes: tuple[str, ...]) -> int:
    """Into how many parts these axes split a dim."""
    return math.prod(mesh.sizes[axis] for axis in axes)
