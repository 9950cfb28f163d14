# SPDX-License-Identifier: Apache-2.0
"""The real compiler's log, read: known bugs are blamed on the pass in which their IR goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.case_file import load
from fuzz.pool import Pool
from oracles.outcome import Verdict

FOLDER = Path(__file__).parents[2] / "corpus" / "regressions"

pytestmark = pytest.mark.tt


@pytest.mark.parametrize(
    ("name", "verdict", "guilty", "step"),
    [
        # An index that differs per column becomes one index per row, while the graph still has whole shapes.
        ("4198154c", Verdict.WRONG, "StableHLOFusingPass (stablehlo-fusing)", "shlo_compiler"),
        # The index of the whole tensor is kept where the shape becomes local.
        ("f429daa3", Verdict.WRONG, "UpdateGlobalToLocalShapesPass (update-global-to-local-shapes)", "shlo_compiler"),
        # The process dies while it prints what the failed pass left behind.
        ("cf2c1099", Verdict.COMPILE_ERROR, "ConvertStableHLOToTTIR (convert-stablehlo-to-ttir)", "ttir"),
    ],
)
def test_a_known_bug_is_blamed_on_its_pass(tt: Pool, name: str, verdict: Verdict, guilty: str, step: str) -> None:
    found = tt.localise(load(FOLDER / f"{name}.yaml"))
    assert (found.verdict, found.passes, found.step) == (verdict, (guilty,), step), found


def test_a_compile_that_fails_outside_its_passes_blames_none(tt: Pool) -> None:
    found = tt.localise(load(FOLDER / "eab97766.yaml"))
    assert found.passes == ()
    assert found.unknown == "the compile failed outside any pass, after stage shlo_compiler_cleaned"
