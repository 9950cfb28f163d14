# SPDX-License-Identifier: Apache-2.0
"""A driver may die at any moment; what it had written is there, once, and its workers go with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import killed_campaign
import pytest
from killed_campaign import complaints_after_kill, complaints_at_end, recorded, start

from fuzz.processes import MARK, marked

# Each phase is of another kind; tests/benchmarks/killed_driver.py dies in all of them, and at any moment.
KILLS = (("in a transaction", 12), ("reducing", 2))


def test_a_driver_that_dies_again_and_again_ends_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(killed_campaign, "CASES", 40)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    undisturbed = start(whole, "never")
    done: set[int] = set()
    for phase, count in KILLS:
        assert start(killed, phase, count).wait(120) == -signal.SIGKILL, phase
        assert complaints_after_kill(killed) == [], phase
        assert done <= recorded(killed), phase
        done = recorded(killed)
    assert start(killed, "never").wait(120) == 0
    assert undisturbed.wait(120) == 0
    assert complaints_at_end(killed, whole) == []


DRIVER = """
import sys
from pathlib import Path
from test_pool import case, make_pool
with make_pool(Path(sys.argv[1]), fresh=sys.argv[2] == "fresh", deadline=100) as pool:
    pool.run(case(does="hang", note=sys.argv[1] + "/note"))
"""


@pytest.mark.parametrize("mode", ["warm", "fresh"])
def test_a_worker_in_the_middle_of_a_case_ends_with_its_driver(tmp_path: Path, mode: str) -> None:
    """The case hangs and ignores SIGTERM, and nothing but the kernel can tell it."""
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path), mode], cwd=Path(__file__).parent)
    until = time.monotonic() + 30
    while not (tmp_path / "note").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert marked(tmp_path)
    driver.kill()
    driver.wait()
    until = time.monotonic() + 2
    while marked(tmp_path) and time.monotonic() < until:
        time.sleep(0.02)
    assert marked(tmp_path) == []


def test_what_a_killed_driver_left_is_removed_by_the_next_campaign(tmp_path: Path) -> None:
    """A daemon survives the process group, and files survive everything."""
    left = tmp_path / "elsewhere" / "cpu" / "tmp" / "worker-x"
    (left / "locked").mkdir(parents=True)
    (left / "locked" / "file").touch()
    (left / "locked").chmod(0)
    daemon = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: str(left)}, start_new_session=True)
    stranger = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: f"{tmp_path}-other/tmp/worker-x"})
    try:
        killed_campaign.fake_campaign.campaign(tmp_path, cases=1)
        assert daemon.wait(5) == -signal.SIGKILL
        assert stranger.poll() is None
        assert not left.parent.exists()
    finally:
        stranger.kill()
        stranger.wait()
