# SPDX-License-Identifier: Apache-2.0
"""One campaign to a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzz.case import MeshfuzzError
from fuzz.confined import check_entry
from fuzz.disk import writing


class FolderBusy(MeshfuzzError):
    """Another process runs a campaign in the folder."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the folder for one campaign. The kernel frees the lock however the process ends.

    Raises FolderBusy, FolderUnwritable, ConfinedError.
    """
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    check_entry(directory / "campaign.lock")
    with writing(directory):
        stream = (directory / "campaign.lock").open("a+b", buffering=0)
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            owner = stream.read().decode(errors="replace").strip() or "unknown"
            raise FolderBusy(
                f"a campaign runs in {directory} (process {owner}): wait for it or choose another --dir"
            ) from error
        with writing(directory):
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n".encode())
        yield
