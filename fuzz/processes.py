# SPDX-License-Identifier: Apache-2.0
"""A worker's process and all that it started, as the kernel tells: how much memory they hold, and how to end them.

A process group is not enough: a daemon leaves it. Every process is found by an entry of its environment, which children
inherit; while the worker lives, also those that dropped it, because the worker adopts its orphans (see `fuzz.worker`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
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


def family_memory(pid: int) -> int:
    """Bytes that the process and its descendants hold; what they share counts more than once."""
    return sum(map(memory_of, (pid, *descendants(pid))))


def exceeds(pid: int, limit: int) -> bool:
    """Whether the process and its descendants hold more bytes than that; what they share counts once."""
    pids = (pid, *descendants(pid))
    # The exact figure takes milliseconds, and is below the other one.
    return sum(map(memory_of, pids)) > limit and (len(pids) == 1 or sum(map(_own_memory, pids)) > limit)


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
    whole = os.fsencode(f"{MARK}={folder}")
    return [
        pid
        for pid in map(int, filter(str.isdigit, os.listdir(_PROC)))
        if pid != os.getpid() and any(entry == whole or entry.startswith(whole + b"/") for entry in _environment(pid))
    ]


def _environment(pid: int) -> list[bytes]:
    """Entries of a process's environment; none if it is gone, a zombie or somebody else's."""
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


@contextlib.contextmanager
def held(find: Callable[[], Collection[int]]) -> Iterator[list[int]]:
    """Descriptors of the processes that `find` names: what they name stays the same, though an id is given away."""
    opened: dict[int, int] = {}
    try:
        for pid in find():
            with contextlib.suppress(OSError):
                opened[pid] = os.pidfd_open(pid)
        still = set(find()) if opened else set()  # the id may have been given away before it was opened
        yield [descriptor for pid, descriptor in opened.items() if pid in still]
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def kill(descriptors: Collection[int]) -> None:
    """SIGKILL to processes, by what `held` gave."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def kill_marked(folder: Path) -> None:
    """End every process of workers of the folder, and wait until they are gone."""
    until = time.monotonic() + KILLING
    while time.monotonic() < until:
        with held(lambda: marked(folder)) as found:
            if not found:
                return
            kill(found)
        time.sleep(0.01)
