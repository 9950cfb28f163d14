# SPDX-License-Identifier: Apache-2.0
"""The hand-written cases: the router this project began with, as the model writes it and as the workaround does.

What the TT compiler fails on stands in `failing.yaml`; a fixed plugin makes that entry fail here, which is news.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from fuzz.case import Case, Mesh, load
from fuzz.investigation import Start, investigate, starting_point
from fuzz.ops import specs
from fuzz.payloads import values
from fuzz.pool import Pool
from fuzz.reduce.reducer import reduce
from fuzz.signature import signature
from fuzz.store import Finding
from oracles.explanation import FRESH, Explanation
from oracles.outcome import Outcome, Verdict
from oracles.reference import reference
from oracles.targets.config import TargetConfig

FOLDER = Path(__file__).parents[1] / "corpus" / "seeds"
FAILING: dict[str, str] = yaml.safe_load((FOLDER / "failing.yaml").read_text())
SEEDS = {path.stem: load(path) for path in sorted(FOLDER.glob("*.yaml")) if path.stem != "failing"}
TT = TargetConfig("tt", Mesh.parse("2x2"))
FAULTS = ("local_row_iota", "flat_index_11_bits")


@pytest.fixture(scope="module")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(TargetConfig("cpu", Mesh.parse("4x1")), tmp_path_factory.mktemp("cpu"), workers=1) as pool:
        yield pool


@pytest.fixture(scope="module")
def tt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(TT, tmp_path_factory.mktemp("tt"), workers=1) as pool:
        yield pool


def right_values(case: Case) -> dict[str, torch.Tensor]:
    inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
    return {name: expected.values for name, expected in reference(case, inputs).items()}


def test_there_are_seeds_and_only_seeds_fail() -> None:
    assert {"glm-router", "glm-router-one-hot"} <= set(SEEDS)
    assert set(FAILING) < set(SEEDS)


@pytest.mark.parametrize("name", SEEDS)
def test_the_seed_is_a_valid_case(name: str) -> None:
    assert specs(SEEDS[name])


@pytest.mark.parametrize("name", SEEDS)
def test_the_seed_passes_on_the_cpu(cpu: Pool, name: str) -> None:
    assert cpu.run(SEEDS[name]).verdict is Verdict.PASS


def test_both_forms_of_the_router_are_one_function() -> None:
    natural, workaround = right_values(SEEDS["glm-router"]), right_values(SEEDS["glm-router-one-hot"])
    for name in ("experts", "weights"):
        assert torch.equal(natural[name].double(), workaround[name].double())


def test_the_router_reads_past_what_11_bits_count() -> None:
    """2609 is token 16, expert 49: the first that mesh row 1 chooses. Weights are flat indices plus one."""
    router = right_values(SEEDS["glm-router"])
    assert int(router["experts"][16, 0]) == 49
    assert int(router["weights"][16, 0]) == 2609 + 1
    assert int(router["weights"].max()) > 10_000


@pytest.mark.tt
@pytest.mark.parametrize("name", [name for name in SEEDS if name not in FAILING])
def test_every_stage_of_the_seed_is_right(tt: Pool, name: str) -> None:
    outcome = tt.run(SEEDS[name])
    assert outcome.verdict is Verdict.PASS, outcome.message
    assert outcome.stages == dict.fromkeys(("shlo", "shlo_compiler", "ttir", "ttnn"), "right")


@pytest.mark.tt
@pytest.mark.parametrize("name", FAILING)
def test_the_seed_still_fails_as_it_did(tt: Pool, name: str) -> None:
    assert signature(tt.run(SEEDS[name])) == FAILING[name]


Story = tuple[Outcome, Outcome, Start, Finding, tuple[Explanation, Explanation]]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story]:
    """By fault: the router, its workaround, its first wrong op and the reduced case; why the first and third fail."""
    told = {}
    for fault in FAULTS:
        with Pool(replace(TT, inject=fault), tmp_path_factory.mktemp(fault), workers=1) as pool:
            natural, workaround = (pool.run(SEEDS[name]) for name in ("glm-router", "glm-router-one-hot"))
            start = starting_point(0, SEEDS["glm-router"], natural, pool.run)
            # No limit in seconds: the result must not depend on how busy the machine is.
            found = investigate(start, pool.run, partial(reduce, max_runs=1000, max_seconds=float("inf")), pool.explain)
            explained = pool.explain(SEEDS["glm-router"]), pool.explain(start.case)
            told[fault] = natural, workaround, start, found, explained
    return told


@pytest.mark.tt
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("fault", "stage", "op", "rows"),
    [
        ("local_row_iota", "shlo_compiler", "scatter_value", {1, 2, 3}),
        ("flat_index_11_bits", "ttir", "gather", {0, 1, 2, 3}),
    ],
)
def test_a_planted_bug_is_found_in_its_stage(
    stories: dict[str, Story], fault: str, stage: str, op: str, rows: set[int]
) -> None:
    natural, workaround, start, found, _ = stories[fault]
    assert (natural.verdict, natural.stage, natural.injected) == (Verdict.WRONG, stage, fault)
    assert {mismatch.device for mismatch in natural.mismatches} == rows
    assert workaround.verdict is Verdict.PASS
    assert start.outcome.op == op
    assert fault in found.key
    assert (found.outcome.stage, found.outcome.injected) == (stage, fault)


@pytest.mark.tt
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("fault", "ops", "diagnosis", "confirmed"),
    [
        # A mask of false, and an index that can name one column only: the reduced case has no other inputs.
        ("local_row_iota", ["scatter_value"], "mesh column 1 used mesh column 0's offset", 0),
        ("flat_index_11_bits", ["gather"], "flat index 2053 became 2054: 11 significant bits", FRESH),
    ],
)
def test_a_planted_bug_is_reduced_and_explained(
    stories: dict[str, Story], fault: str, ops: list[str], diagnosis: str, confirmed: int
) -> None:
    *_, found, _ = stories[fault]
    assert found.minimal
    assert [node.op for node in found.case.nodes] == ops
    assert found.explanation is not None
    assert (found.explanation.sentence, found.explanation.confirmed) == (diagnosis, confirmed)


@pytest.mark.tt
@pytest.mark.timeout(600)
def test_the_router_itself_is_explained_too(stories: dict[str, Story]) -> None:
    rounded, offset = stories["flat_index_11_bits"][-1][0], stories["local_row_iota"][-1][1]
    assert rounded.sentence == "flat index 2085 became 2086: 11 significant bits"
    assert offset.sentence == "mesh rows 1-3 used mesh row 0's offset"


@pytest.mark.tt
@pytest.mark.timeout(600)
def test_the_usual_check_passes_a_rounded_flat_index(stories: dict[str, Story]) -> None:
    """Hundreds of weights are another expert's, and PCC says 0.9999999."""
    natural = stories["flat_index_11_bits"][0]
    assert sum(mismatch.wrong for mismatch in natural.mismatches) > 250
    assert 0.99 <= natural.coefficients["weights"] < 1.0
