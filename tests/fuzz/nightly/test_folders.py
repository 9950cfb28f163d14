# SPDX-License-Identifier: Apache-2.0
"""What is removed is a night's folder and old enough; everything else stays."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from fuzz.nightly.folders import NightError, nights, point_latest, read_state, remove_old, unused_name, write_state

TODAY = date(2026, 11, 23)


def night(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir(parents=True)
    write_state(path, {"finished": True})
    (path / "report.html").write_text("report")
    return path


def test_nights_are_in_order_of_their_dates_and_numbers(tmp_path: Path) -> None:
    for name in ("2026-11-20.10", "2026-11-20", "2026-10-31", "2026-11-20.2"):
        night(tmp_path, name)
    assert [path.name for path in nights(tmp_path)] == ["2026-10-31", "2026-11-20", "2026-11-20.2", "2026-11-20.10"]


def test_a_second_night_of_a_day_has_a_number(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        names.append(unused_name(tmp_path, TODAY))
        night(tmp_path, names[-1])
    assert names == ["2026-11-23", "2026-11-23.2", "2026-11-23.3"]


def test_only_old_nights_are_removed_and_never_the_newest(tmp_path: Path) -> None:
    for name in ("2026-11-01", "2026-11-15.2", "2026-11-16", "2026-11-20"):
        night(tmp_path, name)
    assert remove_old(tmp_path, TODAY, 7) == ["2026-11-01", "2026-11-15.2"]
    assert [path.name for path in nights(tmp_path)] == ["2026-11-16", "2026-11-20"]
    assert remove_old(tmp_path, date(2030, 1, 1), 7) == ["2026-11-16"]


def test_nothing_but_nights_is_removed(tmp_path: Path) -> None:
    (tmp_path / "2026-01-01").mkdir()  # no state in it: not one of ours
    (tmp_path / "2026-01-02").write_text("a file")
    for name in ("2026-02-30", "2026-01-03-notes", "notes", "2026-01-04.0", "20260105"):
        night(tmp_path, name)
    night(tmp_path, "2026-11-22")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert remove_old(tmp_path, TODAY, 1) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = night(tmp_path / "elsewhere", "2026-01-01")
    folder = tmp_path / "nights"
    old = night(folder, "2026-01-02")
    (old / "link").symlink_to(elsewhere, target_is_directory=True)
    (folder / "2026-01-03").symlink_to(elsewhere, target_is_directory=True)
    night(folder, "2026-11-22")
    assert remove_old(folder, TODAY, 1) == ["2026-01-02"]
    assert (elsewhere / "report.html").is_file()
    assert (folder / "2026-01-03").is_symlink()


def test_a_removal_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    half = tmp_path / ".removing-2026-01-01"
    half.mkdir()
    (half / "report.html").write_text("the state is gone already")
    other = tmp_path / ".removing-notes"
    other.mkdir()
    night(tmp_path, "2026-11-22")
    remove_old(tmp_path, TODAY, 1)
    assert not half.exists()
    assert other.exists()


def test_latest_leads_to_a_night_wherever_the_folder_is_moved(tmp_path: Path) -> None:
    for name in ("2026-11-22", "2026-11-23"):
        night(tmp_path / "a", name)
        point_latest(tmp_path / "a", name)
    (tmp_path / "a").rename(tmp_path / "b")
    assert (tmp_path / "b" / "latest" / "report.html").is_file()
    assert (tmp_path / "b" / "latest").readlink() == Path("2026-11-23")


def test_a_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(NightError, match="no symbolic link"):
        point_latest(tmp_path, "2026-11-23")


def test_a_state_that_cannot_be_read_is_an_error_in_one_line(tmp_path: Path) -> None:
    path = night(tmp_path, "2026-11-22")
    (path / "night.json").write_text('{"began": ')
    with pytest.raises(NightError, match="cannot be read"):
        read_state(path)
