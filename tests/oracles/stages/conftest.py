# SPDX-License-Identifier: Apache-2.0
"""Small programs for the stage executor: StableHLO next to XLA's CPU client, ops of TTIR and TTNN on their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from jaxlib.mlir import ir

import oracles.stages.handlers  # noqa: F401 - fills the machine's table
from fuzz.case import Mesh
from oracles.stages.machine import Machine
from oracles.stages.numerics import EXACT, Numerics
from oracles.stages.parse import parse
from oracles.stages.program import Operation, Program, TensorType
from oracles.targets.client import compile_module, cpu_client, execute, mlir_context
from oracles.targets.pjrt import EXECUTOR_OPTIONS

Results = list[torch.Tensor]
MESH = 'sdy.mesh @mesh = <["x"=1]>'


@pytest.fixture(scope="session")
def with_xla() -> Callable[..., tuple[Results, Results]]:
    """Results of a function @main, by the stage executor and by XLA."""
    client = cpu_client(1)

    def run(function: str, *arguments: torch.Tensor) -> tuple[Results, Results]:
        with mlir_context(), ir.Location.unknown():
            program = parse(f"module {{\n{MESH}\n{function}\n}}")
            executable = compile_module(
                client, ir.Module.parse(f"module {{\n{function}\n}}"), partitions=1, replicas=1,
                overrides=EXECUTOR_OPTIONS,
            )  # fmt: skip
        ours = Machine(program).run([[argument] for argument in arguments])
        theirs = execute(client, executable, [[argument] for argument in arguments])
        return [result[0] for result in ours], [result[0] for result in theirs]

    return run


@pytest.fixture(scope="session")
def run_op() -> Callable[..., Results]:
    """Results of one op on one device: `run_op(name, operands, result types, attributes)`."""

    def run(
        name: str,
        operands: Sequence[torch.Tensor],
        types: Sequence[TensorType],
        attributes: Mapping[str, Any],
        numerics: Numerics = EXACT,
    ) -> Results:
        numbers = tuple(range(len(operands) + len(types)))
        operation = Operation(name, numbers[: len(operands)], numbers[len(operands) :], tuple(types), attributes)
        machine = Machine(Program({}, Mesh((1,), ("x",))), numerics)
        return [result[0] for result in machine.execute(operation, [[operand] for operand in operands])]

    return run
