# SPDX-License-Identifier: Apache-2.0
"""Folders for much that is soon gone, in memory where there is room.

The TT plugin unpacks 0.4 GB at every start: that takes a second in memory, and up to fifteen on a disk. Memory is not
given back when a process is killed, as its own is. So a folder is locked by the process that made it, and whoever makes
the next one removes those whose lock is free.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzz.disk import remove

MEMORY = Path("/dev/shm")
NEEDED = 2 << 30  # bytes, for a few processes that start at once
# No folder of `tempfile` is called so: with TMPDIR there, those of others would be taken for abandoned ones.
_NAME = "meshfuzz.scratch."


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder that is removed afterwards: in memory, or where temporary files normally are. Raises OSError."""
    sweep()
    if not _has_room():
        with tempfile.TemporaryDirectory(prefix="meshfuzz-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    unlocked = Path(tempfile.mkdtemp(prefix=f".{_NAME}", dir=MEMORY))
    held = os.open(unlocked, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        path = unlocked.rename(MEMORY / unlocked.name.removeprefix("."))
        try:
            yield path
        finally:
            remove(path)
    finally:
        os.close(held)


def sweep() -> None:
    """Remove the folders in memory whose processes are gone."""
    for folder in MEMORY.glob(f"{_NAME}*"):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # gone, or somebody else's
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(folder)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)


def _has_room() -> bool:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
        return min(available, shutil.disk_usage(MEMORY).free) >= NEEDED and os.access(MEMORY, os.W_OK)
    except (OSError, StopIteration):
        return False
