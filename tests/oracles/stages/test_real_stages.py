# SPDX-License-Identifier: Apache-2.0
"""Generated cases through the real compiler: everything it writes is understood, and XLA's execution is the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fuzz.case import Mesh
from fuzz.pool import Pool
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space
from oracles.outcome import RIGHT, Outcome, Verdict
from oracles.stages.execute import EXECUTED
from oracles.targets.config import TargetConfig

WORKER = Path(__file__).with_name("confirming_worker.py")
MESHES = tuple(map(Mesh.parse, ("2x2", "1x4", "1x1")))
CASES = 60
SEED = 20261123


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """By digest. One worker after the other: each opens the compiler for a mesh of its own."""
    cases = [sample(Space(MESHES, memory_limit=1 << 24), SEED, index) for index in range(CASES)]
    found = {}
    config = TargetConfig("tt", MESHES[0])
    with Pool(config, tmp_path_factory.mktemp("tt"), workers=1, command=(sys.executable, str(WORKER))) as pool:
        for case in cases:
            found[f"{case.mesh} {case.digest}"] = pool.run(case)
    return found


@pytest.mark.tt
def test_generated_cases_are_judged_at_every_stage_and_xla_agrees(outcomes: dict[str, Outcome]) -> None:
    """A stage that is not understood, or executed otherwise than by XLA, is our fault until shown otherwise."""
    not_judged = {k: o.message for k, o in outcomes.items() if o.verdict in (Verdict.NOT_JUDGED, Verdict.ENV)}
    assert not_judged == {}
    passing = {k: o.stages for k, o in outcomes.items() if o.verdict is Verdict.PASS}
    assert len(passing) >= CASES // 3
    assert all(stages == {**dict.fromkeys(EXECUTED, RIGHT), "xla": "agrees"} for stages in passing.values()), passing
    compiled = {k: o for k, o in outcomes.items() if o.stages}
    assert {k: o.stages["xla"] for k, o in compiled.items() if o.stages["xla"] != "agrees"} == {}
    assert {k.split()[0] for k in compiled} == {"2x2", "1x4", "1x1"}
