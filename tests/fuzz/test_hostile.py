# SPDX-License-Identifier: Apache-2.0
"""Whatever the target does, every case gets its verdict, nothing is lost and nothing is left behind."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from hostile_campaign import ACTS, MESH, WORKER, campaign, make_case, one_of_each
from hostile_worker import ACTS as DONE

from fuzz import worker_process
from fuzz.pool import Pool
from fuzz.processes import memory_of
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig


def test_every_behaviour_has_a_verdict_to_expect() -> None:
    assert ACTS.keys() == DONE.keys()


def test_a_hostile_process_gets_its_verdict_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "EXIT_WAIT", 0.5)
    assert one_of_each(tmp_path) == []


def test_a_target_that_lies_is_found_out_by_the_judge(tmp_path: Path) -> None:
    assert one_of_each(tmp_path, judged=True, deadline=60.0, workers=1) == []


def test_findings_of_a_hostile_target_are_not_lost(tmp_path: Path) -> None:
    """With what takes no time; tests/benchmarks/hostile_target.py does it with everything."""
    quick = ("pass", "exit 0", "leak", "twice")
    assert campaign(tmp_path, 12, chosen=quick, deadline=20.0) == []


def test_a_daemon_without_a_name_is_remembered_when_its_worker_has_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTILE_OUTSIDE", str(tmp_path))
    command = (sys.executable, str(WORKER))
    with Pool(TargetConfig("cpu", MESH, mock=False), tmp_path / "c", workers=1, command=command) as pool:
        assert pool.run(make_case("nameless daemon")).verdict is Verdict.PASS
        (daemon,) = map(int, (tmp_path / "pids").read_text().split())
        assert memory_of(daemon)
        assert pool.run(make_case("segfault")).verdict is Verdict.CRASH
        until = time.monotonic() + 5
        while memory_of(daemon) and time.monotonic() < until:
            time.sleep(0.01)
        assert not memory_of(daemon)


@pytest.mark.parametrize("does", ["twice", "remove TMPDIR", "replace TMPDIR"])
def test_what_one_case_did_to_its_worker_is_not_charged_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    monkeypatch.setenv("HOSTILE_OUTSIDE", str(tmp_path / "outside"))
    (tmp_path / "outside").mkdir()
    command = (sys.executable, str(WORKER))
    with Pool(TargetConfig("cpu", MESH, mock=False), tmp_path / "c", workers=1, command=command) as pool:
        assert pool.run(make_case(does)).verdict is Verdict.PASS
        assert pool.run(make_case("fill TMPDIR")).verdict is Verdict.PASS
