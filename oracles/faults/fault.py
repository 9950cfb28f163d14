# SPDX-License-Identifier: Apache-2.0
"""What a fault is, the table of all of them, and the walk by which a fault rewrites a program.

A fault recreates a bug that a compiler has had: it rewrites a right program as the buggy compiler would have written
it, at every place where the bug would have struck. It knows neither cases nor results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

from oracles.stages.program import Function, Operation, Program, TensorType

Rewrite = Callable[[Program], Program | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One bug to plant into a compile."""

    name: str
    doc: str  # what is computed instead, in one line
    like: str  # the public bug it recreates
    stage: str  # which captured stage it rewrites
    rewrite: Rewrite  # None where the program has no place for it


@dataclass(frozen=True, slots=True)
class Scene:
    """What a change of one operation may look at: the function around it."""

    program: Program
    makers: Mapping[int, Operation]  # which operation makes a value; none makes a parameter
    users: Mapping[int, Sequence[Operation]]
    types: Mapping[int, TensorType]
    numbers: Iterator[int]  # of values that do not exist yet

    def make(self, name: str, operands: Sequence[int], type_: TensorType, **attributes: Any) -> Operation:
        """An operation with one new result."""
        return Operation(name, tuple(operands), (next(self.numbers),), (type_,), attributes)


# The operations that stand in place of one, of which the last gives its results; None leaves it alone.
Change = Callable[[Scene, Operation], Sequence[Operation] | None]

# By name, in the order of registration.
FAULTS: dict[str, Fault] = {}


def fault(stage: str, at: str, like: str) -> Callable[[Change], Change]:
    """Register a change of the operations named in `at` as the fault of the function's name; its docstring is the doc.

    The docstring's first line must stand alone.
    """

    def decorate(change: Change) -> Change:
        name = getattr(change, "__name__", "")
        doc = (change.__doc__ or "").partition("\n")[0].removesuffix(".")
        if name in FAULTS:
            raise ValueError(f"two faults are named {name}")
        FAULTS[name] = Fault(name, doc, like, stage, partial(rewritten, names=frozenset(at.split()), change=change))
        return change

    return decorate


def rewritten(program: Program, names: frozenset[str], change: Change) -> Program | None:
    """The program with every operation of those names changed that the change applies to; None if it never does.

    What a composite stands for is left alone: the compiler lowers composites by their name.
    """
    decompositions = {
        op.attributes["decomposition"]
        for function in program.functions.values()
        for op in _operations(function)
        if op.name == "stablehlo.composite"
    }
    numbers = count(_first_free(program))
    functions = {
        name: function if name in decompositions else _function(program, function, names, change, numbers)
        for name, function in program.functions.items()
    }
    if all(functions[name] is function for name, function in program.functions.items()):
        return None
    return replace(program, functions=functions)


def _function(
    program: Program, function: Function, names: frozenset[str], change: Change, numbers: Iterator[int]
) -> Function:
    scene = _scene(program, function, numbers)
    operations: list[Operation] = []
    changed = False
    for op in function.operations:
        instead = _instead(scene, op, names, change)
        operations += [op] if instead is None else instead
        changed |= instead is not None
    return replace(function, operations=tuple(operations)) if changed else function


def _instead(scene: Scene, op: Operation, names: frozenset[str], change: Change) -> Sequence[Operation] | None:
    if op.name in names:
        return change(scene, op)
    if op.name != "sdy.manual_computation":
        return None
    regions = tuple(_function(scene.program, region, names, change, scene.numbers) for region in op.regions)
    return None if regions == op.regions else [replace(op, regions=regions)]


def _scene(program: Program, function: Function, numbers: Iterator[int]) -> Scene:
    users: dict[int, list[Operation]] = {}
    types = {number: type_ for number, type_ in zip(function.parameters, function.types, strict=True) if type_}
    for op in function.operations:
        types.update({number: type_ for number, type_ in zip(op.results, op.types, strict=True) if type_})
        for number in op.operands:
            users.setdefault(number, []).append(op)
    return Scene(program, {number: op for op in function.operations for number in op.results}, users, types, numbers)


def _operations(function: Function) -> Iterator[Operation]:
    for op in function.operations:
        yield op
        for region in op.regions:
            yield from _operations(region)


def _first_free(program: Program) -> int:
    return 1 + max(
        number
        for function in program.functions.values()
        for number in (*_parameters(function), *(number for op in _operations(function) for number in op.results))
    )


def _parameters(function: Function) -> Iterator[int]:
    yield from function.parameters
    for op in function.operations:
        for region in op.regions:
            yield from _parameters(region)
