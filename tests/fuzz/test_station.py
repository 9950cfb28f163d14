# SPDX-License-Identifier: Apache-2.0
"""What one machine of a cluster keeps for itself."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from fake_campaign import COMMAND, MESH, sample, settings
from test_pool import alive_with

from fuzz.engine import Plan
from fuzz.station import Machine, Station, _folder
from fuzz.strategies.space import Space
from oracles.targets.config import TargetConfig, TargetUnavailable

PLAN = Plan(Space((MESH,)), 0, 0.1)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where stations have their folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"meshfuzz-{os.getuid()}"


def started() -> Station:
    station = Station()
    station.start(settings(), sample, COMMAND)
    station._plans[1] = PLAN
    return station


def test_a_case_is_on_the_disk_of_its_machine_while_it_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    station = started()
    seen: list[str] = []
    run = station._running().run
    monkeypatch.setattr(
        station._running(), "run", lambda case: (seen.extend(p.name for p in folder.glob("*/cases/*")), run(case))[1]
    )
    trial = station.trial(1, [], 7)
    station.close()
    assert seen == ["running-0000007.yaml"]
    assert (trial.number, trial.digest) == (7, sample(PLAN.space, 0, 7).digest)
    assert alive_with(folder) == []
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_what_a_killed_station_left_is_removed_but_for_the_case_it_ran(folder: Path) -> None:
    idle = killed(folder)
    busy = killed(folder, "running-0000003.yaml")
    assert not idle.exists()
    assert (busy / "tmp").exists()
    started().close()
    assert [path.name for path in busy.glob("*/*")] == ["running-0000003.yaml"]
    assert not (busy / "tmp").exists()


def killed(folder: Path, *cases: str) -> Path:
    """What a station leaves that was killed."""
    before = set(folder.glob("station-*"))
    if (child := os.fork()) == 0:
        with _folder() as own:
            (own / "tmp").mkdir()
            for name in cases:
                (own / "cases" / name).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = set(folder.glob("station-*")) - before
    return left


def test_the_folder_of_a_station_that_lives_is_left_alone(folder: Path) -> None:
    first = started()
    started().close()
    assert first.trial(1, [], 0).number == 0
    first.close()


def test_a_folder_of_someone_else_is_not_used(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    folder.symlink_to(tmp_path / "theirs")
    with pytest.raises(TargetUnavailable, match="belongs to someone else"):
        started()


def test_a_target_that_does_not_start_is_said_and_can_be_asked_again() -> None:
    station = Station()
    with pytest.raises(TargetUnavailable, match="no fake plugin"):
        station.start(settings(target=TargetConfig("tt", MESH, "unavailable")), sample, COMMAND)
    assert station.start(settings(), sample, COMMAND).versions["meshfuzz"]
    station.close()


def test_only_what_differs_is_named() -> None:
    one, other = Machine("a", {"torch": "1", "jax": "2"}), Machine("b", {"torch": "1", "jax": "3", "ray": "4"})
    assert one.differs(other) == "jax 2 on a and 3 on b, ray none on a and 4 on b"
    assert one.differs(Machine("b", one.versions)) == ""
