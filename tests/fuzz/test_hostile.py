# SPDX-License-Identifier: Apache-2.0
"""Whatever the target does, every case gets its verdict, nothing is lost and nothing is left behind."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from hostile_campaign import ACTS, LIES, MESH, WORKER, campaign, make_case
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
    assert campaign(tmp_path, len(ACTS)) == []


def test_a_target_that_lies_is_found_out_by_the_judge(tmp_path: Path) -> None:
    assert campaign(tmp_path, 2 * len(LIES), judged=True, deadline=30.0, workers=1) == []


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
