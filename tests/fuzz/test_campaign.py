# SPDX-License-Identifier: Apache-2.0
"""A campaign finds the same things whatever the timing, and survives everything that happens to it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import fake_campaign
import pytest
from fake_campaign import TOOLS, campaign, sample, settings
from test_pool import alive_with

from fuzz.campaign import run_campaign
from fuzz.case import Case, CaseError, Node, Output
from fuzz.finding import State
from fuzz.lock import FolderBusy
from fuzz.settings import Budget
from fuzz.store import SKIPPED, Store, StoreError
from fuzz.strategies.space import Space
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The first campaign of a process loads torch, which takes longer than the time that some tests give theirs."""
    campaign(tmp_path_factory.mktemp("warm"), cases=4)


def rows(directory: Path) -> list[tuple[object, ...]]:
    """All that a campaign recorded about its cases, except for times."""
    with sqlite3.connect(directory / "campaign.db") as database:
        return database.execute(
            "SELECT number, digest, verdict, signature, patterns, bucket, absorbed FROM cases ORDER BY number"
        ).fetchall()


def buckets(directory: Path) -> list[tuple[str, int, str, int]]:
    with Store.open(directory) as store:
        return [(finding.key, finding.first, finding.reduced, finding.count) for finding in store.findings()]


def test_each_failure_ends_in_one_bucket_with_a_reduced_case(tmp_path: Path) -> None:
    summary = campaign(tmp_path)
    assert summary.ended == "all cases are drawn"
    assert summary.pending == 0
    assert len(summary.findings) == summary.new == 5
    failing = [row for row in rows(tmp_path) if str(row[2]) in ("WRONG", "COMPILE_ERROR", "CRASH")]
    assert all(row[5] is not None for row in failing)
    assert sum(finding.count for finding in summary.findings) == len(failing)
    for finding in summary.findings:
        assert len(finding.case.nodes) == 1
        assert finding.state is State.PROVEN
        assert (tmp_path / "cases" / f"{finding.id}.yaml").is_file()


def test_the_time_of_all_runs_is_remembered(tmp_path: Path) -> None:
    took = campaign(tmp_path, cases=4).elapsed
    took += campaign(tmp_path, cases=8, resume=True).elapsed
    with Store.open(tmp_path) as store:
        assert store.elapsed == pytest.approx(took)


def test_one_op_that_is_wrong_names_the_bucket_however_long_the_graph(tmp_path: Path) -> None:
    keys = {finding.key for finding in campaign(tmp_path).findings if finding.outcome.verdict is Verdict.WRONG}
    assert {key.partition(":")[0] for key in keys} == {"WRONG gather", "WRONG scatter"}


def test_the_same_seed_gives_the_same_cases_and_buckets_whatever_the_timing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign(tmp_path / "calm", seed=3, cases=96)
    monkeypatch.setenv("FAKE_JITTER", "0.02")
    campaign(tmp_path / "jittery", seed=3, cases=96, workers=3)
    assert rows(tmp_path / "calm") == rows(tmp_path / "jittery")
    assert buckets(tmp_path / "calm") == buckets(tmp_path / "jittery")
    assert len(buckets(tmp_path / "calm")) > 4


def test_another_seed_gives_other_cases() -> None:
    assert [sample(Space(()), 0, i).digest for i in range(9)] != [sample(Space(()), 1, i).digest for i in range(9)]


def test_known_patterns_are_skipped_in_later_rounds_except_for_a_share(tmp_path: Path) -> None:
    always = replace(TOOLS, sample=_always_failing)
    summary = campaign(tmp_path, cases=256, tools=always, revisit=0.25)
    assert len(summary.findings) == 1
    # The first four rounds know of nothing.
    assert summary.counts[SKIPPED] == 128 - (summary.counts["COMPILE_ERROR"] - 128)
    assert 0.1 < (summary.counts["COMPILE_ERROR"] - 128) / 128 < 0.45


def test_a_pattern_whose_cases_pass_is_not_avoided_for_long(tmp_path: Path) -> None:
    rarely = replace(TOOLS, sample=_rarely_failing)
    summary = campaign(tmp_path, cases=256, tools=rarely, revisit=0.25)
    assert 0 < summary.counts[SKIPPED] <= 128


def test_with_full_revisit_nothing_is_skipped(tmp_path: Path) -> None:
    summary = campaign(tmp_path, cases=64, tools=replace(TOOLS, sample=_always_failing), revisit=1.0)
    assert summary.counts == Counter({"COMPILE_ERROR": 64})
    assert [finding.count for finding in summary.findings] == [64]


def test_a_failure_that_does_not_repeat_is_nondeterministic(tmp_path: Path) -> None:
    def flaky(space: Space, seed: int, index: int) -> Case:
        options = {"does": "flaky", "once": str(tmp_path / "once")} if index == 5 else {}
        return replace(sample(space, seed, index), options=tuple(options.items()))

    (finding,) = campaign(tmp_path / "campaign", cases=16, tools=replace(TOOLS, sample=flaky)).findings
    assert (finding.outcome.verdict, finding.state, finding.first) == (Verdict.NONDETERMINISTIC, State.FLAKY, 5)
    assert finding.outcome.message == "COMPILE_ERROR compile: only the first time, then PASS"


def test_a_case_that_cannot_be_drawn_is_counted_and_the_campaign_goes_on(tmp_path: Path) -> None:
    def broken(space: Space, seed: int, index: int) -> Case:
        if index == 3:
            raise CaseError("a strategy went wrong")
        return replace(sample(space, seed, index), options=())

    summary = campaign(tmp_path, cases=8, tools=replace(TOOLS, sample=broken))
    assert summary.counts == Counter({"PASS": 7, "INVALID": 1})
    assert summary.messages["INVALID"] == [("a strategy went wrong", 1)]


def test_unsupported_messages_are_counted_by_kind(tmp_path: Path) -> None:
    said = campaign(tmp_path).messages["UNSUPPORTED"]
    assert len(said) == 1
    assert said[0][1] > 1


def test_the_findings_budget_ends_the_campaign_after_a_round(tmp_path: Path) -> None:
    summary = campaign(tmp_path, budget=Budget(findings=1))
    assert summary.ended == "enough findings"
    assert 32 <= len(rows(tmp_path)) <= 160  # rounds that were begun


def test_when_time_is_up_what_failed_is_reported_unreduced_and_resume_reduces_it(tmp_path: Path) -> None:
    slow = replace(TOOLS, sample=_slow_sample)
    summary = campaign(tmp_path, tools=slow, budget=Budget(seconds=2.0))
    assert summary.ended == "the time is up"
    assert State.NEW in {finding.state for finding in summary.findings}
    resumed = campaign(tmp_path, cases=32, resume=True)
    assert {finding.state for finding in resumed.findings} == {State.PROVEN}
    campaign(tmp_path / "whole", cases=32)
    assert buckets(tmp_path) == buckets(tmp_path / "whole")


def test_a_killed_driver_loses_at_most_the_cases_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign(tmp_path / "whole", seed=7, cases=96)
    monkeypatch.setenv("FAKE_JITTER", "0.06")
    monkeypatch.setenv("FAKE_NOTE", str(tmp_path / "note"))
    killed = tmp_path / "killed"
    for delay, resume in ((0.2, False), (0.4, True)):
        _run_and_kill(killed, 7, 96, delay, resume)
    campaign(killed, seed=7, cases=96, resume=True)
    assert rows(killed) == rows(tmp_path / "whole")
    assert buckets(killed) == buckets(tmp_path / "whole")
    # Passing cases are run by nothing but the rounds: twice only if they were in flight at one of the two kills.
    runs = Counter(line.split()[1] for line in (tmp_path / "note").read_text().splitlines())
    passing = [str(row[1]) for row in rows(killed) if row[2] == "PASS"]
    assert sum(runs[digest] - 1 for digest in passing) <= 4
    assert list((killed / "cases").glob("running-*")) == []
    assert not (killed / "tmp").exists()


def _run_and_kill(directory: Path, seed: int, cases: int, delay: float, resume: bool) -> None:
    """Start a campaign in a process of its own and SIGKILL it some time after its first new case."""
    before = len(rows(directory)) if resume else 0
    command = [sys.executable, fake_campaign.__file__, str(directory), str(seed), str(cases)]
    process = subprocess.Popen(command + ["resume"] * resume, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if (directory / "campaign.db").exists() and len(rows(directory)) > before:
            break
        time.sleep(0.02)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while alive_with(directory) and time.monotonic() < until:
        time.sleep(0.05)  # workers end by themselves when the driver is gone
    assert alive_with(directory) == []
    assert 0 < len(rows(directory)) < cases


def test_ctrl_c_ends_cleanly_with_a_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_JITTER", "0.05")
    # A shell starts background jobs with SIGINT ignored, and Python then leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupter = threading.Thread(target=_interrupt_after_the_first_case, args=(tmp_path,))
    interrupter.start()
    summary = campaign(tmp_path, cases=None)
    interrupter.join()
    assert summary.ended == "interrupted"
    assert summary.run > 0
    assert alive_with(tmp_path) == []


def _interrupt_after_the_first_case(directory: Path) -> None:
    while not (directory / "campaign.db").exists() or not rows(directory):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


def test_a_second_campaign_in_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_JITTER", "0.05")
    first = threading.Thread(target=campaign, args=(tmp_path,), kwargs={"cases": 32})
    first.start()
    time.sleep(0.5)
    with pytest.raises(FolderBusy, match=f"a campaign runs in {tmp_path}.*process {os.getpid()}"):
        campaign(tmp_path, resume=True)
    first.join()


def test_a_folder_with_a_campaign_is_not_overwritten(tmp_path: Path) -> None:
    campaign(tmp_path, cases=1)
    with pytest.raises(StoreError, match="--resume"):
        campaign(tmp_path, cases=1)


def test_resuming_after_the_strategies_changed_is_refused(tmp_path: Path) -> None:
    campaign(tmp_path, tools=replace(TOOLS, sample=_slow_sample), budget=Budget(seconds=2.0))
    with sqlite3.connect(tmp_path / "campaign.db") as database:
        database.execute("UPDATE cases SET bucket = NULL")
    database.close()
    changed = replace(TOOLS, sample=lambda space, seed, index: sample(space, seed + 1, index))
    with pytest.raises(StoreError, match="strategies have changed"):
        campaign(tmp_path, resume=True, tools=changed)


def test_a_target_that_fails_on_every_case_does_not_stop_the_campaign(tmp_path: Path) -> None:
    def crashing(space: Space, seed: int, index: int) -> Case:
        return replace(sample(space, seed, index), options=(("does", "segfault"),))

    summary = campaign(tmp_path, cases=8, tools=replace(TOOLS, sample=crashing))
    assert summary.counts == Counter({"CRASH": 8})


def test_a_target_that_cannot_start_ends_it(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailable, match="no fake plugin"):
        campaign(tmp_path, target=TargetConfig("tt", fake_campaign.MESH, "unavailable"))


def test_a_target_that_goes_away_ends_it_with_what_was_found(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    marker.touch()

    def crashing(space: Space, seed: int, index: int) -> Case:
        if index == 20:
            marker.unlink(missing_ok=True)
            return replace(sample(space, seed, index), options=(("does", "kill"),))
        return replace(sample(space, seed, index), options=())

    target = TargetConfig("tt", fake_campaign.MESH, str(marker))
    command = (sys.executable, "-c", _STARTS_ONLY_WITH_MARKER.format(folder=str(Path(__file__).parent)))
    tools = replace(TOOLS, sample=crashing, command=command)
    summary = run_campaign(tmp_path / "c", settings(target=target, workers=1), Budget(cases=64), tools)
    assert summary.ended == "the target went away"
    assert "no fake plugin" in summary.unavailable
    assert summary.counts["CRASH"] == 1


_STARTS_ONLY_WITH_MARKER = """
import sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from dataclasses import replace
from fake_worker import ANSWERS, Service, judge_fake, open_fake, serve
def open_if(config):
    return open_fake(config if Path(config.plugin).exists() else replace(config, plugin="unavailable"))
sys.exit(serve(Service(open_if, judge_fake, ANSWERS)))
"""


def _always_failing(space: Space, seed: int, index: int) -> Case:
    case = sample(space, seed, index)
    node = Node("v0", "gather", ("x0",))
    options = (("at", "ttir"), ("does", "error"), ("message", "no"), ("needs", "gather"))
    value = replace(case.inputs[0], sharding=((), ("y",)))
    return replace(case, inputs=(value,), nodes=(node,), outputs=(Output("v0"),), options=options)


def _rarely_failing(space: Space, seed: int, index: int) -> Case:
    case = _always_failing(space, seed, index)
    return case if index == 0 else replace(case, options=())


def _slow_sample(space: Space, seed: int, index: int) -> Case:
    time.sleep(0.2)  # a round of 32 on two workers takes longer than the tests' 2 s
    return sample(space, seed, index)
