# SPDX-License-Identifier: Apache-2.0
"""What a folder cannot be trusted with: space for the next file, permission to write it, and to be there at all."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzz.case import MeshfuzzError
from fuzz.processes import kill_marked

# Bytes and files. A compile leaves kilobytes, and its stages are gone before the next one.
NEEDED = 32 << 20
NEEDED_FILES = 64
_SQLITE_CODES = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
)


class FolderUnwritable(MeshfuzzError):
    """The campaign's folder cannot be written. What was recorded is there, and the campaign can go on later."""


def is_of_disk(error: Exception) -> bool:
    """Whether it says that something cannot be written here and now."""
    if isinstance(error, sqlite3.Error):
        code: int = getattr(error, "sqlite_errorcode", 0)
        return code & 0xFF in _SQLITE_CODES  # the rest says more about the same
    return isinstance(error, OSError)


def unwritable(directory: Path, error: Exception) -> FolderUnwritable:
    """What to raise for it."""
    cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return FolderUnwritable(f"{directory} cannot be written: {cause}; once it can, meshfuzz run --resume goes on")


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Name the folder in what goes wrong while something is written to it. Raises FolderUnwritable."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if not is_of_disk(error):
            raise
        raise unwritable(directory, error) from error


def short_of_space(directory: Path) -> bool:
    """Whether what is written next may not fit. Raises FolderUnwritable if the folder is gone."""
    with writing(directory):
        found = os.statvfs(directory)
    # Some file systems do not count files: they say 0 of 0.
    return found.f_bavail * found.f_frsize < NEEDED or (found.f_files > 0 and found.f_favail < NEEDED_FILES)


def out_of_space(directory: Path) -> FolderUnwritable:
    """The error to raise when there is none left."""
    return FolderUnwritable(
        f"the disk of {directory} is full (less than {NEEDED >> 20} MiB left): free some space, then go on with "
        "meshfuzz run --resume"
    )


def remove(path: Path) -> None:
    """Remove a folder whatever was done to it: a link in its place, folders in it that cannot be listed, any depth.

    Links are removed, never followed. What cannot be removed stays.
    """
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            return
    except OSError:  # gone, or its parent is
        return
    try:
        shutil.rmtree(path)
    except (OSError, RecursionError):
        # Programs that know no depth; neither follows a link that it meets.
        for command in (["chmod", "-R", "u+rwX", "--", str(path)], ["rm", "-rf", "--", str(path)]):
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def clear(directory: Path) -> None:
    """Remove what workers of a driver that was killed left in a campaign's folder, processes first.

    Only while the folder is locked: nobody else's workers may be in it.
    """
    kill_marked(directory.resolve())
    for folder in (directory / "tmp", *directory.glob("elsewhere/*/tmp")):
        remove(folder)
