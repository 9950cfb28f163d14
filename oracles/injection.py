# SPDX-License-Identifier: Apache-2.0
"""Judging a compile with a known bug planted into one of its stages: what of it would have been found?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn

from fuzz.case import Case
from oracles.faults import FAULTS, Fault
from oracles.outcome import MISMATCHING, RIGHT, Outcome
from oracles.reference import Expected
from oracles.stages.program import NotUnderstood
from oracles.stagewise import judge_stages
from oracles.targets.base import Compiled, Observation


def planted(fault: Fault, compiled: Compiled) -> Compiled | None:
    """The compile with the fault in it; None if its stage has no place for the fault."""
    program = compiled.staged.programs.get(fault.stage)
    changed = None if program is None else fault.rewrite(program)
    return None if changed is None else Compiled(compiled.staged.replaced(fault.stage, changed), _no_second_opinion)


def injected(observation: Observation, name: str) -> Observation:
    """The observation with the named fault in its compile, where that has a place for it."""
    compiled = planted(FAULTS[name], observation.compiled) if name and observation.compiled is not None else None
    return observation if compiled is None else replace(observation, compiled=compiled)


def judge_injected(
    case: Case, expected: Mapping[str, Expected], compiled: Compiled, operations: tuple[str, ...], name: str
) -> Outcome:
    """The outcome that the fault makes, with `injected` set; that of the compile itself if the fault makes none.

    The fault makes it if its stage is the first wrong one, and is right without it.
    """
    fault = FAULTS[name]
    plain = judge_stages(case, expected, compiled, operations)
    faulty = planted(fault, compiled) if plain.stages.get(fault.stage) == RIGHT else None
    if faulty is not None:
        outcome = judge_stages(case, expected, faulty, operations)
        if outcome.verdict in MISMATCHING and outcome.stage == fault.stage:
            return replace(outcome, injected=name)
    return plain


def _no_second_opinion() -> NoReturn:
    raise NotUnderstood("XLA does not know the fault")
