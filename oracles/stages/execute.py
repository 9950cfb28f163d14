# SPDX-License-Identifier: Apache-2.0
"""One stage of a compile, executed on the simulated mesh: from the case's values to blocks of its outputs.

`shlo` is the program before partitioning and runs on one device. `shlo_compiler` says how arguments and results are
sharded; TTIR and TTNN run the same arguments and results with local shapes alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

import oracles.stages.handlers  # noqa: F401 - fills the machine's table
from fuzz.case import Mesh, Sharding, TensorSpec, replicated
from oracles.placement import block_shape, block_start, take_block
from oracles.stages.machine import Machine, Shards
from oracles.stages.numerics import EXACT, TT, Numerics
from oracles.stages.program import Function, NotUnderstood, Operation, Program
from oracles.stages.shardings import blocks, shardings
from oracles.targets.base import Block, Outputs

# The stages that are executed, in the order of the compile, and the step that makes each from the one before.
TRANSITIONS = {
    "shlo": "torch_xla",
    "shlo_compiler": "shlo -> shlo_compiler",
    "ttir": "shlo_compiler -> ttir",
    "ttnn": "ttir -> ttnn",
}
EXECUTED = tuple(TRANSITIONS)
PARTITIONED = "shlo_compiler"
ONE_DEVICE = Mesh((1,), ("device",))


@dataclass(frozen=True, slots=True)
class Placement:
    """How a compile cut arguments and results of the program into blocks."""

    mesh: Mesh
    arguments: Mapping[int, Sharding]  # by position in @main; one that is missing is not used
    results: tuple[Sharding, ...]


def placement(program: Program) -> Placement:
    """How the partitioned stage is cut. Raises NotUnderstood."""
    main = program.main
    if program.mesh.size == 1:
        whole = {number: replicated(_rank(main, number)) for number in range(len(main.parameters))}
        types = {number: type_ for op in main.operations for number, type_ in zip(op.results, op.types, strict=True)}
        types.update(zip(main.parameters, main.types, strict=True))
        results = [types[number] for number in main.returned]
        return Placement(program.mesh, whole, tuple(replicated(len(type_.shape)) for type_ in results if type_))
    manual = manual_computation(main)
    numbers = {value: position for position, value in enumerate(main.parameters)}
    if any(operand not in numbers for operand in manual.operands):
        raise NotUnderstood("sdy.manual_computation has an operand that is not an argument of @main")
    given = shardings(manual.attributes["in_shardings"], program.mesh)
    return Placement(
        program.mesh,
        dict(zip((numbers[operand] for operand in manual.operands), given, strict=True)),
        shardings(manual.attributes["out_shardings"], program.mesh),
    )


def manual_computation(main: Function) -> Operation:
    """The one op that a partitioned @main consists of; its results are returned in order. Raises NotUnderstood."""
    names = [op.name for op in main.operations]
    if names != ["sdy.manual_computation", "func.return"] or main.returned != main.operations[0].results:
        raise NotUnderstood(f"@main is not one sdy.manual_computation but {', '.join(names)}")
    return main.operations[0]


def _rank(main: Function, number: int) -> int:
    type_ = main.types[number]
    return len(type_.shape) if type_ else 0


def run_stage(
    stage: str,
    program: Program,
    arguments: Sequence[torch.Tensor],
    results: Sequence[TensorSpec],
    placed: Placement | None,
    numerics: Numerics | None = None,
) -> Outputs:
    """Execute a parsed stage on global argument values. `results`: the case's outputs. Raises NotUnderstood.

    Only `shlo` does without a placement.

    Default numerics: those of the chip for TTNN, exact ones before.
    """
    numerics = numerics or (TT if stage == "ttnn" else EXACT)
    if placed is None:
        machine = Machine(replace(program, mesh=ONE_DEVICE), numerics)
        computed = machine.run(_fitted(machine, [[value] for value in arguments]))
        return _blocks(computed, results, [replicated(len(spec.shape)) for spec in results], ONE_DEVICE)
    machine = Machine(program, numerics)
    if program.mesh.shape != placed.mesh.shape:
        raise NotUnderstood(f"mesh {program.mesh} in {stage}, {placed.mesh} in {PARTITIONED}")
    if stage == PARTITIONED and program.mesh.size > 1:
        manual = manual_computation(program.main)
        cut = [blocks(arguments[number], sharding, placed.mesh) for number, sharding in placed.arguments.items()]
        computed = machine.call(manual.regions[0], cut)
    else:
        computed = machine.run(_fitted(machine, _local_arguments(program, arguments, placed)))
    return _blocks(computed, results, placed.results, placed.mesh)


def _local_arguments(program: Program, arguments: Sequence[torch.Tensor], placed: Placement) -> list[Shards]:
    local = []
    main = program.main
    _check_count(len(arguments), len(main.types), "arguments")
    read = {number for op in main.operations for number in op.operands}
    for number, (value, type_) in enumerate(zip(arguments, main.types, strict=True)):
        sharding = placed.arguments.get(number)
        if main.parameters[number] in read:
            if sharding is None:
                raise NotUnderstood(f"argument {number} is read, and not by {PARTITIONED}")
            local.append(blocks(value, sharding, placed.mesh))
        elif type_ is not None:  # nobody reads it, and the compiler does not always cut it
            local.append([torch.zeros(type_.shape, dtype=value.dtype)] * placed.mesh.size)
    return local


def _check_count(given: int, wanted: int, what: str) -> None:
    if given != wanted:
        raise NotUnderstood(f"@main of {wanted} {what}, not {given}")


def _fitted(machine: Machine, arguments: Sequence[Shards]) -> list[Shards]:
    """Arguments as the stage declares them: i64 becomes si32 on the way into TTNN, truth values become bf16."""
    main = machine.program.main
    _check_count(len(arguments), len(main.types), "arguments")
    return [
        shards if type_ is None else machine.fitted("@main", shards, type_)
        for shards, type_ in zip(arguments, main.types, strict=True)
    ]


def _blocks(computed: Sequence[Shards], results: Sequence[TensorSpec], cut: Sequence[Sharding], mesh: Mesh) -> Outputs:
    """What each device holds of the outputs. Raises NotUnderstood for blocks that are not the case's."""
    outputs = []
    _check_count(len(results), len(computed), "results")
    for shards, spec, sharding in zip(computed, results, cut, strict=True):
        per_device = []
        whole = block_shape(spec.shape, sharding, mesh)
        for device, values in enumerate(shards):
            if tuple(values.shape) != whole:
                raise NotUnderstood(f"a result of shape {tuple(values.shape)} where blocks are {whole}")
            start = block_start(spec.shape, sharding, mesh, device)
            valid = [min(size, total - at) for size, total, at in zip(values.shape, spec.shape, start, strict=True)]
            block = take_block(values, [0] * len(valid), valid)
            # TTNN carries truth values in bf16, where anything but zero is true.
            per_device.append(Block(device, start, block != 0 if spec.dtype == "bool" else block))
        outputs.append(tuple(per_device))
    return tuple(outputs)
