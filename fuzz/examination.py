# SPDX-License-Identifier: Apache-2.0
"""What narrows the blame for a reduced finding: where it begins, and in which settings it is gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fuzz.boundary import boundaries, failing_neighbours
from fuzz.case import Case
from fuzz.controls import LEVELS, controls
from fuzz.finding import Finding
from fuzz.investigation import Run, observed
from fuzz.reduce.edits import consistent
from fuzz.signature import signature
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig


def examined(finding: Finding, config: TargetConfig, run: Run, others: Mapping[str, Run]) -> Finding:
    """The finding with its boundaries, failing neighbours and controls. Raises what `run` raises.

    `others` runs cases on other targets, by name.
    """
    if finding.controls or consistent(finding.case) is None:  # a target may fail on a graph that torch rejects
        return finding
    found = controls(finding.case, finding.outcome, run, others, levels=LEVELS if config.kind == "tt" else ())
    return replace(bounded(finding, config, run), controls=found)


def bounded(finding: Finding, config: TargetConfig, run: Run) -> Finding:
    """The finding with its boundaries and the neighbours that fail. Raises CaseError, and what `run` raises."""
    devices = config.topology.size
    found = boundaries(finding.case, _fails(finding.outcome, run), devices=devices)
    near = failing_neighbours(finding.case, found, devices=devices)
    return replace(finding, boundaries=found, neighbours=finding.neighbours + near)


def _fails(outcome: Outcome, run: Run) -> Callable[[Case], bool | None]:
    """Whether a case fails as the finding does; None if it neither does so nor passes."""
    wanted = _kind(outcome)

    def fails(case: Case) -> bool | None:
        seen = observed(run, case)
        return False if seen.verdict is Verdict.PASS else True if _kind(seen) == wanted else None

    return fails


def _kind(outcome: Outcome) -> str:
    # Other ops of the guilty stage come and go with sizes.
    return signature(replace(outcome, became=()))
