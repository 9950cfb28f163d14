# SPDX-License-Identifier: Apache-2.0
"""A merge has everything that any of its campaigns has, once, whatever the order."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import asdict, replace
from functools import reduce
from pathlib import Path

import hypothesis
import pytest
from command_line import call
from fake_campaign import MESH, campaign, sample, settings
from hypothesis import given
from hypothesis import strategies as st
from made_findings import finding
from test_campaign import rows

from fuzz.case import MeshfuzzError
from fuzz.case_file import dump
from fuzz.finding import State, Witness
from fuzz.merge import Content, Held, Part, content_of, merge, union
from fuzz.store import SKIPPED, Row, Store, StoreError
from fuzz.triage import ANY_CASE
from oracles.outcome import FAILING
from oracles.targets.config import TargetConfig

PLAIN = json.dumps(settings().to_plain())
MADE_FOR = {"target": asdict(settings().target), "space": asdict(settings().space), "versions": {"torch": "2.9.0"}}
ROW = Row(0, "d", "PASS", "", "", "", 0.5, "", None, None, None, 0)


FINDINGS = [finding(key, state=state, runs=runs) for key in "ab" for state in State for runs in (1, 2)]
few = hypothesis.settings(max_examples=50)


def parts() -> st.SearchStrategy[dict[str, Part]]:
    """Campaigns that are named after what is in them, as real ones are."""
    covered = st.builds(lambda ran, failed: (("neg", "f32", "whole", 0, ran + failed, failed),), st.just(1), st.just(1))
    one = st.builds(Part, st.integers(0, 2), st.just(1), st.sampled_from((0.1, 0.2, 0.7)), st.just(PLAIN), covered)
    return st.lists(one, min_size=1, max_size=3).map(
        lambda many: {f"{part.seed} {part.elapsed}": part for part in many}
    )


@st.composite
def contents(draw: st.DrawFn) -> Content:
    named = draw(parts())
    places = st.tuples(st.sampled_from(sorted({part.seed for part in named.values()})), st.integers(0, 3))
    row = st.builds(
        lambda verdict, seconds, bucket: replace(ROW, verdict=verdict, seconds=seconds, bucket=bucket),
        st.sampled_from(("PASS", "WRONG", "CRASH", SKIPPED)),
        st.sampled_from((0.1, 0.2)),
        st.sampled_from((None, "a", "b")),
    )
    witness = st.builds(lambda name: (Witness(name, ANY_CASE),), st.sampled_from("vw"))
    held = st.builds(
        lambda found, first, witnesses, script: Held(replace(found, first=0, witnesses=witnesses), first, script),
        st.sampled_from(FINDINGS),
        places,
        witness,
        st.sampled_from(({}, {"repros/a.py": "1"}, {"repros/a.py": "2"})),
    )
    cases = draw(st.dictionaries(places, row, max_size=4))
    return Content(MADE_FOR, named, cases, {one.finding.key: one for one in draw(st.lists(held, max_size=3))})


@few
@given(contents(), contents())
def test_the_order_does_not_matter(one: Content, other: Content) -> None:
    assert union(one, other) == union(other, one)


@few
@given(contents(), contents(), contents())
def test_what_is_merged_first_does_not_matter(one: Content, two: Content, three: Content) -> None:
    assert union(union(one, two), three) == union(one, union(two, three))


@few
@given(contents(), contents())
def test_what_was_merged_already_changes_nothing(one: Content, other: Content) -> None:
    assert union(one, one) == one
    assert union(union(one, other), other) == union(one, other)


def test_what_failed_is_kept_and_what_was_skipped_is_not() -> None:
    made = [
        Content(MADE_FOR, {}, {(0, 1): replace(ROW, verdict=verdict)}, {}) for verdict in (SKIPPED, "PASS", "WRONG")
    ]
    assert union(made[0], made[1]).cases[0, 1].verdict == "PASS"
    assert reduce(union, made).cases[0, 1].verdict == "WRONG"


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """One run of a seed, and two machines that share its cases."""
    folder = tmp_path_factory.mktemp("halves")
    campaign(folder / "whole", seed=3, cases=80)
    campaign(folder / "a", seed=3, cases=40)
    campaign(folder / "b", seed=3, cases=40, first=40)
    return folder / "whole", folder / "a", folder / "b"


def digests(folder: Path) -> list[tuple[object, ...]]:
    return [(number, digest) for number, digest, *_ in rows(folder)]


def test_two_halves_of_a_seed_have_the_cases_of_one_run(halves: tuple[Path, Path, Path], tmp_path: Path) -> None:
    whole, a, b = halves
    done = merge((a, b), tmp_path / "out", sample)
    assert (done.campaigns, done.seeds, done.cases, done.shared) == (2, (3,), 80, 0)
    assert digests(tmp_path / "out") == digests(whole)
    with Store.open(tmp_path / "out") as merged, Store.open(whole) as one:
        assert {found.key for found in merged.findings()} == {found.key for found in one.findings()}
        assert sum(found.count for found in merged.findings()) == sum(merged.counts()[v] for v in FAILING)
    with Store.open(a) as first, Store.open(b) as second, Store.open(tmp_path / "out") as merged:
        assert merged.elapsed == pytest.approx(first.elapsed + second.elapsed)
        covered = sum(cases for cases, _ in merged.coverage().values())
        assert covered == sum(cases for store in (first, second) for cases, _ in store.coverage().values())


def test_scripts_and_minimal_cases_come_along(halves: tuple[Path, Path, Path], tmp_path: Path) -> None:
    merge(halves[1:], tmp_path / "out", sample)
    with Store.open(tmp_path / "out") as store:
        found = store.findings()
    assert len(found) > 4
    for one in found:
        assert (tmp_path / "out" / one.scripts[0].path).read_text() == "raise SystemExit(1)\n"
        assert (tmp_path / "out" / "cases" / f"{one.id}.yaml").read_text() == dump(one.case)


def test_a_merged_folder_can_be_merged_again(halves: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, a, b = halves
    merge((a, b), tmp_path / "ab", sample)
    merge((b, tmp_path / "ab", a), tmp_path / "again", sample)
    assert content_of(tmp_path / "ab", sample) == content_of(tmp_path / "again", sample)
    assert rows(tmp_path / "ab") == rows(tmp_path / "again")


def test_cases_of_different_seeds_are_different_cases(halves: tuple[Path, Path, Path], tmp_path: Path) -> None:
    campaign(tmp_path / "other", seed=-1, cases=8)
    done = merge((halves[1], tmp_path / "other"), tmp_path / "out", sample)
    assert (done.seeds, done.cases) == ((-1, 3), 48)
    assert {(seed, number) for seed, number in content_of(tmp_path / "out", sample).cases} == {
        *((3, number) for number in range(40)),
        *((-1, number) for number in range(8)),
    }


def test_cases_that_came_out_differently_are_named(halves: tuple[Path, Path, Path], tmp_path: Path) -> None:
    copied = changed(halves[1], tmp_path / "copy", "UPDATE cases SET verdict = 'PASS', bucket = NULL")
    done = merge((halves[1], copied), tmp_path / "out", sample)
    failing = {number: verdict for number, _, verdict, *_ in rows(halves[1]) if verdict in FAILING}
    kept = {number: verdict for number, _, verdict, *_ in rows(tmp_path / "out")}
    assert failing
    assert kept | failing == kept
    assert {(3, number, tuple(sorted(("PASS", str(verdict))))) for number, verdict in failing.items()} <= {
        *done.disagreements
    }


def changed(folder: Path, copy: Path, statement: str) -> Path:
    shutil.copytree(folder, copy)
    with sqlite3.connect(copy / "campaign.db") as database:
        assert database.execute(statement).rowcount != 0
    database.close()
    return copy


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE cases SET digest = 'feed' WHERE number = 0", "case 0 of seed 3 .* is not what this version draws"),
        ("UPDATE cases SET verdict = 'LOOKS_FINE' WHERE number = 1", "case 1: not written by this version"),
        ("UPDATE cases SET bucket = 'none such' WHERE number = 1", "case 1: not written by this version"),
        ("UPDATE cases SET number = number + (1 << 45)", "is of no seed that it says it has"),
        (
            "UPDATE findings SET body = replace(body, 'repros/', '../')",
            "findings .* not written by this version",
        ),
    ],
)
def test_a_folder_that_is_not_what_it_says_is_refused(
    halves: tuple[Path, Path, Path], tmp_path: Path, statement: str, said: str
) -> None:
    folder = changed(halves[1], tmp_path / "copy", statement)
    with pytest.raises(StoreError, match=said):
        merge((folder,), tmp_path / "out", sample)
    assert not (tmp_path / "out").exists()


def test_a_script_that_is_a_link_is_not_followed(halves: tuple[Path, Path, Path], tmp_path: Path) -> None:
    shutil.copytree(halves[1], tmp_path / "copy")
    (script, *_) = (tmp_path / "copy" / "repros").iterdir()
    script.unlink()
    script.symlink_to("/etc/passwd")
    with pytest.raises(MeshfuzzError, match="is a link"):
        merge((tmp_path / "copy",), tmp_path / "out", sample)


def test_campaigns_of_different_targets_do_not_fit_together(halves: tuple[Path, Path, Path], tmp_path: Path) -> None:
    campaign(tmp_path / "other", seed=5, cases=4, target=TargetConfig("cpu", MESH))
    with pytest.raises(StoreError, match="differ in their target: kind is tt and cpu"):
        merge((halves[1], tmp_path / "other"), tmp_path / "out", sample)


def test_a_folder_that_holds_something_is_not_overwritten(halves: tuple[Path, Path, Path]) -> None:
    with pytest.raises(StoreError, match="not empty"):
        merge(halves[1:], halves[0], sample)


def test_the_command_takes_databases_of_any_name(
    halves: tuple[Path, Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuzz.strategies.sampling.sample", sample)
    shutil.copyfile(halves[1] / "campaign.db", tmp_path / "A.db")
    shutil.copyfile(halves[2] / "campaign.db", tmp_path / "B.db")
    result = call(capfd, "merge", f"{tmp_path}/A.db", f"{tmp_path}/B.db", "--dir", f"{tmp_path}/out")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("2 campaigns of seed 3: 80 cases, 0 of them in more than one, ")
    assert digests(tmp_path / "out") == digests(halves[0])
    refused = call(capfd, "run", "--resume", "--dir", f"{tmp_path}/out")
    assert refused.code == 2
    assert "was merged and cannot be resumed" in refused.err
