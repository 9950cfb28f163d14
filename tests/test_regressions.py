# SPDX-License-Identifier: Apache-2.0
"""Reduced findings still say what they said: same verdict, same bucket, on the plugin version they were found with.

A fixed plugin makes these fail, which is news: move the case to where fixed ones are kept and drop its script.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fuzz.case import Mesh, load
from fuzz.mechanism import mechanism
from fuzz.ops import specs
from fuzz.pool import Pool
from fuzz.triage import bucket_id
from oracles.outcome import MISMATCHING
from oracles.targets.config import TargetConfig

FOLDER = Path(__file__).parents[1] / "corpus" / "regressions"
BUCKETS: dict[str, str] = yaml.safe_load((FOLDER / "buckets.yaml").read_text())


@pytest.fixture(scope="module")
def tt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(TargetConfig("tt", Mesh.parse("2x2")), tmp_path_factory.mktemp("tt"), workers=1) as pool:
        yield pool


def test_every_case_has_a_bucket_and_every_bucket_a_case() -> None:
    assert BUCKETS
    assert {path.stem for path in FOLDER.glob("*.yaml")} - {"buckets"} == set(BUCKETS)


def test_no_two_cases_are_one_bucket() -> None:
    assert len(set(BUCKETS.values())) == len(BUCKETS)


@pytest.mark.parametrize("name", sorted(BUCKETS))
def test_the_case_is_valid_and_small(name: str) -> None:
    case = load(FOLDER / f"{name}.yaml")
    assert specs(case)
    assert len(case.nodes) <= 3


@pytest.mark.tt
@pytest.mark.parametrize("name", sorted(BUCKETS))
def test_the_case_still_fails_in_its_bucket(tt: Pool, name: str) -> None:
    case = load(FOLDER / f"{name}.yaml")
    outcome = tt.run(case)
    explanation = tt.explain(case) if outcome.verdict in MISMATCHING else None
    assert mechanism(case, outcome, explanation) == BUCKETS[name]
    assert bucket_id(BUCKETS[name]) == name
