# SPDX-License-Identifier: Apache-2.0
"""Regions of reduce, scatter and sort: functions of scalars, evaluated on all elements of tensors at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fuzz.case import Mesh
from oracles.stages.machine import HANDLERS, Machine, Raw, Shards, per_device, structural
from oracles.stages.numerics import Numerics
from oracles.stages.program import Function, NotUnderstood, Operation, Program

# Ops that mean the same on a scalar as on each element of a tensor. Another op (reshape) would see the wrong shape.
SCALAR_OPS = frozenset(
    f"stablehlo.{name}"
    for name in (
        *("abs", "add", "and", "bitcast_convert", "ceil", "clamp", "compare", "constant", "convert", "divide", "floor"),
        *("is_finite", "maximum", "minimum", "multiply", "negate", "not", "or", "power", "remainder", "select"),
        *("shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "subtract", "xor"),
    )
)
_COMMUTATIVE = frozenset(f"stablehlo.{name}" for name in ("add", "and", "maximum", "minimum", "multiply", "or", "xor"))
_ONE_DEVICE = Program({}, Mesh((1,), ("device",)))


@dataclass(frozen=True, slots=True)
class Body:
    """A region as a function of equally shaped tensors."""

    region: Function
    numerics: Numerics
    outer: Mapping[int, torch.Tensor]  # scalars that the region reads from around it

    def __call__(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Evaluate the region element by element. Raises NotUnderstood for ops that are not of SCALAR_OPS."""
        shape = tensors[0].shape
        machine = Machine(_ONE_DEVICE, self.numerics)
        values = dict(self.outer)
        for number, type_, tensor in zip(self.region.parameters, self.region.types, tensors, strict=True):
            if type_ is None:
                raise NotUnderstood(f"{self.region.name}: a region of something else than tensors")
            values[number] = self.numerics.store(tensor, type_.element)
        for op in self.region.operations[:-1]:
            if op.name not in SCALAR_OPS or op.name not in HANDLERS:
                raise NotUnderstood(f"{op.name} in the region of {self.region.name}")
            handler = HANDLERS[op.name]
            handler.check(op)
            ((value,),) = handler.run(machine, op, [[values[number]] for number in op.operands])
            values[op.results[0]] = self.numerics.store(value, op.type.element)
        return tuple(values[number].expand(shape) for number in self.region.returned)

    @property
    def operation(self) -> str | None:
        """Which commutative op of its two parameters the region is: add, maximum, ...; None for any other region."""
        if len(self.region.operations) != 2:
            return None
        op = self.region.operations[0]
        plain = op.name in _COMMUTATIVE and sorted(op.operands) == sorted(self.region.parameters)
        return op.name.removeprefix("stablehlo.") if plain and self.region.returned == op.results else None

    @property
    def overwrites(self) -> bool:
        """Whether the region returns its second parameter of two."""
        return len(self.region.operations) == 1 and self.region.returned == self.region.parameters[1:]


Bodied = Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]


def with_body(names: str, attributes: str = "", fixed: Mapping[str, Any] | None = None) -> Callable[[Bodied], Bodied]:
    """Register `function(op, body, *tensors)`: ops with one region, computed by every device on its own tensors."""

    def decorate(function: Bodied) -> Bodied:
        def run(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
            (region,) = op.regions
            captured = _captured(region)
            count = len(operands)

            def compute(*tensors: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
                outer = dict(zip(captured, tensors[count:], strict=True))
                return function(op, Body(region, machine.numerics, outer), *tensors[:count])

            return per_device(machine.mesh, [*operands, *(machine.scope[number] for number in captured)], compute)

        register: Callable[[Raw], Raw] = structural(names, attributes, fixed)
        register(run)
        return function

    return decorate


def body_of(machine: Machine, op: Operation) -> Body:
    """The region of an op that combines values of several devices; what it reads from around it must be one value."""
    (region,) = op.regions
    outer = {}
    for number in _captured(region):
        first, *others = machine.scope[number]
        if any(not torch.equal(first, other) for other in others):
            raise NotUnderstood(f"{op.name} whose region reads a value that differs between devices")
        outer[number] = first
    return Body(region, machine.numerics, outer)


def _captured(region: Function) -> tuple[int, ...]:
    """Values that the region reads from around it."""
    inside = {*region.parameters, *(number for op in region.operations for number in op.results)}
    read = (number for op in region.operations for number in op.operands)
    return tuple(dict.fromkeys(number for number in read if number not in inside))
