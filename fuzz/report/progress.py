# SPDX-License-Identifier: Apache-2.0
"""Progress of a campaign on stderr: one live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.live import Live
from rich.progress import track
from rich.text import Text

from fuzz.account import Snapshot
from fuzz.document import printable
from fuzz.store import SKIPPED
from oracles.outcome import Verdict

PLAIN_INTERVAL = 10.0  # seconds
Item = TypeVar("Item")


def line(snapshot: Snapshot) -> str:
    """One line: time, speed, verdicts, findings, time left."""
    speed = snapshot.run / snapshot.elapsed if snapshot.elapsed else 0.0
    order = [*map(str, Verdict), SKIPPED]
    counts = [f"{name} {snapshot.counts[name]}" for name in order if snapshot.counts[name]]
    parts = [clock(snapshot.elapsed), f"{snapshot.run} cases, {speed:.1f}/s", *counts, f"findings {snapshot.findings}"]
    for activity, number in (("reducing", snapshot.reducing), ("proving", snapshot.proving)):
        if number:
            parts.append(f"{activity} {number}")
    if snapshot.left is not None:
        parts.append(f"{clock(snapshot.left)} left")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def progress(snapshot: Callable[[], Snapshot]) -> Iterator[None]:
    """Show snapshots until the block ends."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(get_renderable=lambda: Text(line(snapshot())), console=console, transient=True):
            yield
        return
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(PLAIN_INTERVAL):
            print(line(snapshot()), file=sys.stderr, flush=True)

    reporter = threading.Thread(target=report, name="progress", daemon=True)
    reporter.start()
    try:
        yield
    finally:
        ended.set()
        reporter.join()


def counted(items: Iterable[Item], total: int, name: Callable[[Item], str]) -> Iterator[Item]:
    """Pass items on and show how many of `total` there were: a bar on a terminal, a line each elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(items, "", total, console=console, transient=True)
        return
    for number, item in enumerate(items, 1):
        print(printable(f"{number}/{total} {name(item)}"), file=sys.stderr, flush=True)
        yield item
