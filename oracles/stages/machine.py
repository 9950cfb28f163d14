# SPDX-License-Identifier: Apache-2.0
"""Execution of a Program on a simulated mesh: a list of per-device tensors for every value.

What an op means is written in `oracles.stages.handlers`, one entry per op and family. An op, an attribute or a value
that has no entry there raises NotUnderstood: the stage is then not judged, which is never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fuzz.case import Mesh
from oracles.stages.numerics import EXACT, Numerics
from oracles.stages.program import Function, NotUnderstood, Operation, Program, TensorType

Shards = list[torch.Tensor]  # one tensor per device, in the order of device ids

# Discardable attributes that change nothing in what an op computes.
HARMLESS = frozenset(
    {
        "mhlo.frontend_attributes",
        "sdy.sharding_rule",
        "sdy.sharding",
        "tt.has_custom_sharding",
        "result_layout",  # of XLA's buffers, as xla_shape
        "xla_shape",
    }
)


@dataclass(slots=True)
class Machine:
    """One execution of a program: the simulated devices, and the number formats they compute in."""

    program: Program
    numerics: Numerics = EXACT
    mesh: Mesh = field(init=False)
    scope: Mapping[int, Shards] = field(init=False, default_factory=dict)  # what regions of the op being run may read

    def __post_init__(self) -> None:
        self.mesh = self.program.mesh

    def run(self, arguments: Sequence[Shards]) -> list[Shards]:
        """Results of @main, per result and device. Raises NotUnderstood."""
        return self.call(self.program.main, arguments)

    def call(self, function: Function, arguments: Sequence[Shards]) -> list[Shards]:
        """Run a function or region on its arguments alone."""
        if len(arguments) != len(function.parameters):
            raise NotUnderstood(f"{function.name} takes {len(function.parameters)} values, not {len(arguments)}")
        values: dict[int, Shards] = dict(zip(function.parameters, arguments, strict=True))
        for op in function.operations[:-1]:
            if any(number not in values for number in op.operands):
                raise NotUnderstood(f"{op.name} inside {function.name} reads a value from around it")
            self.scope = values
            results = self.execute(op, [values[number] for number in op.operands])
            if HANDLERS[op.name].in_place:
                if function is not self.program.functions.get("main") and op.operands[0] in function.parameters:
                    raise NotUnderstood(f"{op.name} changes a value of the caller of {function.name}")
                values[op.operands[0]] = results[0]
            else:
                values.update(zip(op.results, results, strict=True))
        if any(number not in values for number in function.returned):
            raise NotUnderstood(f"{function.name} returns a value from around it")
        return [values[number] for number in function.returned]

    def function(self, name: str) -> Function:
        """A function of the program by its symbol."""
        if name not in self.program.functions:
            raise NotUnderstood(f"no function @{name}")
        return self.program.functions[name]

    def execute(self, op: Operation, operands: list[Shards]) -> list[Shards]:
        """Run one operation. One that works in place gives the new value of its first operand."""
        handler = HANDLERS.get(op.name)
        if handler is None:
            raise NotUnderstood(op.name)
        handler.check(op)
        try:
            results = handler.run(self, op, operands)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # torch refuses what the stage asks for: an index out of range, a shape that does not fit.
            raise NotUnderstood(f"{op.name}: {str(error).splitlines()[0] if str(error) else error!r}") from error
        if handler.in_place:
            return results
        if len(results) != len(op.types):
            raise NotUnderstood(f"{op.name} with {len(op.types)} results")
        return [
            shards if type_ is None else self.fitted(op.name, shards, type_)
            for shards, type_ in zip(results, op.types, strict=True)
        ]

    def fitted(self, name: str, shards: Shards, type_: TensorType) -> Shards:
        """Values in the carrier of their declared type; replicas that are one tensor object stay one."""
        done: dict[int, torch.Tensor] = {}
        for shard in shards:
            if id(shard) not in done:
                if tuple(shard.shape) != type_.shape:
                    raise NotUnderstood(f"{name} gives shape {tuple(shard.shape)} where the stage has {type_.shape}")
                done[id(shard)] = self.numerics.store(shard, type_.element)
        return [done[id(shard)] for shard in shards]


@dataclass(frozen=True, slots=True)
class Handler:
    """What one op means, and which of its attributes that covers."""

    run: Callable[[Machine, Operation, list[Shards]], list[Shards]]
    attributes: frozenset[str]  # read by the handler, or without influence on values
    fixed: Mapping[str, Any]  # understood only with this value
    in_place: bool = False  # changes its first operand and has no result

    def check(self, op: Operation) -> None:
        """Raise NotUnderstood for an attribute that the handler does not cover."""
        for name, value in op.attributes.items():
            if name in self.fixed:
                if value != self.fixed[name]:
                    raise NotUnderstood(f"{op.name} with {name} = {value}")
            elif name not in self.attributes and name not in HARMLESS:
                raise NotUnderstood(f"attribute {name} on {op.name}")


HANDLERS: dict[str, Handler] = {}

Local = Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]
Collective = Callable[..., Shards | tuple[Shards, ...]]
Raw = Callable[[Machine, Operation, list[Shards]], list[Shards]]


def _register(names: str, run: Raw, attributes: str, fixed: Mapping[str, Any] | None, in_place: bool = False) -> None:
    for name in names.split():
        if name in HANDLERS:
            raise ValueError(f"op {name} has two handlers")
        HANDLERS[name] = Handler(run, frozenset(attributes.split()), fixed or {}, in_place)


def local(names: str, attributes: str = "", fixed: Mapping[str, Any] | None = None) -> Callable[[Local], Local]:
    """Register `function(op, *tensors)` for ops in which every device computes on its own tensors alone."""

    def decorate(function: Local) -> Local:
        def run(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
            return per_device(machine.mesh, operands, lambda *tensors: function(op, *tensors))

        _register(names, run, attributes, fixed)
        return function

    return decorate


def in_place(names: str, attributes: str = "", fixed: Mapping[str, Any] | None = None) -> Callable[[Local], Local]:
    """Register `function(op, *tensors)` for ops that change their first operand: it returns the new value."""

    def decorate(function: Local) -> Local:
        def run(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
            return per_device(machine.mesh, operands, lambda *tensors: function(op, *tensors))

        _register(names, run, attributes, fixed, in_place=True)
        return function

    return decorate


def formatted(names: str, attributes: str = "", fixed: Mapping[str, Any] | None = None) -> Callable[[Local], Local]:
    """Register `function(op, numerics, *tensors)`: local ops whose result depends on the number formats of the chip."""

    def decorate(function: Local) -> Local:
        def run(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
            return per_device(machine.mesh, operands, lambda *tensors: function(op, machine.numerics, *tensors))

        _register(names, run, attributes, fixed)
        return function

    return decorate


def per_device(mesh: Mesh, operands: Sequence[Shards], compute: Local) -> list[Shards]:
    """Apply a function of tensors on every device. Devices that hold the very same tensors compute once."""
    done: dict[tuple[int, ...], tuple[torch.Tensor, ...]] = {}
    results = []
    for device in range(mesh.size):
        tensors = [shards[device] for shards in operands]
        key = tuple(map(id, tensors))
        if key not in done:
            result = compute(*tensors)
            done[key] = result if isinstance(result, tuple) else (result,)
        results.append(done[key])
    return [list(shards) for shards in zip(*results, strict=True)]


def collective(
    names: str, attributes: str = "", fixed: Mapping[str, Any] | None = None
) -> Callable[[Collective], Collective]:
    """Register `function(op, mesh, *shards)` for ops that move values between devices."""

    def decorate(function: Collective) -> Collective:
        def run(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
            results = function(op, machine.mesh, *operands)
            return list(results) if isinstance(results, tuple) else [results]

        _register(names, run, attributes, fixed)
        return function

    return decorate


def structural(names: str, attributes: str = "", fixed: Mapping[str, Any] | None = None) -> Callable[[Raw], Raw]:
    """Register `function(machine, op, operands)` for ops that call functions or regions, or follow number formats."""

    def decorate(function: Raw) -> Raw:
        _register(names, function, attributes, fixed)
        return function

    return decorate
