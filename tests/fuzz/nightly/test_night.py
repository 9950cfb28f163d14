# SPDX-License-Identifier: Apache-2.0
"""A night reports itself, goes on after a kill, and knows what the nights before it found."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import fake_nights
import pytest
from fake_nights import EVENING, TOOLS, run
from made_nights import night

from fuzz import campaign, cli, publisher
from fuzz.case import Case
from fuzz.lock import FolderBusy, locked
from fuzz.nightly import night as nightly
from fuzz.nightly import outputs
from fuzz.nightly.config import Reason, Verifying
from fuzz.nightly.folders import read_state, write_state
from fuzz.nightly.history import History
from fuzz.nightly.night import reasons
from fuzz.report.night import Night, Standing
from fuzz.strategies.space import Space
from fuzz.verify import Status, Subject, Verification
from oracles.targets.config import TargetUnavailable

PROGRAM = Path(fake_nights.__file__)
DAY = timedelta(days=1)
EVERY = {"WRONG flip", "COMPILE_ERROR ttir", "COMPILE_ERROR ttnn"}


@pytest.fixture(autouse=True)
def fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file whose existence mends the compiler. What costs processes and is tested elsewhere is left out."""
    path = tmp_path / "fixed"
    monkeypatch.setenv("FAKE_FIXED", str(path))
    monkeypatch.setattr(campaign, "other_targets", lambda config: {})
    monkeypatch.setattr(publisher, "localised", lambda finding, *_: finding)
    monkeypatch.setattr(outputs, "localised", lambda finding, *_: finding)
    return path


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one night."""
    nights = tmp_path_factory.mktemp("first") / "nights"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FAKE_FIXED", str(nights / "never"))
        patched.setattr(campaign, "other_targets", lambda config: {})
        patched.setattr(publisher, "localised", lambda finding, *_: finding)
        ended = run(nights)
    assert keys(ended.night, Standing.NEW) == EVERY
    assert set(ended.reasons) == {Reason.NEW_FINDINGS}
    return nights


@pytest.fixture
def nights(first: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    shutil.copytree(first, tmp_path / "nights", symlinks=True)
    return tmp_path / "nights"


def keys(night: Night, standing: Standing) -> set[str]:
    return {subject.finding.key.partition(":")[0] for subject in night.of(standing)}


def test_a_night_leaves_a_report_for_everyone(first: Path) -> None:
    folder = first / "2026-11-23"
    names = {path.name for path in folder.iterdir()}
    assert names == {"campaign", "issues", "night.json", "report.html", "junit.xml", "findings.sarif", "summary.md"}
    assert (first / "latest").resolve() == folder
    with History.open(first) as history:
        found = history.buckets("2026-11-24")
    assert len(found) == 3
    for name, bucket in found.items():
        assert (folder / "issues" / f"{name}_issue.md").is_file()
        assert bucket.texts["torch script"] == "raise SystemExit(1)\n"
        assert name in (folder / "report.html").read_text()


def test_what_was_found_is_known_though_its_night_is_gone(nights: Path) -> None:
    ended = run(nights, now=EVENING + 9 * DAY, keep_days=7)
    assert ended.night.settings.seed == 2026120200
    assert [path.name for path in nights.glob("2026-*")] == ["2026-12-02"]
    assert keys(ended.night, Standing.KNOWN) == EVERY
    assert not ended.reasons
    for subject in ended.night.of(Standing.KNOWN):
        assert subject.texts["torch script"] == "raise SystemExit(1)\n"
        assert (ended.folder / "issues" / f"{subject.finding.id}_torch.py").is_file()


def test_what_passes_is_verified_as_far_as_time_goes_then_fixed_then_a_regression(
    nights: Path, fixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def verified(wanted: Sequence[Subject], *_: object) -> Iterator[Verification]:
        asked.append([subject.key for subject in wanted])
        return (Verification(subject, Status.FIXED, "3 passes") for subject in wanted)

    monkeypatch.setattr(nightly, "verify", verified)
    fixed.touch()
    second = run(nights, now=EVENING + DAY, verify=Verifying.ALL, verify_share=0.0)
    assert sorted(each.status for each in second.night.verified) == ["FIXED", "NOT RUN", "NOT RUN"]
    assert (len(second.night.of(Standing.FIXED)), len(second.night.of(Standing.KNOWN))) == (1, 2)
    third = run(nights, now=EVENING + 2 * DAY, verify=Verifying.ALL)
    assert len(third.night.of(Standing.FIXED)) == 2
    assert [len(names) for names in asked] == [3, 2]
    fixed.unlink()
    fourth = run(nights, now=EVENING + 3 * DAY)
    assert keys(fourth.night, Standing.REGRESSED) == EVERY
    assert set(fourth.reasons) == {Reason.REGRESSIONS}
    told = fourth.night.of(Standing.REGRESSED)[0].nights
    assert (told.first, told.last, told.regressed) == ("2026-11-23", "2026-11-26", ("2026-11-26",))
    assert len(fourth.night.past) == 4


def test_an_interrupted_night_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = SimpleNamespace(ended="interrupted", messages={})
    monkeypatch.setattr(nightly, "run_campaign", lambda *_, **__: summary)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "nights")
    state = read_state(tmp_path / "nights" / "2026-11-23")
    assert (state["phases"], state["finished"]) == ({}, False)


def test_a_night_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    nights = tmp_path / "nights"
    proven = nights / "2026-11-23" / "campaign" / "repros"
    with subprocess.Popen([sys.executable, str(PROGRAM), str(nights), "64"], stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while time.monotonic() < until and not list(proven.glob("*.py")):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert read_state(nights / "2026-11-23")["phases"] == {}
    ended = run(nights, now=EVENING + timedelta(hours=9), cases=64)
    assert ended.folder.name == "2026-11-23"
    assert keys(ended.night, Standing.NEW) == EVERY
    assert ended.night.cases + ended.night.counts["SKIPPED"] == 64
    assert len(ended.night.past) == 1


def test_done_phases_are_not_run_again(nights: Path) -> None:
    """Killed while it wrote its report, it writes that, and calls new what it called new."""
    folder = nights / "2026-11-23"
    state = read_state(folder)
    state["config"]["folder"] = str(nights)
    write_state(folder, {**state, "finished": False})
    (folder / "report.html").unlink()
    ended = run(nights, tools=replace(TOOLS, sample=_no_more))
    assert ended.folder == folder
    assert keys(ended.night, Standing.NEW) == EVERY
    assert (folder / "report.html").is_file()


def _no_more(space: Space, seed: int, index: int) -> Case:
    raise AssertionError("the campaign ran again")


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


def test_a_target_that_does_not_start_keeps_what_is_known_as_it_was(nights: Path) -> None:
    ended = run(nights, now=EVENING + DAY, plugin="unavailable", verify=Verifying.ALL)
    assert set(ended.reasons) == {Reason.ENVIRONMENT}
    assert keys(ended.night, Standing.KNOWN) == EVERY
    assert not any(subject.failed for subject in ended.night.subjects)
    with History.open(nights) as history:
        assert {bucket.nights.last for bucket in history.buckets("2026-11-25").values()} == {"2026-11-23"}


def test_the_policy_says_what_fails_a_night() -> None:
    found = night()
    assert set(reasons(found, frozenset(Reason))) == {Reason.NEW_FINDINGS, Reason.REGRESSIONS, Reason.PENDING}
    assert set(reasons(found, frozenset({Reason.REGRESSIONS, Reason.ENVIRONMENT}))) == {Reason.REGRESSIONS}
    broken = replace(found, environment="no plugin")
    assert reasons(broken, frozenset({Reason.ENVIRONMENT})) == {Reason.ENVIRONMENT: "no plugin"}
    assert reasons(broken, frozenset()) == {}


def test_a_campaign_alone_has_the_same_page(first: Path, tmp_path: Path) -> None:
    output = tmp_path / "one.html"
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", "--dir", str(first / "2026-11-23" / "campaign"), "--output", str(output)])
    assert ended.value.code == 0
    text = output.read_text()
    assert "3 new" in text
    assert "raise SystemExit(1)" in text
    assert "History" not in text


def test_a_configuration_that_is_wrong_is_an_error_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nightly.yaml"
    path.write_text("folder: n\ntime: soon\n")
    with pytest.raises(SystemExit) as ended:
        cli.main(["nightly", "--config", str(path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {path}:2:7: unknown duration")
