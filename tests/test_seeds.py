# SPDX-License-Identifier: Apache-2.0
"""The hand-written cases: shapes of public bugs, and the router this project began with.

A seed says in `about.fails` how the TT compiler fails on it; a fixed plugin makes that seed fail here, which is news.
"""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from fuzz.case import Case, Mesh
from fuzz.corpus import CLASSES, load_entry
from fuzz.finding import Finding
from fuzz.investigation import Start, investigate, observed, starting_point
from fuzz.mechanism import mechanism
from fuzz.payloads import values
from fuzz.pool import Pool
from fuzz.reduce.reducer import reduce
from fuzz.signature import signature
from oracles.explanation import FRESH, Explanation
from oracles.outcome import Outcome, Verdict
from oracles.reference import reference
from oracles.targets.config import TargetConfig

CORPUS = Path(__file__).parents[1] / "corpus"
ENTRIES = {path.stem: load_entry(path) for path in sorted((CORPUS / "seeds").glob("*.yaml"))}
SEEDS = {name: entry.case for name, entry in ENTRIES.items()}
TT = TargetConfig("tt", Mesh.parse("2x2"))
FAULTS = ("local_row_iota", "flat_index_11_bits")

# torch_xla itself does not do these right: on XLA's CPU they fail as well.
TORCH_XLA = {"cumsum-of-a-mask": Verdict.WRONG, "slice-from-before-the-start": Verdict.COMPILE_ERROR}
# Compile options are those of the TT compiler.
ON_CPU = [name for name, case in SEEDS.items() if not case.options]
# A mock of eight devices would be one more process to start, for three seeds.
ON_TT = [name for name, case in SEEDS.items() if case.mesh.size <= TT.topology.size]
# One seed for each way in which a scatter goes wrong; to explain one takes a second or more.
EXPLAINED = ("rows-added-along-a-sharded-dim", "row-gradients-with-tokens-sharded", "scatter-reduce-over-rows")

Outcomes = dict[str, Outcome]


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    with Pool(TargetConfig("cpu", Mesh.parse("2x4")), tmp_path_factory.mktemp("cpu"), workers=2) as pool:
        return all_outcomes(pool, ON_CPU)


@pytest.fixture(scope="module")
def tt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(TT, tmp_path_factory.mktemp("tt"), workers=2) as pool:
        yield pool


@pytest.fixture(scope="module")
def on_tt(tt: Pool) -> Outcomes:
    return all_outcomes(tt, ON_TT)


def all_outcomes(pool: Pool, names: Sequence[str]) -> Outcomes:
    with ThreadPoolExecutor(2) as threads:
        return dict(zip(names, threads.map(lambda name: pool.run(SEEDS[name]), names), strict=True))


def right_values(case: Case) -> dict[str, torch.Tensor]:
    inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
    return {name: expected.values for name, expected in reference(case, inputs).items()}


def test_every_seed_names_a_public_bug_and_its_classes() -> None:
    assert len(ENTRIES) >= 65
    for name, entry in ENTRIES.items():
        assert all((entry.about.says, entry.about.classes, entry.about.issues)), name


def test_what_a_seed_comes_down_to_is_in_the_corpus() -> None:
    buckets = {load_entry(path).about.bucket for path in (CORPUS / "regressions").glob("*.yaml")}
    assert {entry.about.bucket for entry in ENTRIES.values()} - {""} <= buckets


def test_the_table_of_classes_lists_every_seed_where_it_belongs() -> None:
    rows = re.findall(r"^\| (K\d+) \| (?:[^|]+) \| ([^|]*) \|", (CORPUS / "README.md").read_text(), re.MULTILINE)
    listed = {name: re.findall(r"\[([\w-]+)\]\(seeds/\1\.yaml\)", seeds) for name, seeds in rows}
    assert tuple(listed) == CLASSES
    assert listed == {
        name: [seed for seed, entry in ENTRIES.items() if name in entry.about.classes] for name in CLASSES
    }


def test_the_example_of_the_readme_is_a_seed_as_it_is() -> None:
    assert (CORPUS / "seeds" / "rows-added-along-a-sharded-dim.yaml").read_text() in (CORPUS / "README.md").read_text()


@pytest.mark.parametrize("name", ON_CPU)
def test_xla_does_the_seed_right(on_cpu: Outcomes, name: str) -> None:
    assert on_cpu[name].verdict is TORCH_XLA.get(name, Verdict.PASS), on_cpu[name].message


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
@pytest.mark.parametrize("name", [name for name in ON_TT if not ENTRIES[name].about.fails])
def test_every_stage_of_the_seed_is_right(on_tt: Outcomes, name: str) -> None:
    outcome = on_tt[name]
    assert outcome.verdict is Verdict.PASS, outcome.message
    assert outcome.stages == dict.fromkeys(("shlo", "shlo_compiler", "ttir", "ttnn"), "right")


@pytest.mark.tt
@pytest.mark.parametrize("name", [name for name in ON_TT if ENTRIES[name].about.fails])
def test_the_seed_still_fails_as_it_did(on_tt: Outcomes, name: str) -> None:
    assert signature(on_tt[name]) == ENTRIES[name].about.fails


@pytest.mark.tt
@pytest.mark.parametrize("name", EXPLAINED)
def test_the_seed_is_in_the_bucket_it_names(tt: Pool, name: str) -> None:
    case = SEEDS[name]
    assert mechanism(case, observed(tt.run, case), tt.explain(case)) == ENTRIES[name].about.bucket


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
