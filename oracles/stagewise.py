# SPDX-License-Identifier: Apache-2.0
"""Judging a compile stage by stage: the first wrong stage names the step of the compiler that is guilty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fuzz.case import Case
from oracles.outcome import NOT_JUDGED, RIGHT, WRONG, Outcome, Verdict
from oracles.reference import Expected
from oracles.stages.execute import PARTITIONED, TRANSITIONS
from oracles.stages.numerics import RULES, TT, WIDE, Numerics
from oracles.stages.program import NotUnderstood, Program
from oracles.stages.staged import Staged
from oracles.targets.base import Compiled, Observation, Outputs
from oracles.verdict import compare

# Stages whose element types the TT compiler chose: digits can be lost there without any element being misplaced.
CONVERTED = ("ttir", "ttnn")
Judged = Callable[[Outputs], Outcome]


def judge_stages(
    case: Case, expected: Mapping[str, Expected], compiled: Compiled, operations: tuple[str, ...]
) -> Outcome:
    """PASS if every stage that the compile wrote is right; WRONG with the first wrong one.

    A stage with something in it that is not understood makes the case NOT_JUDGED, unless one of the others is wrong.
    """

    def judged(outputs: Outputs) -> Outcome:
        return compare(case, expected, Observation(outputs, operations))

    told: dict[str, str] = {}
    for stage in compiled.staged.stages:
        try:
            outcome = judged(compiled.staged.run(stage))
        except NotUnderstood as error:
            told[stage] = f"{NOT_JUDGED}{error}"
            continue
        told[stage] = RIGHT if outcome.verdict is Verdict.PASS else WRONG
        if outcome.verdict is Verdict.PASS:
            continue
        if stage == PARTITIONED and not _confirmed(compiled, judged):
            # One of the two executors errs, and the stages behind this one are executed by ours alone.
            told[stage] = f"{NOT_JUDGED}XLA CPU executes this stage, and finds it right"
            break
        outcome = replace(outcome, stage=stage, transition=_transition(stage, told))
        if stage in CONVERTED:
            outcome = replace(outcome, became=_operations(compiled.staged.programs[stage]))
            outcome = _with_number_format(outcome, compiled.staged, judged)
        return replace(outcome, stages=told)
    for stage, said in told.items():
        if said != RIGHT:
            return Outcome(Verdict.NOT_JUDGED, stage, said.removeprefix(NOT_JUDGED), stages=told)
    return Outcome(Verdict.PASS, stage="compare", stages=told)


def _operations(program: Program) -> tuple[str, ...]:
    """Names of the ops of all functions, without their dialect."""
    names = (op.name for function in program.functions.values() for op in function.operations)
    return tuple(sorted({name.partition(".")[2] for name in names}))


def _confirmed(compiled: Compiled, judged: Judged) -> bool:
    """Whether XLA finds the partitioned stage wrong too, or cannot execute it."""
    try:
        return judged(compiled.confirm()).verdict is not Verdict.PASS
    except NotUnderstood:
        return True


def _transition(stage: str, told: Mapping[str, str]) -> str:
    """The guilty step; it spans more than one if the stage before could not be judged."""
    before: list[str] = []
    for earlier, said in told.items():
        before = [] if said == RIGHT else [*before, earlier]
    before.remove(stage)
    if not before:
        return TRANSITIONS[stage]
    source = TRANSITIONS[before[0]].partition(" -> ")[0]
    return f"{source} -> {stage} ({', '.join(before)} not judged)"


def _with_number_format(outcome: Outcome, staged: Staged, judged: Judged) -> Outcome:
    """Say so if the stage is wrong only because digits are lost, and by which rule.

    A rule that no documentation states makes the outcome a suspicion.
    """

    def right(numerics: Numerics) -> bool:
        try:
            return judged(staged.run(outcome.stage, numerics)).verdict is Verdict.PASS
        except NotUnderstood:  # an index out of range, which only the chip's rules give a meaning
            return False

    if outcome.stage == "ttnn":
        unproven = [rule.name for rule in RULES.values() if not rule.documented]
        if right(TT.without(*unproven)):
            alone = [rule for rule in unproven if right(TT.without(rule))]
            blamed = alone[:1] or unproven
            return replace(outcome, verdict=Verdict.SUSPECTED, number_format=", ".join(blamed))
    return replace(outcome, number_format="storage") if right(WIDE) else outcome
