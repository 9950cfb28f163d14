# SPDX-License-Identifier: Apache-2.0
"""What a worker prints, and all that it started."""

from __future__ import annotations

import os
from pathlib import Path

LIMIT = 16 << 20  # bytes; of a longer log the end is kept
TAIL = 16 << 10  # bytes


class WorkerLog:
    """A log file, held open: whatever a process does to the file, what it prints can be read and cut."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._start = os.fstat(self.descriptor).st_size

    def begin(self) -> None:
        """What is printed from now on belongs to a new case."""
        self.bound()
        self._start = os.fstat(self.descriptor).st_size

    def bound(self) -> None:
        """Keep only the end of a log that has grown too long."""
        if os.fstat(self.descriptor).st_size > LIMIT:
            end = self._end(0)
            os.ftruncate(self.descriptor, 0)
            os.write(self.descriptor, end)
            self._start = 0

    def tail(self) -> str:
        """The end of what was printed since the case began."""
        return self._end(self._start).decode(errors="replace")

    def _end(self, start: int) -> bytes:
        first = max(start, os.fstat(self.descriptor).st_size - TAIL)
        return os.pread(self.descriptor, TAIL, first)

    def close(self) -> None:
        """Nobody else will look at its length: what was printed since anyone did may be anything."""
        try:
            self.bound()
        finally:
            os.close(self.descriptor)
