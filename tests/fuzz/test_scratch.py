# SPDX-License-Identifier: Apache-2.0
"""Folders in memory are removed, whatever becomes of the processes that made them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import scratch as module
from fuzz.scratch import scratch, sweep

HOLDER = """
import sys
from pathlib import Path
from fuzz import scratch
scratch.MEMORY = Path(sys.argv[1])
with scratch.scratch() as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for memory with room enough."""
    monkeypatch.setattr(module, "MEMORY", tmp_path)
    monkeypatch.setattr(module, "NEEDED", 0)
    return tmp_path


def test_a_folder_is_new_and_removed_with_all_that_is_in_it(memory: Path) -> None:
    with scratch() as first, scratch() as second:
        assert first.parent == second.parent == memory
        assert first != second
        (first / "below").mkdir()
        (first / "below" / "file").touch()
    assert not list(memory.iterdir())


def test_without_room_it_is_where_temporary_files_are(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NEEDED", 1 << 60)
    with scratch() as folder:
        assert folder.is_dir()
        assert folder.parent != memory
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_and_not_before(memory: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(memory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        sweep()
        assert (folder / "file").exists()
        process.kill()
    sweep()
    assert not folder.exists()


def test_other_folders_stay(memory: Path) -> None:
    (memory / "meshfuzz-replay-1").mkdir()  # of tempfile, with TMPDIR in memory
    (memory / "meshfuzz.scratch.link").symlink_to(memory / "meshfuzz-replay-1")
    sweep()
    assert (memory / "meshfuzz-replay-1").is_dir()
