# SPDX-License-Identifier: Apache-2.0
"""Explaining a wrong case: its elements decoded, and the fault model that predicts them. In workers only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fuzz.case import Case, Input, MeshfuzzError
from fuzz.payloads import values
from oracles.decode import decode
from oracles.diagnose import Diagnosis, diagnose
from oracles.explanation import FRESH, Decoded, Explanation
from oracles.fresh import fresh_inputs
from oracles.injection import injected
from oracles.outcome import MISMATCHING, UNEXPLAINED
from oracles.reference import InvalidCase, reference
from oracles.scene import Inputs, Observe, Scene, scenes
from oracles.stages.program import NotUnderstood
from oracles.stagewise import judge_stages
from oracles.targets.base import Observation, Outputs, Target, TargetFailure

OTHER_USE = "_again"  # added to the name of an input where it is used once more


class NotWrong(MeshfuzzError):
    """The case gives right numbers, or none."""


def explain(target: Target, case: Case, *larger: Case) -> dict[str, Any]:
    """An Explanation in plain form. `larger`: cases like it. Raises NotWrong, TargetFailure, NotUnderstood."""
    own, observe, wrong = _observed(target, case)
    decoded = tuple(decode(scene, own, observe) for scene in wrong)
    apart = separated(case)
    found = _diagnosed(target, apart, larger) if apart != case else None
    if found is not None:
        found = replace(found, sentence=found.sentence.replace(OTHER_USE, ""))
    if found is None:
        found = _found(target, observe, wrong[0], larger)
    if found is None:
        return Explanation(f"{UNEXPLAINED}{_first(decoded[0])}", decoded=decoded).to_plain()
    return Explanation(found.sentence, found.model, found.confirmed, decoded).to_plain()


def _observed(target: Target, case: Case) -> tuple[Inputs, Observe, list[Scene]]:
    """The case's own input values, how to run it on others, and its wrong outputs. Raises NotWrong."""
    own = {value.name: values(value.spec, value.payload) for value in case.inputs}
    observe = observer(target, case, own)
    wrong = [scene for scene in scenes(case, own, observe(own)) if _wrong(scene)]
    if not wrong:
        raise NotWrong("every element is right: there is nothing to explain")
    return own, observe, wrong


def _diagnosed(target: Target, case: Case, larger: Sequence[Case]) -> Diagnosis | None:
    try:
        _, observe, (scene, *_) = _observed(target, case)
    except (NotWrong, TargetFailure):  # the case may have failed only because an input was used twice
        return None
    return _found(target, observe, scene, larger)


def _found(target: Target, observe: Observe, scene: Scene, larger: Sequence[Case]) -> Diagnosis | None:
    fresh = [_same_output(scene, inputs, observe) for inputs in fresh_inputs(scene.case, FRESH)]
    return diagnose(scene, fresh, _wrong_ones(target, larger))


def _wrong_ones(target: Target, cases: Sequence[Case]) -> Iterator[Scene]:
    """The first wrong output of each case that has one."""
    for case in cases:
        try:
            yield _observed(target, separated(case))[2][0]
        except (InvalidCase, NotWrong, NotUnderstood, TargetFailure):  # nothing is asked of a larger case
            continue


def separated(case: Case) -> Case:
    """The same graph with an input for every use of one: whoever reads `f(x, x)` cannot tell its operands apart."""
    inputs = {value.name: value for value in case.inputs}
    used: set[str] = set()
    added: list[Input] = []
    nodes = []
    for node in case.nodes:
        operands = list(node.operands)
        for position, name in enumerate(operands):
            if name in used and name in inputs:
                operands[position] = name + OTHER_USE * (len(added) + 1)
                added.append(replace(inputs[name], name=operands[position]))
            used.add(name)
        nodes.append(replace(node, operands=tuple(operands)))
    return replace(case, inputs=(*case.inputs, *added), nodes=tuple(nodes))


def _wrong(scene: Scene) -> bool:
    return any(not bool(scene.right(block).all()) for block in scene.blocks)


def _same_output(scene: Scene, inputs: Inputs, observe: Observe) -> Scene:
    number = [output.name for output in scene.case.outputs].index(scene.output)
    return scenes(scene.case, inputs, observe(inputs))[number]


def _first(decoded: Decoded) -> str:
    element = decoded.elements[0]
    return f": element {list(element.at)} is {element.got}, not {element.wanted}"


def observer(target: Target, case: Case, own: Inputs) -> Observe:
    """Runs the case on other input values: what the devices hold, or what the first wrong stage computes."""
    first = _run(target, case, own)
    if first.compiled is None:
        return lambda inputs: _run(target, case, inputs).outputs
    outcome = judge_stages(case, reference(case, own), first.compiled, first.operations)
    if outcome.verdict not in MISMATCHING:
        raise NotWrong(f"every stage is right: {outcome.verdict} {outcome.message}".rstrip())

    def stage(inputs: Inputs) -> Outputs:
        compiled = _run(target, case, inputs).compiled
        if compiled is None:
            raise NotUnderstood("the second compile left no stages")
        return compiled.staged.run(outcome.stage)

    return stage


def _run(target: Target, case: Case, inputs: Inputs) -> Observation:
    """With the fault in it that the target is asked to plant."""
    return injected(target.run(case, inputs, lambda _: None), target.config.inject)
