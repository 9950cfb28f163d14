# SPDX-License-Identifier: Apache-2.0
"""Which fault model explains a wrong output: one that predicts every element of it, and of the outputs of fresh inputs.

A model reads nothing but the case, the right values and what the devices hold. Right elements count as much as wrong
ones: a model that predicts one of them wrong does not fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from oracles.models import MODELS, Hypothesis
from oracles.scene import Scene

HUGE = 1 << 20  # elements; every hypothesis takes a good part of a second


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The simplest hypothesis that holds."""

    model: str
    sentence: str
    confirmed: int  # fresh inputs whose outputs it predicts


def diagnose(scene: Scene, fresh: Sequence[Scene], larger: Iterable[Scene] = ()) -> Diagnosis | None:
    """The simplest hypothesis that predicts the scene and all fresh ones of the same output; None if there is none.

    `larger`: scenes of larger cases, looked at only if hypotheses of several models hold. One whose model explains most
    of them goes before a simpler one. Of a huge case the first that holds is taken.
    """
    huge = any(operand.numel() > HUGE for operand in scene.operands)
    holding: dict[str, Hypothesis] = {}
    for hypothesis in hypotheses(scene):
        if hypothesis.model not in holding and all(_holds(hypothesis, other) for other in (scene, *fresh)):
            holding[hypothesis.model] = hypothesis
            if huge:
                break
    explained: Counter[str] = Counter()
    for other in larger if len(holding) > 1 else ():
        explained.update(_models(other, holding))
    best = max(holding, key=lambda model: explained[model], default=None)
    return None if best is None else Diagnosis(best, holding[best].sentence(scene), len(fresh))


def _models(scene: Scene, among: Iterable[str]) -> set[str]:
    """Which of the models have a hypothesis that holds."""
    wanted = set(among)
    return {h.model for h in hypotheses(scene) if h.model in wanted and _holds(h, scene)}


def hypotheses(scene: Scene) -> Iterator[Hypothesis]:
    """All that may explain the scene, simplest first."""
    for model in MODELS:
        yield from model(scene)


def _holds(hypothesis: Hypothesis, scene: Scene) -> bool:
    try:
        prediction = hypothesis.predict(scene)
    except (RuntimeError, IndexError, ValueError):  # torch: the op cannot be computed in this way
        return False
    return prediction is not None and scene.fits(prediction)
