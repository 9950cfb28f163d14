# SPDX-License-Identifier: Apache-2.0
"""Targets behind a PJRT client: XLA's CPU mesh, any plugin by path, and the TT compiler on a mock mesh or on chips.

`PjrtTarget` compiles the annotated module and executes it. `MockTarget` only compiles; the captured stages are executed
in software, and what a mock device would return is never looked at.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxlib.mlir import ir

from fuzz.case import Case, Mesh, Sharding, check_options, is_uneven, replicated
from fuzz.ops.core import specs
from oracles.lowering import Lowered, annotate, close_results, lower, telling_operations
from oracles.outcome import Verdict
from oracles.placement import block_shape, block_start, take_block
from oracles.stages.execute import PARTITIONED
from oracles.stages.partitioned import DeviceProgram, device_program
from oracles.stages.passes import STAGES, following
from oracles.stages.program import NotUnderstood
from oracles.stages.staged import read_staged
from oracles.targets.base import Block, Compiled, Observation, Outputs, TargetFailure
from oracles.targets.client import compile_module, execute, mlir_context
from oracles.targets.config import TargetConfig

# The stage is executed for its meaning, not for speed: less optimisation halves the time XLA takes to compile it.
EXECUTOR_OPTIONS = {"xla_backend_optimization_level": "0"}
# Only what a compiler plainly says it does not do: a failed assertion or a rejected legal program is a finding.
PLAIN_REFUSALS = (
    "tensor sharding is incompatible with tensor shape",  # an argument or result sharded unevenly
    "is not implemented yet",
    "not supported yet",
    "is not supported",
    "unsupported",
)
# A plugin built against another version of the PJRT interface than this jaxlib: nothing about the plugin is learnt.
API_MISMATCH = "Unexpected PJRT_"
# From optimization_level 1 on, the TT compiler opens a mock device for its cost model, out of run-time files that a
# compile-only worker has thrown away.
NO_COST_MODEL = "Cluster descriptor file does not exist"


class PjrtTarget:
    """Compiles with a client and executes on its devices."""

    def __init__(self, config: TargetConfig, client: Any) -> None:
        self.config = config
        self._client = client

    def run(self, case: Case, inputs: Mapping[str, torch.Tensor], on_stage: Callable[[str], None]) -> Observation:
        case = close_results(case)
        on_stage("lower")
        lowered = lower(case, inputs)
        on_stage("compile")
        try:
            with mlir_context(), ir.Location.unknown():
                module = annotate(lowered, case, uneven_inside=True)
                operations = telling_operations(module)
                executable = compile_module(
                    self._client,
                    module,
                    partitions=case.mesh.size,
                    replicas=1,
                    overrides=dict(check_options(case).options),
                )
        except RuntimeError as error:
            raise compile_failure(error, "compile") from error
        on_stage("execute")
        arguments = [
            scatter_to_devices(parameter.value, _even(parameter.value.shape, parameter.sharding, case.mesh), case.mesh)
            for parameter in lowered.parameters
        ]
        try:
            results = execute(self._client, executable, arguments)
        except RuntimeError as error:
            verdict = Verdict.ENV if API_MISMATCH in str(error) else Verdict.CRASH
            raise TargetFailure(verdict, "execute", first_line(error)) from error
        known = specs(case)
        shapes = [known[output.name].shape for output in case.outputs]
        shardings = [
            _even(shape, output.sharding or replicated(len(shape)), case.mesh)
            for output, shape in zip(case.outputs, shapes, strict=True)
        ]
        return Observation(gather_blocks(results, shapes, shardings, case.mesh), operations=operations)


class MockTarget:
    """The TT compiler for a mesh that is not there: real stages, to be executed in software."""

    def __init__(self, config: TargetConfig, compiler: Any, executor: Any) -> None:
        self.config = config
        self._compiler = compiler
        self._executor = executor

    def run(self, case: Case, inputs: Mapping[str, torch.Tensor], on_stage: Callable[[str], None]) -> Observation:
        on_stage("lower")
        lowered = lower(case, inputs)
        with mlir_context(), ir.Location.unknown():
            module = annotate(lowered, case)
            operations = telling_operations(module)
            stages, failure = self.compile(module, case, on_stage)
            if failure is not None:
                raise failure
            known = specs(case)
            results = [known[output.name] for output in case.outputs]
            staged = read_staged(stages, [parameter.value for parameter in lowered.parameters], results)
        confirm = partial(self._partitioned, stages[PARTITIONED], lowered, [spec.shape for spec in results])
        return Observation(operations=operations, compiled=Compiled(staged, confirm, stages))

    def _partitioned(self, stage: str, lowered: Lowered, shapes: Sequence[tuple[int, ...]]) -> Outputs:
        """The partitioned stage on replicas of XLA's CPU client: a second opinion on our own execution of it."""
        try:
            with mlir_context(), ir.Location.unknown():
                program = device_program(stage)
                executable = compile_module(
                    self._executor,
                    ir.Module.parse(program.text),
                    partitions=1,
                    replicas=program.mesh.size,
                    overrides=EXECUTOR_OPTIONS,
                )
        except RuntimeError as error:
            raise NotUnderstood(f"XLA CPU rejects it: {first_line(error)}") from error
        results = execute(self._executor, executable, _device_arguments(program, lowered))
        return gather_blocks(results, shapes, program.result_shardings, program.mesh)

    def compile(
        self, module: ir.Module, case: Case, on_stage: Callable[[str], None]
    ) -> tuple[dict[str, str], TargetFailure | None]:
        """Compile and collect the stages; a failed compile still leaves those up to the failure."""
        on_stage("compile")
        folder = Path(tempfile.mkdtemp(prefix="stages-"))
        failure = None
        try:
            overrides = dict(check_options(case).options) | {"export_path": str(folder)}
            compile_module(self._compiler, module, partitions=case.mesh.size, replicas=1, overrides=overrides)
        except RuntimeError as error:
            failure = compile_failure(error, failed_stage(folder))
        stages = read_stages(folder)
        shutil.rmtree(folder, ignore_errors=True)
        if failure is None and PARTITIONED not in stages:
            failure = TargetFailure(Verdict.NOT_JUDGED, PARTITIONED, "the compiler wrote no such stage")
        return stages, failure


def _even(shape: Sequence[int], sharding: Sharding, mesh: Mesh) -> Sharding:
    """The sharding at the boundary of a module annotated with `uneven_inside`."""
    return replicated(len(sharding)) if is_uneven(tuple(shape), sharding, mesh) else sharding


def _device_arguments(program: DeviceProgram, lowered: Lowered) -> list[list[torch.Tensor]]:
    return [
        scatter_to_devices(lowered.parameters[number].value, sharding, program.mesh)
        for number, sharding in zip(program.arguments, program.argument_shardings, strict=True)
    ]


def read_stages(folder: Path) -> dict[str, str]:
    """The IR files of one compile: `irs/<stage>_<milliseconds>.mlir`."""
    return {path.stem.rsplit("_", 1)[0]: path.read_text() for path in sorted(folder.glob("irs/*.mlir"))}


def failed_stage(folder: Path) -> str:
    """The step after the last stage written."""
    written = {path.stem.rsplit("_", 1)[0] for path in folder.glob("irs/*.mlir")}
    return following(next((stage for stage in reversed(STAGES) if stage in written), ""))


def compile_failure(error: RuntimeError, stage: str) -> TargetFailure:
    message = first_line(error)
    if NO_COST_MODEL in message:
        cause = "from optimization_level 1 on the compiler opens a device, and a compile-only worker has none"
        return TargetFailure(Verdict.ENV, stage, cause)
    refused = any(phrase in message.lower() for phrase in PLAIN_REFUSALS)
    return TargetFailure(Verdict.UNSUPPORTED if refused else Verdict.COMPILE_ERROR, stage, message)


def first_line(error: BaseException) -> str:
    """The first non-empty line, without the status code XLA puts before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].removeprefix("INTERNAL: ") if lines else type(error).__name__


def scatter_to_devices(tensor: torch.Tensor, sharding: Sharding, mesh: Mesh) -> list[torch.Tensor]:
    """Each device's block; blocks at the end of an uneven dim are padded with -1 (true for bool), never a neutral 0."""
    shape = block_shape(tensor.shape, sharding, mesh)
    blocks = []
    for device in range(mesh.size):
        block = take_block(tensor, block_start(tensor.shape, sharding, mesh, device), shape)
        if tuple(block.shape) != shape:
            padded = torch.full(shape, -1, dtype=torch.int8).to(tensor.dtype)
            padded[tuple(slice(0, size) for size in block.shape)] = block
            block = padded
        blocks.append(block)
    return blocks


def gather_blocks(
    results: Sequence[Sequence[torch.Tensor]],
    shapes: Sequence[tuple[int, ...]],
    shardings: Sequence[Sharding],
    mesh: Mesh,
) -> tuple[tuple[Block, ...], ...]:
    """Local results as blocks of the global outputs, padding cut off. Raises TargetFailure for a wrong local shape."""
    outputs = []
    for per_device, shape, sharding in zip(results, shapes, shardings, strict=True):
        expected = block_shape(shape, sharding, mesh)
        blocks = []
        for device, values in enumerate(per_device):
            if tuple(values.shape) != expected:
                raise TargetFailure(
                    Verdict.WRONG, "execute", f"device {device} holds shape {tuple(values.shape)}, not {expected}"
                )
            start = block_start(shape, sharding, mesh, device)
            valid = [min(size, total - first) for size, total, first in zip(expected, shape, start, strict=True)]
            blocks.append(Block(device, start, take_block(values, [0] * len(shape), valid)))
        outputs.append(tuple(blocks))
    return tuple(outputs)
