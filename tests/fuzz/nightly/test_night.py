# SPDX-License-Identifier: Apache-2.0
"""A night reports itself, goes on after a kill, and knows what the nights before it found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import fake_nights
import pytest
from fake_nights import EVENING, TOOLS, run, sample

from fuzz.case import Case
from fuzz.nightly import night as nightly
from fuzz.nightly.config import Reason, Verifying
from fuzz.report.night import Night, Standing
from fuzz.store import FolderBusy, locked
from fuzz.strategies.space import Space
from oracles.targets.config import TargetUnavailable

PROGRAM = Path(fake_nights.__file__)
DAY = timedelta(days=1)
EVERY = {"WRONG flip", "COMPILE_ERROR ttir", "CRASH compile"}


@pytest.fixture(autouse=True)
def fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file whose existence mends the compiler."""
    path = tmp_path / "fixed"
    monkeypatch.setenv("FAKE_FIXED", str(path))
    return path


def keys(night: Night, standing: Standing) -> set[str]:
    return {subject.finding.key.partition(":")[0] for subject in night.of(standing)}


def test_a_night_leaves_a_report_for_everyone(tmp_path: Path) -> None:
    ended = run(tmp_path / "nights")
    folder = tmp_path / "nights" / "2026-11-23"
    assert ended.folder == folder
    names = {path.name for path in folder.iterdir()}
    assert names == {"campaign", "issues", "night.json", "report.html", "junit.xml", "findings.sarif", "summary.md"}
    assert (tmp_path / "nights" / "latest").resolve() == folder
    assert ended.night.settings.seed == 2026112300
    assert keys(ended.night, Standing.NEW) == EVERY
    for subject in ended.night.of(Standing.NEW):
        assert (folder / "issues" / f"{subject.finding.id}_issue.md").is_file()
        assert subject.texts["torch script"] == "raise SystemExit(1)\n"
        assert subject.finding.id in (folder / "report.html").read_text()
    assert set(ended.reasons) == {Reason.NEW_FINDINGS}


def test_what_was_found_is_known_then_fixed_then_regressed(tmp_path: Path, fixed: Path) -> None:
    nights = tmp_path / "nights"
    first = run(nights)
    new = keys(first.night, Standing.NEW)
    second = run(nights, now=EVENING + DAY)
    assert second.night.settings.seed != first.night.settings.seed
    assert keys(second.night, Standing.KNOWN) == new
    assert not second.reasons
    fixed.touch()
    third = run(nights, now=EVENING + 2 * DAY)
    assert keys(third.night, Standing.FIXED) == new
    assert not third.reasons
    fourth = run(nights, now=EVENING + 3 * DAY)
    assert fourth.night.subjects == []
    fixed.unlink()
    fifth = run(nights, now=EVENING + 4 * DAY)
    assert keys(fifth.night, Standing.REGRESSED) == new
    assert set(fifth.reasons) == {Reason.REGRESSIONS}
    told = fifth.night.of(Standing.REGRESSED)[0].nights
    assert (told.first, told.last) == ("2026-11-23", "2026-11-27")
    assert (told.fixed, told.regressed) == (("2026-11-25",), ("2026-11-27",))
    assert len(fifth.night.past) == 5


def test_what_does_not_fail_any_more_is_verified_in_fresh_processes(tmp_path: Path, fixed: Path) -> None:
    nights = tmp_path / "nights"
    first = run(nights)
    fixed.touch()
    second = run(nights, now=EVENING + DAY, verify=Verifying.ALL, verify_share=10.0)
    assert {each.status for each in second.night.verified} == {"FIXED"}
    assert keys(second.night, Standing.FIXED) == keys(first.night, Standing.NEW)
    third = run(nights, now=EVENING + 2 * DAY, verify=Verifying.ALL)
    assert third.night.verified == []


def test_verification_keeps_to_its_share_of_the_time(tmp_path: Path, fixed: Path) -> None:
    nights = tmp_path / "nights"
    found = len(run(nights).night.of(Standing.NEW))
    fixed.touch()
    second = run(nights, now=EVENING + DAY, verify=Verifying.ALL, verify_share=0.0)
    statuses = [each.status for each in second.night.verified]
    assert len(statuses) == found
    assert "NOT RUN" in statuses
    assert {subject.standing for subject in second.night.subjects} == {Standing.FIXED, Standing.KNOWN}


def test_an_interrupted_night_goes_on_where_it_was(tmp_path: Path) -> None:
    def interrupted(space: Space, seed: int, index: int) -> Case:
        if index >= 32:
            raise KeyboardInterrupt
        return sample(space, seed, index)

    nights = tmp_path / "nights"
    with pytest.raises(KeyboardInterrupt):
        run(nights, tools=replace(TOOLS, sample=interrupted), cases=64)
    assert not (nights / "latest").exists()
    ended = run(nights, now=EVENING + timedelta(hours=9), cases=64)
    assert ended.folder.name == "2026-11-23"
    assert [path.name for path in nights.glob("2026-*")] == ["2026-11-23"]
    assert ended.night.cases + ended.night.counts["SKIPPED"] == 64
    assert len(ended.night.past) == 1


def test_a_night_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    nights = tmp_path / "nights"
    proven = nights / "2026-11-23" / "campaign" / "repros"
    with subprocess.Popen([sys.executable, str(PROGRAM), str(nights), "64"], stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while time.monotonic() < until and not list(proven.glob("*.py")):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert json.loads((nights / "2026-11-23" / "night.json").read_text())["phases"] == {}
    ended = run(nights, cases=64)
    assert ended.folder.name == "2026-11-23"
    assert keys(ended.night, Standing.NEW) == EVERY
    assert ended.night.cases + ended.night.counts["SKIPPED"] == 64


def _no_more(space: Space, seed: int, index: int) -> Case:
    raise AssertionError("the campaign ran again")


def test_done_phases_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the disk is full")

    nights = tmp_path / "nights"
    with monkeypatch.context() as patched:
        patched.setattr(nightly, "write_outputs", fail)
        with pytest.raises(RuntimeError, match="disk"):
            run(nights)
    ended = run(nights, tools=replace(TOOLS, sample=_no_more))
    assert ended.folder.name == "2026-11-23"
    assert keys(ended.night, Standing.NEW) == EVERY


@pytest.mark.parametrize(
    "change", [{"now": EVENING + 2 * DAY}, {"cases": 9}, {"prepare": lambda: {"plugin": "fake 2"}}]
)
def test_what_is_another_night_does_not_go_on_with_an_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    """Its verdicts would not hold for the versions or settings of now."""
    monkeypatch.setattr(nightly, "write_outputs", lambda *_: (_ for _ in ()).throw(RuntimeError("cut short")))
    nights = tmp_path / "nights"
    unstarted = replace(TOOLS, command=(sys.executable, "-c", ""))
    for changes in ({}, change):
        with pytest.raises(RuntimeError, match="cut short"):
            run(nights, tools=unstarted, **changes)  # type: ignore[arg-type]  # names of parameters
    assert len(list(nights.glob("2026-*"))) == 2


def test_two_at_once_are_refused_in_one_line(tmp_path: Path) -> None:
    with locked(tmp_path / "nights"), pytest.raises(FolderBusy) as caught:
        run(tmp_path / "nights")
    assert str(os.getpid()) in str(caught.value)
    assert "a night runs in" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_target_that_is_not_there_is_a_night_with_a_report(tmp_path: Path) -> None:
    def unavailable() -> Mapping[str, str]:
        raise TargetUnavailable("no plugin: pip install nothing")

    ended = run(tmp_path / "nights", prepare=unavailable)
    assert ended.reasons == {Reason.ENVIRONMENT: "no plugin: pip install nothing"}
    for name in ("report.html", "summary.md", "junit.xml", "findings.sarif"):
        assert "no plugin: pip install nothing" in (ended.folder / name).read_text().replace("\\", "")
    assert ended.night.past[-1].environment


def test_a_target_that_does_not_start_keeps_what_is_known_as_it_was(tmp_path: Path) -> None:
    nights = tmp_path / "nights"
    first = run(nights)
    second = run(nights, now=EVENING + DAY, plugin="unavailable", verify=Verifying.ALL)
    assert set(second.reasons) == {Reason.ENVIRONMENT}
    assert keys(second.night, Standing.KNOWN) == keys(first.night, Standing.NEW)
    assert not any(subject.failed for subject in second.night.subjects)
    third = run(nights, now=EVENING + 2 * DAY)
    assert keys(third.night, Standing.KNOWN) == keys(first.night, Standing.NEW)


def test_the_policy_says_what_fails_a_night(tmp_path: Path) -> None:
    assert not run(tmp_path / "nights", policy=frozenset({Reason.REGRESSIONS, Reason.ENVIRONMENT})).reasons


def test_old_nights_go_and_their_findings_stay(tmp_path: Path) -> None:
    nights = tmp_path / "nights"
    first = run(nights)
    second = run(nights, now=EVENING + 9 * DAY, keep_days=7)
    assert [path.name for path in nights.glob("2026-*")] == ["2026-12-02"]
    assert keys(second.night, Standing.KNOWN) == keys(first.night, Standing.NEW)
    for subject in second.night.of(Standing.KNOWN):
        assert subject.texts["torch script"] == "raise SystemExit(1)\n"
        assert subject.finding.original
