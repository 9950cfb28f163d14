# SPDX-License-Identifier: Apache-2.0
"""The compiler pass a finding is blamed on: asked for once, when the finding is reduced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fuzz.case import Case
from fuzz.finding import Finding
from oracles.localisation import Localisation
from oracles.outcome import RIGHT, Outcome, Verdict
from oracles.stages.passes import EXECUTABLE, STAGES
from oracles.targets.config import TargetConfig, TargetUnavailable

Localise = Callable[[Case], Localisation]  # see `Pool.localise`

LOCALISED = frozenset({Verdict.WRONG, Verdict.COMPILE_ERROR, Verdict.CRASH, Verdict.HANG})


def localised(finding: Finding, config: TargetConfig, localise: Localise) -> Finding:
    """The finding with the guilty pass, or with the reason why it is not known.

    Unchanged if that is told already, or if it is no failure of the TT compiler. Raises PoolClosed, nothing else.
    """
    outcome = finding.outcome
    compiled = config.kind == "tt" and config.mock and outcome.stage != "lower" and not outcome.injected
    if finding.localisation is not None or not compiled or outcome.verdict not in LOCALISED:
        return finding
    try:
        found = localise(finding.case)
    except TargetUnavailable as error:
        found = Localisation(Verdict.ENV, unknown=str(error))
    if found.verdict is not outcome.verdict and not found.unknown:
        found = Localisation(found.verdict, unknown=f"with its passes printed the case ends as {found.verdict}")
    elif found.passes and not _within(found.step, outcome):
        found = Localisation(found.verdict, unknown=f"{found.passes[-1]} runs in another step than the guilty one")
    return replace(finding, localisation=found)


def _within(step: str, outcome: Outcome) -> bool:
    """Whether a step lies between the last right stage and the guilty one, as far as the outcome names stages."""
    order = (*STAGES, EXECUTABLE)
    if outcome.stage not in order:
        return True
    right = [order.index(stage) for stage, said in outcome.stages.items() if said == RIGHT]
    return max(right, default=-1) < order.index(step) <= order.index(outcome.stage)
