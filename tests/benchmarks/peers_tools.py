# SPDX-License-Identifier: Apache-2.0
"""The tools that `peers.py` compares: how each is installed in an environment of its own, and its driver's process."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oracles.targets.environment import locked

ROOT = Path(__file__).parents[2]
INSTALL_DEADLINE = 1800.0  # seconds


class ToolFailed(Exception):
    """A tool cannot be installed, or its driver gave no answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One side of the comparison."""

    name: str
    driver: str  # file beside this one
    # In this order, each by a pip of its own: what comes first decides which build the rest gets on with.
    requirements: tuple[tuple[str, ...], ...] = ()  # none: this Python


OURS = Tool("meshfuzz", "peers_meshfuzz.py")
# The newest of each on PyPI in November 2026. NNSmith bounds none of its requirements: these are the versions that ran.
NNSMITH = Tool(
    "NNSmith",
    "peers_nnsmith.py",
    (("torch==2.13.0", "numpy==2.4.6"), ("nnsmith[torch,onnx]==0.1.0", "z3-solver==5.4.1.0", "numpy==2.4.6")),
)
XLAXIOM = Tool("xlaxiom", "peers_xlaxiom.py", (("xlaxiom==2.1.0", "jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6"),))


def python_of(tool: Tool, environments: Path) -> Path:
    """The Python of the tool's environment, which is made if it is not there. Raises ToolFailed."""
    if not tool.requirements:
        return Path(sys.executable)
    digest = hashlib.sha256(repr((sys.version, tool.requirements)).encode()).hexdigest()[:8]
    folder = environments / f"{tool.name.lower()}-{digest}"
    environments.mkdir(parents=True, exist_ok=True)
    with locked(environments / f"{folder.name}.lock"):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            print(f"installing {tool.name} in {folder}", file=sys.stderr, flush=True)
            venv.create(folder, with_pip=True)
            for requirements in tool.requirements:
                _install(tool, folder, requirements)
            (folder / "complete").touch()
    return folder / "bin" / "python"


def _install(tool: Tool, folder: Path, requirements: tuple[str, ...]) -> None:
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input", *requirements]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_DEADLINE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ToolFailed(f"{tool.name} was not installed within {INSTALL_DEADLINE:.0f} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip gave no reason"]
        raise ToolFailed(f"{tool.name} cannot be installed: {lines[-1]}")


@dataclass
class Driver:
    """A driver, started by the first question, and again by the next one after its death. A context manager."""

    tool: Tool
    python: Path
    folder: Path  # for its log, its cache and its TMPDIR
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _buffer: bytes = field(default=b"", init=False)

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is None:
            return
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=30)
        self._kill()

    def _started(self) -> subprocess.Popen[bytes]:
        temporary = self.folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        # NNSmith keeps the dtypes that it found to work in the user's cache.
        own = {"TMPDIR": str(temporary)} | ({"XDG_CACHE_HOME": str(self.folder)} if self.tool.requirements else {})
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(self.python), str(Path(__file__).parent / self.tool.driver)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=temporary,
                env=os.environ | own | ({} if self.tool.requirements else {"PYTHONPATH": str(ROOT)}),
                start_new_session=True,
            )

    def ask(self, answer: str, deadline: float, **arguments: object) -> Any:
        """What the driver answers within so many seconds. Raises ToolFailed."""
        if self._process is None:
            self._process, self._buffer = self._started(), b""
        if self._process.stdin is None:
            raise ToolFailed(f"{self.tool.name}: its driver has no stdin")
        with contextlib.suppress(BrokenPipeError):  # its death is told below
            self._process.stdin.write((json.dumps({"ask": answer, **arguments}) + "\n").encode())
            self._process.stdin.flush()
        reply = json.loads(self._line(time.monotonic() + deadline, f"{answer} took more than {deadline:.0f} s"))
        if "failed" in reply:
            raise ToolFailed(f"{self.tool.name}: {answer} failed: {reply['failed']}")
        return reply["answer"]

    def _line(self, until: float, late: str) -> bytes:
        if self._process is None or self._process.stdout is None:
            raise ToolFailed(f"{self.tool.name}: its driver has no stdout")
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, until - time.monotonic())):
                    self._kill()
                    raise ToolFailed(f"{self.tool.name}: {late}")
                if not (read := os.read(self._process.stdout.fileno(), 1 << 16)):
                    status = self._kill()
                    raise ToolFailed(f"{self.tool.name}: its driver ended with {status}: {self._last_words()}")
                self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _last_words(self) -> str:
        lines = (self.folder / "log").read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no message")

    def _kill(self) -> int:
        """End it, unless it ended by itself: its exit code, or minus the signal."""
        if self._process is None:
            return 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=0.5)  # one that closed its pipe is about to end
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait()
        self._process = None
        return status
