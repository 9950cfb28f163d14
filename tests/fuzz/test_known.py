# SPDX-License-Identifier: Apache-2.0
"""A campaign runs the corpus first, and what fails in it as it is known to is no news."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_campaign import campaign

from fuzz.case import Case, Mesh, Output
from fuzz.corpus import About, Entry
from fuzz.finding import Finding, State
from fuzz.known import numbered
from fuzz.store import Store
from fuzz.triage import bucket_id
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finding, ...]:
    return campaign(tmp_path_factory.mktemp("found"), cases=32).findings


def regression(finding: Finding, case: Case | None = None) -> Entry:
    about = About(fails=finding.witnesses[0].signature, bucket=finding.key, plugin="fake 1")
    return Entry(bucket_id(finding.key), Path(), case or finding.case, about)


def seed(finding: Finding) -> Entry:
    """A larger case of a regression's bucket."""
    larger = replace(finding.case, nodes=(*finding.case.nodes, replace(finding.case.nodes[0], name="v9")))
    return replace(regression(finding, larger), name="seed")


def test_what_the_corpus_has_is_no_news(tmp_path: Path, found: tuple[Finding, ...]) -> None:
    summary = campaign(tmp_path, cases=32, corpus=[regression(finding) for finding in found])
    assert summary.new == 0
    assert {finding.key for finding in summary.findings} == {finding.key for finding in found}
    assert {finding.state for finding in summary.findings} == {State.KNOWN}
    assert summary.pending == 0


def test_what_the_corpus_lacks_is_news(tmp_path: Path, found: tuple[Finding, ...]) -> None:
    summary = campaign(tmp_path, cases=32, corpus=[regression(finding) for finding in found[1:]])
    assert summary.new == 1
    (new,) = (finding for finding in summary.findings if finding.state is State.PROVEN)
    assert new.key == found[0].key


def test_the_corpus_runs_before_anything_is_drawn(tmp_path: Path, found: tuple[Finding, ...]) -> None:
    summary = campaign(tmp_path, cases=1, corpus=[regression(found[0])])
    (known,) = (finding for finding in summary.findings if finding.state is State.KNOWN)
    assert (known.key, known.case, known.first < 0) == (found[0].key, found[0].case, True)


def test_a_regression_that_passes_is_told(tmp_path: Path, found: tuple[Finding, ...]) -> None:
    fixed = replace(found[0].case, options=(("does", "pass"),))
    summary = campaign(tmp_path, cases=1, corpus=[regression(found[0], fixed), regression(found[1])])
    assert summary.fixed == (found[0].id,)


@pytest.mark.parametrize(("plugin", "told"), [("jax-tt-plugin 0.1.3", True), ("", True), ("cpu 2x2", False)])
def test_a_regression_that_passes_on_another_target_says_nothing_of_its_own(
    tmp_path: Path, found: tuple[Finding, ...], plugin: str, told: bool
) -> None:
    entry = regression(found[0], replace(found[0].case, options=(("does", "pass"),)))
    summary = campaign(tmp_path, cases=1, corpus=[replace(entry, about=replace(entry.about, plugin=plugin))])
    assert (entry.name in summary.fixed) == told


def test_a_regression_that_fails_otherwise_is_investigated(tmp_path: Path, found: tuple[Finding, ...]) -> None:
    entry = regression(found[0])
    other = replace(entry, about=replace(entry.about, fails="COMPILE_ERROR ttir: something else"))
    summary = campaign(tmp_path, cases=1, corpus=[other])
    (finding,) = (finding for finding in summary.findings if finding.first < 0)
    assert finding.state is State.PROVEN
    assert summary.new >= 1


def test_a_seed_that_fails_as_it_is_known_to_joins_its_bucket(tmp_path: Path, found: tuple[Finding, ...]) -> None:
    error = next(finding for finding in found if finding.outcome.verdict is Verdict.COMPILE_ERROR)
    summary = campaign(tmp_path, cases=1, corpus=[regression(error), seed(error)])
    (known,) = (finding for finding in summary.findings if finding.state is State.KNOWN)
    assert known.count == 2


def test_a_known_error_is_not_reduced_again(tmp_path: Path, found: tuple[Finding, ...]) -> None:
    error = next(finding for finding in found if finding.outcome.verdict is Verdict.COMPILE_ERROR)
    # Of an op four times: none of the cases that fail so looks like it.
    (node,) = error.case.nodes
    chain = tuple(replace(node, name=f"v{n}", operands=(f"v{n - 1}" if n else "x0",)) for n in range(4))
    case = replace(error.case, nodes=chain, outputs=(Output("v3"),))
    summary = campaign(tmp_path, cases=32, corpus=[regression(error, case)])
    (known,) = (finding for finding in summary.findings if finding.key == error.key)
    assert known.count > 1
    assert (known.state, len(known.witnesses)) == (State.KNOWN, 1)


def test_a_resumed_campaign_does_not_run_the_corpus_again(tmp_path: Path, found: tuple[Finding, ...]) -> None:
    corpus = [regression(finding) for finding in found]
    campaign(tmp_path, cases=32, corpus=corpus)
    campaign(tmp_path, cases=34, corpus=corpus, resume=True)
    with Store.open(tmp_path) as store:
        numbers = [number for number in store.recorded() if number < 0]
    assert len(numbers) == len(corpus)


@pytest.mark.parametrize(
    ("kind", "topology", "mesh", "suits"),
    [
        ("tt", "2x2", "1x2", True),
        ("tt", "2x2", "4x1", True),
        ("tt", "2x2", "2x4", False),
        ("torchxla", "2x2", "1x2", False),
        ("torchxla", "2x2", "1x4", True),
    ],
)
def test_only_meshes_that_the_target_has_are_run(
    kind: str, topology: str, mesh: str, suits: bool, found: tuple[Finding, ...]
) -> None:
    entry = regression(found[0], replace(found[0].case, mesh=Mesh.parse(mesh)))
    assert bool(numbered([entry], TargetConfig(kind, Mesh.parse(topology)))) is suits
