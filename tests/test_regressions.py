# SPDX-License-Identifier: Apache-2.0
"""Reduced findings still say what they said: same verdict, same bucket, on the plugin version they were found with.

A fixed plugin makes these fail, which is news: `meshfuzz verify` says what is fixed, and then the entry can go.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.case import Mesh
from fuzz.corpus import Entry, load_entry
from fuzz.investigation import observed
from fuzz.mechanism import mechanism
from fuzz.pool import Pool
from fuzz.signature import signature
from oracles.outcome import MISMATCHING
from oracles.targets.config import TargetConfig

FOLDER = Path(__file__).parents[1] / "corpus" / "regressions"
ENTRIES = {path.stem: load_entry(path) for path in sorted(FOLDER.glob("*.yaml"))}


@pytest.fixture(scope="module")
def tt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(TargetConfig("tt", Mesh.parse("2x2")), tmp_path_factory.mktemp("tt"), workers=1) as pool:
        yield pool


@pytest.fixture(params=sorted(ENTRIES))
def entry(request: pytest.FixtureRequest) -> Entry:
    return ENTRIES[request.param]


def test_no_two_cases_are_one_bucket() -> None:
    assert len({entry.about.bucket for entry in ENTRIES.values()}) == len(ENTRIES) > 0


def test_the_file_is_named_after_the_bucket(entry: Entry) -> None:
    assert entry.is_regression


def test_the_case_is_small(entry: Entry) -> None:
    assert len(entry.case.nodes) <= 3


@pytest.mark.tt
def test_the_case_still_fails_in_its_bucket(tt: Pool, entry: Entry) -> None:
    outcome = observed(tt.run, entry.case)
    explanation = tt.explain(entry.case) if outcome.verdict in MISMATCHING else None
    assert signature(outcome) == entry.about.fails
    assert mechanism(entry.case, outcome, explanation) == entry.about.bucket


@pytest.mark.tt
def test_its_first_neighbour_still_fails_too(tt: Pool, entry: Entry) -> None:
    """Neighbours are what a fix must not leave behind."""
    if entry.about.neighbours:
        assert tt.run(entry.about.neighbours[0].case).verdict is tt.run(entry.case).verdict
