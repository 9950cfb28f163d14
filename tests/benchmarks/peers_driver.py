# SPDX-License-Identifier: Apache-2.0
"""What the drivers of `peers.py` share. A driver runs in its tool's own environment, so only the standard library here.

A request is a JSON line with the name of an answer under `ask` and its arguments; the reply is one with `answer` or
`failed`. A graph is a list of [op, positions of the nodes it reads], in the order in which the tool executes it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Graph = list[tuple[str, list[int]]]


def serve(answers: Mapping[str, Callable[..., Any]]) -> None:
    """Answer requests until stdin ends."""
    # Tools and compilers print to stdout, which becomes stderr.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(2, 1)
        for line in iter(sys.stdin.readline, ""):
            request = json.loads(line)
            try:
                reply = {"answer": answers[request.pop("ask")](**request)}
            except Exception as error:  # noqa: BLE001 - told to whoever asked, who reports it
                traceback.print_exc()
                reply = {"failed": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"}
            replies.write(json.dumps(reply) + "\n")
            replies.flush()


@dataclass
class Clock:
    """Seconds spent in `running` blocks."""

    seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began


def versions(*distributions: str) -> dict[str, str]:
    """Of Python and the named distributions."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in distributions}


def mentions(package: Path, pattern: str, without: Sequence[str] = ()) -> list[str]:
    """The modules of a package in whose source the pattern occurs, by path."""
    found = re.compile(pattern, re.MULTILINE)
    return sorted(
        str(path.relative_to(package.parent))
        for path in package.rglob("*.py")
        if path.name not in without and found.search(path.read_text(encoding="utf-8"))
    )
