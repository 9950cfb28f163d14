# SPDX-License-Identifier: Apache-2.0
"""The configuration of a night: defaults for all but the folder, and errors that say where they are."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from fuzz.case import Mesh
from fuzz.nightly.config import Config, ConfigError, Reason, Verifying, load_config

EXAMPLE = Path(__file__).parents[3] / "docs" / "nightly" / "nightly.yaml"


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "nightly.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def test_only_the_folder_is_needed(tmp_path: Path) -> None:
    config = load(tmp_path, "folder: nights\n")
    assert config.folder == tmp_path / "nights"
    assert (config.target, config.mock, config.time) == ("tt", "2x2", 600.0)
    assert config.policy == {Reason.NEW_FINDINGS, Reason.REGRESSIONS, Reason.ENVIRONMENT}
    assert config.corpus is not None


def test_paths_are_relative_to_the_file_not_to_who_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cases").mkdir()
    monkeypatch.chdir("/")
    config = load(tmp_path, "{folder: a/b, corpus: cases, plugin: libtt.so, target: 'plugin:x.so'}")
    assert config.corpus == tmp_path / "cases"
    assert config.plugin == str(tmp_path / "libtt.so")
    assert config.target == f"plugin:{tmp_path / 'x.so'}"


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
folder: /nights
target: cpu
mock: 2x4
meshes: [2x2, 1x2]
workers: 1
memory: 2G
deadline: 90
seed: 7
time: 1h30m
keep_days: 3
corpus: ''
verify: findings
verify_share: 0.5
policy: [regressions]
links: https://example.org/blob/main/
"""
    assert load(tmp_path, text) == Config(
        folder=Path("/nights"),
        target="cpu",
        mock="2x4",
        meshes=(Mesh.parse("2x2"), Mesh.parse("1x2")),
        workers=1,
        memory="2G",
        deadline=90.0,
        seed=7,
        time=5400.0,
        keep_days=3,
        corpus=None,
        verify=Verifying.FINDINGS,
        verify_share=0.5,
        policy=frozenset({Reason.REGRESSIONS}),
        links="https://example.org/blob/main",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time: 10m", "1:1: missing ['folder']"),
        ("folder: n\ntimes: 10m", "1:1: unknown keys ['times']"),
        ("folder:", "1:8: needs a path"),
        ("folder: n\nworkers: 0", "2:10: 0 is less than 1"),
        ("folder: n\ntime: soon", "2:7: unknown duration 'soon'"),
        ("folder: n\nmeshes:\n- 2x2\n- 2", "4:3: expected text, got 2"),
        ("folder: n\npolicy: [news]", "2:10: unknown policy 'news': use new_findings, regressions"),
        ("folder: n\nverify: some", "2:9: unknown verify 'some'"),
        ("folder: n\ntarget: gpu", "2:9: unknown target 'gpu'"),
        ("folder: n\ncorpus: nowhere", "2:9: no folder"),
        ("folder: n\ndeadline: .nan", "2:11: expected a number"),
        ("folder: n\ndeadline: yes", "2:11: expected a number"),
        ("folder: n\nmock: off", "2:7: off needs meshes"),
        ("folder: n\nlinks: 'javascript:alert(1)'", "2:8: 'javascript:alert(1)' is no address"),
        ("folder: &a n\ntarget: *a", "1:9: not valid YAML: anchors"),
        ("folder: [", "1:10: not valid YAML"),
        ("- folder", "1:1: expected a mapping"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_column(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'nightly.yaml'}:")
    assert "\n" not in str(caught.value)


def test_off_is_not_a_truth_value_here(tmp_path: Path) -> None:
    assert load(tmp_path, "{folder: n, mock: off, meshes: [1x2]}").mock == "off"


def test_each_night_draws_other_cases_and_can_be_repeated() -> None:
    config = Config(Path("n"))
    first, second = date(2026, 11, 23), date(2026, 11, 24)
    seeds = [config.seed_of(first, 1), config.seed_of(first, 2), config.seed_of(second, 1)]
    assert seeds == [2026112300, 2026112301, 2026112400]
    assert Config(Path("n"), seed=4).seed_of(first, 2) == 4


def test_the_example_says_the_defaults() -> None:
    """Who copies it gets what the documentation says."""
    example = load_config(EXAMPLE)
    assert example == Config(example.folder, corpus=example.corpus)
