# SPDX-License-Identifier: Apache-2.0
"""A compiler stage as plain data: functions of operations over numbered values.

`oracles.stages.parse` makes it from a dump, the machine executes it, faults rewrite it. Nothing here knows MLIR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fuzz.case import Mesh, MeshfuzzError


class NotUnderstood(MeshfuzzError):
    """The stage has something this executor has no meaning for; the stage is not judged."""


@dataclass(frozen=True, slots=True)
class TensorType:
    shape: tuple[int, ...]
    element: str  # as MLIR writes it: f32, bf16, i1, i64, si32, ui32, ...


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation. Values are numbered once in the whole program."""

    name: str  # with its dialect: ttir.add
    operands: tuple[int, ...]
    results: tuple[int, ...]
    types: tuple[TensorType | None, ...]  # of the results; None for what is not a tensor (a device)
    # Numbers, text (also of enums and symbols), tuples, mappings, and dense constants as tensors.
    attributes: Mapping[str, Any] = field(default_factory=dict)
    regions: tuple[Function, ...] = ()

    @property
    def type(self) -> TensorType:
        """Type of the only tensor result."""
        (type_,) = self.types
        if type_ is None:
            raise NotUnderstood(f"{self.name}: result is not a tensor")
        return type_


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function or region: parameters, and operations that end with the one that returns."""

    name: str
    parameters: tuple[int, ...]
    types: tuple[TensorType | None, ...]  # of the parameters
    operations: tuple[Operation, ...]

    @property
    def returned(self) -> tuple[int, ...]:
        return self.operations[-1].operands


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A module: @main and what it calls."""

    functions: Mapping[str, Function]
    mesh: Mesh  # as the stage has it: the compiler may rename and reshape the case's

    @property
    def main(self) -> Function:
        return self.functions["main"]
