# SPDX-License-Identifier: Apache-2.0
"""The real worker, which also says of every compile whether XLA executes its partitioned stage as we do.

What it finds out stands in the outcome's stages under `xla`, for test_real_stages.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from fuzz.case import Case
from fuzz.worker import Service, serve
from oracles.judge import judge, open_target
from oracles.outcome import Outcome
from oracles.stages.execute import PARTITIONED
from oracles.stages.program import NotUnderstood
from oracles.targets.base import Block, Compiled, Observation, Target
from oracles.targets.config import TargetConfig

# Sums may be taken in another order: two bits of bf16, six of f32.
TOLERANCE = {torch.bfloat16: 2**-6, torch.float32: 2**-18}


class Remembering:
    """A target that keeps what the last run left behind."""

    def __init__(self, target: Target) -> None:
        self.config = target.config
        self.compiled: Compiled | None = None
        self._target = target

    def run(self, case: Case, inputs: Mapping[str, torch.Tensor], on_stage: Callable[[str], None]) -> Observation:
        self.compiled = None
        observation = self._target.run(case, inputs, on_stage)
        self.compiled = observation.compiled
        return observation


def judge_and_confirm(target: Remembering, case: Case, on_stage: Callable[[str], None]) -> Outcome:
    outcome = judge(target, case, on_stage)
    if target.compiled is None:
        return outcome
    return replace(outcome, stages=outcome.stages | {"xla": opinion(target.compiled)})


def opinion(compiled: Compiled) -> str:
    try:
        theirs = compiled.confirm()
    except NotUnderstood as error:
        return f"no opinion: {error}"
    ours = compiled.staged.run(PARTITIONED)
    pairs = [pair for mine, other in zip(ours, theirs, strict=True) for pair in zip(mine, other, strict=True)]
    return "agrees" if all(alike(mine, other) for mine, other in pairs) else "disagrees"


def alike(mine: Block, other: Block) -> bool:
    a, b = mine.values, other.values
    if (mine.device, mine.start, a.shape, a.dtype) != (other.device, other.start, b.shape, b.dtype):
        return False
    tolerance = TOLERANCE.get(a.dtype)
    if tolerance is None:
        return torch.equal(a, b)
    return torch.allclose(
        a,
        b,
        rtol=tolerance,
        atol=tolerance * float(a.nan_to_num(0, 0, 0).abs().max() if a.numel() else 0),
        equal_nan=True,
    )


def open_remembering(config: TargetConfig) -> Remembering:
    return Remembering(open_target(config))


if __name__ == "__main__":
    sys.exit(serve(Service(open_remembering, judge_and_confirm, {})))
