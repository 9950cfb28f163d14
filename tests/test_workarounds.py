# SPDX-License-Identifier: Apache-2.0
"""The workarounds of the corpus: every form is a valid case, right on a CPU mesh, and both forms compute the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fuzz.case import Mesh
from fuzz.ops.core import specs
from fuzz.pool import Pool
from fuzz.removal import difference
from fuzz.workarounds import ShowsIn, Workaround, instances, load_workarounds, undivided
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig

CORPUS = Path(__file__).parents[1] / "corpus"
WORKAROUNDS = load_workarounds(CORPUS)
FORMS = {
    form.name: form
    for workaround in WORKAROUNDS
    for form in (workaround.avoided, workaround.replacement, *workaround.neighbours)
}
# What torch_xla itself gets wrong, on any target: a cumsum of truth values stays one of truth values, and a slice may
# not start before the dim.
FRONT_END = {
    "bool-cumsum": Verdict.WRONG,
    "bool-cumsum-long": Verdict.WRONG,
    "bool-cumsum-sharded": Verdict.WRONG,
    "slice-before-start": Verdict.COMPILE_ERROR,
    "slice-before-start-by-one": Verdict.COMPILE_ERROR,
    "slice-before-start-sharded": Verdict.COMPILE_ERROR,
    "cache-before-start": Verdict.COMPILE_ERROR,
}


def test_there_are_enough_and_the_router_comes_first() -> None:
    assert len(WORKAROUNDS) >= 30
    assert [workaround.id for workaround in WORKAROUNDS[:2]] == ["glm-group-mask", "glm-weights"]
    assert {workaround.shows_in for workaround in WORKAROUNDS} == {*ShowsIn}
    assert {workaround.repository for workaround in WORKAROUNDS} == {"tt-xla", "tt-mlir", "tt-forge-models"}


def test_every_file_is_used() -> None:
    assert {f"workarounds/{path.name}" for path in (CORPUS / "workarounds").glob("*.yaml")} == {
        name for name in FORMS if name.startswith("workarounds/")
    }


@pytest.mark.parametrize("workaround", WORKAROUNDS, ids=lambda workaround: workaround.id)
def test_every_workaround_has_a_neighbour_and_every_form_runs_somewhere(workaround: Workaround) -> None:
    assert workaround.neighbours
    for form in (workaround.avoided, workaround.replacement, *workaround.neighbours):
        assert any(specs(each.case) and not undivided(each.case) for each in instances(form, workaround)), form.name


@pytest.mark.parametrize("workaround", WORKAROUNDS, ids=lambda workaround: workaround.id)
def test_both_forms_compute_the_same(workaround: Workaround) -> None:
    assert difference(workaround) == ""


@pytest.mark.timeout(900)
def test_every_form_passes_on_the_cpu(tmp_path: Path) -> None:
    """Compile options of the TT compiler mean nothing to another."""
    cases = {name: replace(form.case, options=()) for name, form in FORMS.items()}
    with (
        Pool(TargetConfig("cpu", Mesh.parse("2x2")), tmp_path, workers=2) as pool,
        ThreadPoolExecutor(2) as threads,
    ):
        outcomes = dict(zip(cases, threads.map(pool.run, cases.values()), strict=True))
    failing = {Path(name).stem: outcome.verdict for name, outcome in outcomes.items() if outcome.verdict != "PASS"}
    assert failing == FRONT_END
