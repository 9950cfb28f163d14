# SPDX-License-Identifier: Apache-2.0
"""What a target is: it runs one case and returns what every device holds afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from fuzz.case import Case, MeshfuzzError
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig

if TYPE_CHECKING:
    from oracles.stages.staged import Staged


@dataclass(frozen=True, slots=True)
class Block:
    """One device's part of one output."""

    device: int
    start: tuple[int, ...]  # its offset in the global output, per dim
    values: torch.Tensor  # CPU tensor, trimmed to the valid extent: no padding of uneven shards


Outputs = tuple[tuple[Block, ...], ...]  # per output of the case, per device


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a compile left behind for a mesh that is not there."""

    staged: Staged
    confirm: Callable[[], Outputs]  # the partitioned stage again, executed by XLA; raises NotUnderstood
    texts: Mapping[str, str] = field(default_factory=dict)  # by stage: what was written, to compare two compiles


@dataclass(frozen=True, slots=True)
class Observation:
    """What a run left behind."""

    outputs: Outputs = ()
    operations: tuple[str, ...] = ()  # what the lowered graph is about, in the target's own terms
    # A compile whose stages are executed in software, instead of outputs.
    compiled: Compiled | None = None


class TargetFailure(MeshfuzzError):
    """The target did not produce a result; `verdict` says what that means."""

    def __init__(self, verdict: Verdict, stage: str, message: str) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.stage = stage


class Target(Protocol):
    """An implementation under test, opened once per worker."""

    config: TargetConfig

    def run(self, case: Case, inputs: Mapping[str, torch.Tensor], on_stage: Callable[[str], None]) -> Observation:
        """Run the case on the given global input values. Raises TargetFailure."""
        ...
