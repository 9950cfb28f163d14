# SPDX-License-Identifier: Apache-2.0
"""One compile as a row of programs that can each be executed: what the stages of a case compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from fuzz.case import TensorSpec
from oracles.stages.execute import EXECUTED, PARTITIONED, Placement, placement, run_stage
from oracles.stages.numerics import Numerics
from oracles.stages.parse import parse
from oracles.stages.program import NotUnderstood, Program
from oracles.targets.base import Outputs


@dataclass(frozen=True, slots=True)
class Staged:
    """The stages of one compile, and the values that go in."""

    programs: Mapping[str, Program]
    arguments: tuple[torch.Tensor, ...]  # of the lowered module, global
    results: tuple[TensorSpec, ...]  # the case's outputs
    placed: Placement | None
    unread: Mapping[str, str] = field(default_factory=dict)  # stages that could not be parsed: why

    @property
    def stages(self) -> tuple[str, ...]:
        """Executable stages that the compile wrote, in order."""
        return tuple(stage for stage in EXECUTED if stage in self.programs or stage in self.unread)

    def run(self, stage: str, numerics: Numerics | None = None) -> Outputs:
        """What the stage computes. Raises NotUnderstood."""
        if stage in self.unread:
            raise NotUnderstood(self.unread[stage])
        if self.placed is None and stage != "shlo":
            raise NotUnderstood(f"{PARTITIONED} does not say how arguments are cut")
        placed = None if stage == "shlo" else self.placed
        return run_stage(stage, self.programs[stage], self.arguments, self.results, placed, numerics)

    def replaced(self, stage: str, program: Program) -> Staged:
        """The same compile with another program for one stage."""
        return replace(self, programs={**self.programs, stage: program})


def read_staged(texts: Mapping[str, str], arguments: Sequence[torch.Tensor], results: Sequence[TensorSpec]) -> Staged:
    """Parse the captured stages. Needs an active MLIR context that allows unregistered dialects."""
    programs, unread = {}, {}
    placed = None
    for stage in EXECUTED:
        if stage not in texts:
            continue
        try:
            programs[stage] = parse(texts[stage])
            if stage == PARTITIONED:
                placed = placement(programs[stage])
        except NotUnderstood as error:
            programs.pop(stage, None)
            unread[stage] = str(error)
    return Staged(programs, tuple(arguments), tuple(results), placed, unread)
