# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, a folder that may not be written or is gone, a clock that jumps: one line, and nothing lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import call
from fake_campaign import COMMAND, campaign
from killed_campaign import result
from test_pool import case, make_pool

from fuzz import disk
from fuzz.disk import FolderUnwritable, remove, short_of_space
from fuzz.lock import locked
from fuzz.store import Store
from fuzz.worker_process import WorkerProcess
from oracles.outcome import Verdict

SIZE = 64 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("needs a file system of its own, which only root can mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, left: int) -> None:
    """Leave so many bytes."""
    found = os.statvfs(folder)
    if (size := found.f_bavail * found.f_frsize - left) > 0:
        with contextlib.suppress(OSError), (folder / "full").open("ab", buffering=0) as stream:
            stream.write(bytes(size))


@pytest.mark.parametrize("left", [0, disk.NEEDED // 2])
def test_a_campaign_on_a_disk_that_fills_up_goes_on_when_there_is_space(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """With nothing left the database cannot be written; before that, what a compiler does is not trusted."""
    if not left:
        monkeypatch.setattr(disk, "NEEDED", 0)
    run = Store.record

    def fill_then_record(store: Store, number: int, *rest: object) -> None:
        if number >= 5:  # again and again: what is removed gives space back
            fill(small, left)
        run(store, number, *rest)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(Store, "record", fill_then_record)
    with pytest.raises(FolderUnwritable, match=rf"{small}/c.*meshfuzz run --resume"):
        # One worker: with two, the other may be the first to notice, when it starts.
        campaign(small / "c", cases=32, workers=1)
    monkeypatch.undo()
    (small / "full").unlink()
    campaign(small / "c", cases=32, resume=True)
    campaign(tmp_path / "whole", cases=32)
    assert result(small / "c") == result(tmp_path / "whole")
    assert not (small / "c" / "tmp").exists()


def test_what_a_case_does_while_it_fills_the_disk_is_no_finding(small: Path) -> None:
    with make_pool(small / "c") as pool:
        assert pool.run(case(does="fill", bytes=str(SIZE - disk.NEEDED // 2))).verdict is Verdict.ENV
        assert not short_of_space(small)
        assert pool.run(case()).verdict is Verdict.PASS


def test_a_folder_on_a_read_only_disk_is_one_line_and_exit_code_3(
    small: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    said = call(capfd, "run", "--target", "cpu", "--no-corpus", "--dir", str(small / "c"))
    assert (said.code, said.err.count("\n")) == (3, 1)
    assert "cannot be written: Read-only file system" in said.err


def test_a_folder_below_a_file_is_one_line_and_exit_code_3(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    said = call(capfd, "run", "--target", "cpu", "--no-corpus", "--dir", str(tmp_path / "file" / "c"))
    assert (said.code, said.err.count("\n")) == (3, 1)
    assert "cannot be written: Not a directory" in said.err


def test_a_second_campaign_in_a_folder_is_one_line_and_exit_code_3(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with locked(tmp_path):
        said = call(capfd, "run", "--target", "cpu", "--no-corpus", "--dir", str(tmp_path))
    assert (said.code, said.err.count("\n")) == (3, 1)
    assert f"a campaign runs in {tmp_path} (process {os.getpid()})" in said.err


@pytest.mark.parametrize("cases", ["1", "64"])  # removed in the end, or while cases are left
def test_a_folder_that_is_removed_ends_the_campaign_in_one_line(
    cases: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, run = WorkerProcess.__init__, Store.record
    monkeypatch.setattr(WorkerProcess, "__init__", lambda self, command, *rest: begun(self, COMMAND, *rest))

    def remove_then_record(store: Store, number: int, *rest: object) -> None:
        shutil.rmtree(tmp_path / "c", ignore_errors=True)
        run(store, number, *rest)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(Store, "record", remove_then_record)
    said = call(capfd, "run", "--target", "cpu", "--no-corpus", "--cases", cases, "--dir", str(tmp_path / "c"))
    assert said.code == 3
    assert said.err.count("error:") == 1
    assert "Traceback" not in said.err
    assert "cannot be written" in said.err or "was removed" in said.err


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back by an hour at every look, so that whatever measured a time with it would never end, or at once."""
    campaign(tmp_path / "whole", cases=32)
    real, looks = time.time, iter(range(1_000_000))
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * next(looks))
    summary = campaign(tmp_path / "jumped", cases=32)
    monkeypatch.undo()
    assert result(tmp_path / "jumped") == result(tmp_path / "whole")
    assert 0 < summary.elapsed < 600


def test_no_module_measures_with_a_clock_that_can_jump() -> None:
    """A night says when it began, on a calendar; everything else waits and measures."""
    root = Path(disk.__file__).parents[1]
    sources = [path for name in ("fuzz", "oracles", "repros") for path in (root / name).rglob("*.py")]
    using = {
        path.relative_to(root).as_posix()
        for path in sources
        if "found" not in path.parts and ("time.time(" in (text := path.read_text()) or "datetime.now" in text)
    }
    assert using == {"fuzz/nightly/night.py"}


def test_a_tree_that_resists_is_removed_and_its_links_are_not_followed(tmp_path: Path) -> None:
    """As somebody who is not root, to whom permissions mean something."""
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.mkdir()
    (outside / "precious").touch()
    program = """
import os, sys
from pathlib import Path
tree = Path(sys.argv[1])
(tree / "locked" / "in").mkdir(parents=True)
(tree / "locked" / "in" / "file").touch()
(tree / "link").symlink_to(sys.argv[2])
(tree / "locked" / "in" / "link").symlink_to(sys.argv[2])
(tree / "locked" / "in").chmod(0o500)
(tree / "locked").chmod(0)
os.chdir(tree)
for _ in range(1100):
    os.mkdir("d")
    os.chdir("d")
from fuzz.disk import remove
remove(tree)
"""
    tree.mkdir()
    nobody = 65534
    as_nobody = {"user": nobody, "group": nobody, "extra_groups": []} if os.geteuid() == 0 else {}
    if as_nobody:
        for folder in (tmp_path, tree):
            os.chown(folder, nobody, nobody)
        for folder in tmp_path.parents:
            if not folder.stat().st_mode & 0o001:
                as_nobody = {}  # not reached by anybody else; root can at least make it deep
    command = [sys.executable, "-c", program, str(tree), str(outside)]
    environment = {**os.environ, "PYTHONPATH": str(Path(disk.__file__).parents[1])}
    subprocess.run(command, env=environment, check=True, **as_nobody)  # type: ignore[call-overload]  # named arguments
    assert not tree.exists()
    assert (outside / "precious").exists()


def test_a_link_in_place_of_a_folder_is_removed_alone(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    remove(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
