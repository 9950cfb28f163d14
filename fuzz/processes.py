# SPDX-License-Identifier: Apache-2.0
"""A worker's process and all that it started, as the kernel tells: how much memory they hold, and how to end them.

A process group is not enough: a daemon leaves it. Every process is found by an entry of its environment, which children
inherit; while the worker lives, also those that dropped it, because the worker adopts its orphans (see `fuzz.worker`).
What drops it and outlives its worker before anybody looked is not found.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path

MARK = "MESHFUZZ_WORKER"  # environment variable: the folder of the worker's temporary files
KILLING = 5.0  # seconds to wait for killed processes to be gone; one in an uninterruptible read takes longer

_PROC = Path("/proc")


def memory_of(pid: int) -> int:
    """Bytes that the process holds, in memory and swapped out; 0 if it is gone. Shared pages count in full.

    Pages of mapped files do not: the kernel takes them back whenever it likes.
    """
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")))


class Family:
    """A process and what it started, which is remembered: a daemon has no parent any more when the process is gone.

    Processes are held by descriptors, which name the same one for ever; an id is given away when its process is gone.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._held: dict[int, int] = {}  # descriptors by id

    def look(self) -> list[int]:
        """Ids of the process and of its descendants that run now. Orphans are children of the one that adopted them."""
        for pid in [pid for pid, descriptor in self._held.items() if _has_ended(descriptor)]:
            os.close(self._held.pop(pid))
        found = descendants(self._pid)
        new = {}
        for pid in set(found).difference(self._held):
            with contextlib.suppress(OSError):
                new[pid] = os.pidfd_open(pid)
        still = set(descendants(self._pid)) if new else set()
        for pid, descriptor in new.items():
            if pid in still:
                self._held[pid] = descriptor
            else:  # it ended, and its id may have been given away before it was opened
                os.close(descriptor)
        return [self._pid, *found]

    def memory(self) -> int:
        """Bytes that all of them hold; what they share counts more than once."""
        return sum(map(memory_of, self.look()))

    def exceeds(self, limit: int) -> bool:
        """Whether all of them hold more bytes than that; what they share counts once."""
        pids = self.look()
        # The exact figure takes milliseconds, and is below the other one.
        return sum(map(memory_of, pids)) > limit and (len(pids) == 1 or sum(map(_own_memory, pids)) > limit)

    def kill_descendants(self) -> None:
        """SIGKILL to all that it started and that was ever seen."""
        for descriptor in self._held.values():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)

    def close(self) -> None:
        """Forget them."""
        while self._held:
            os.close(self._held.popitem()[1])


def _has_ended(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _own_memory(pid: int) -> int:
    """Like `memory_of`, with shared pages in proportion."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:", "SwapPss:")))


def descendants(pid: int) -> list[int]:
    """Children of the process, their children, and so on. Orphans are children of the one that adopted them."""
    found: list[int] = []
    left = [pid]
    while left:
        parent = _PROC / str(left.pop()) / "task"
        with contextlib.suppress(OSError):  # it ended
            for thread in os.listdir(parent):
                with contextlib.suppress(OSError):
                    left += (children := [int(child) for child in (parent / thread / "children").read_text().split()])
                    found += children
    return found


def marked(folder: Path) -> list[int]:
    """Running processes of workers whose temporary files are, or were, in the folder or below it."""
    pids = map(int, filter(str.isdigit, os.listdir(_PROC)))
    return [pid for pid in pids if pid != os.getpid() and _is_marked(pid, folder)]


def _is_marked(pid: int, folder: Path) -> bool:
    whole = os.fsencode(f"{MARK}={folder}")
    return any(entry == whole or entry.startswith(whole + b"/") for entry in _environment(pid))


def _environment(pid: int) -> list[bytes]:
    """Entries of a process's environment; none if it is gone, a zombie or somebody else's."""
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def kill_marked(folder: Path) -> None:
    """End every process of workers of the folder, and wait until they are gone."""
    until = time.monotonic() + KILLING
    while time.monotonic() < until:
        found = marked(folder)
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(pid)
                try:
                    if _is_marked(pid, folder):  # still: now its id cannot be given away
                        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                finally:
                    os.close(descriptor)
        time.sleep(0.01)
