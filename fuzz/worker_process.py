# SPDX-License-Identifier: Apache-2.0
"""One worker process seen from outside: its pipes, its log, its temporary files, its death.

It is a session of its own with its own TMPDIR and log, and is ended by process group, so that nothing it started
outlives it. What runs inside is `fuzz.worker`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fuzz.case import Case, MeshfuzzError, to_plain
from fuzz.signature import last_meaningful_line
from oracles.localisation import PASS_LOG, Localisation, fatal_pass
from oracles.outcome import Outcome, Verdict
from oracles.stages import passes
from oracles.targets.config import TargetConfig, TargetUnavailable

WORKER = (sys.executable, "-m", "fuzz.worker")
ABANDON_MARGIN = 30.0  # seconds beyond the deadline after which a worker without a driver ends itself
EXPLAINING = 4.0  # deadlines: an explanation runs a case several times, and others like it
GRACE = 2.0  # seconds between SIGTERM and SIGKILL
EXIT_WAIT = 10.0  # seconds for a process that closed its pipe to finish dying, so that its signal is known
TAIL_BYTES = 16 << 10
LOG_LIMIT = 16 << 20  # bytes; a longer log is cut between two cases
POLL = 0.25  # seconds between looks at a process that keeps silent
# Phases in which only our code and torch on the CPU run; the empty one is before the first.
OWN_STAGES = frozenset({"", "reference", "compare"})


class Refused(MeshfuzzError):
    """The worker gave no answer; the message says why."""


class WorkerProcess:
    """One worker process and its pipes. Used by one thread at a time, except for `signal_group`."""

    def __init__(
        self,
        command: Sequence[str],
        config: TargetConfig,
        directory: Path,
        number: int,
        deadline: float,
        fresh: bool,
    ) -> None:
        self.number = number
        self.log = directory / "logs" / f"worker-{number}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        (directory / "tmp").mkdir(exist_ok=True)
        self._temporary = Path(tempfile.mkdtemp(prefix="worker-", dir=directory / "tmp"))
        self._reaping = threading.Lock()
        self._reaped = False
        self._given_up = False
        self._stage = ""
        self._buffer = b""
        self._replies, reply_fd = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._replies, selectors.EVENT_READ)
        try:
            with self.log.open("ab") as stream:
                self._log_start = stream.tell()
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=stream,
                    stderr=stream,
                    pass_fds=(reply_fd,),
                    start_new_session=True,
                    # Compilers leave files in the current folder. From there the worker must still find this code.
                    cwd=self._temporary,
                    env={**os.environ, "TMPDIR": str(self._temporary), "PYTHONPATH": _python_path()},
                )
        except OSError as error:
            os.close(self._replies)
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise TargetUnavailable(f"worker cannot start: {error}") from error
        finally:
            os.close(reply_fd)
        self._write(
            {
                "target": config.to_plain(),
                "reply_fd": reply_fd,
                "abandon_after": EXPLAINING * deadline + ABANDON_MARGIN,
                "fresh": fresh,
            }
        )

    def wait_until_ready(self, seconds: float) -> str:
        """Empty when the target is open, else how the process died. Raises TargetUnavailable if the worker says so."""
        try:
            reply = self._next_reply(time.monotonic() + seconds)
        except TimeoutError:
            self.stop()
            return f"no answer within {seconds:.0f} s"
        if reply is None:
            return self._death()
        if "unavailable" in reply:
            raise TargetUnavailable(reply["unavailable"])
        return ""

    def judge(self, case: Case, deadline: float) -> Outcome:
        """One case. The worker is not usable afterwards if it died or had to be stopped."""
        began = time.monotonic()
        try:
            reply = self._ask("judge", (case,), began + deadline)
            if reply is not None:
                return Outcome.from_plain(reply["outcome"])
            verdict, message = Verdict.CRASH, self._death()
        except TimeoutError:
            verdict, message = Verdict.HANG, f"no answer within {deadline:g} s"
        self.stop()
        if self._stage in OWN_STAGES:
            message = f"worker {'died' if verdict is Verdict.CRASH else 'hung'} outside the target: {message}"
            verdict = Verdict.ENV
        seconds = {self._stage or "start": round(time.monotonic() - began, 3)}
        return Outcome(verdict, self._stage, message, log=self._tail(), seconds=seconds)

    def answer(self, request: str, cases: Sequence[Case], deadline: float) -> dict[str, Any]:
        """What the worker replies to a request other than to judge. Raises Refused."""
        try:
            reply = self._ask(request, cases, time.monotonic() + deadline)
            refusal = self._death() if reply is None else reply.get("refused")
        except TimeoutError:
            reply, refusal = None, f"no answer within {deadline:g} s"
            self.stop()
        if reply is None or refusal is not None:
            raise Refused(refusal)
        answer: dict[str, Any] = reply["answer"]
        return answer

    def localise(self, case: Case, deadline: float) -> Localisation:
        """The pass in which the case fails. What the compiler printed is read here if it ended or stuck its process."""
        try:
            reply = self._ask("localise", (case,), time.monotonic() + deadline)
            verdict = Verdict.CRASH
        except TimeoutError:
            reply, verdict = None, Verdict.HANG
            self.stop()
        if reply is None:
            return fatal_pass(self._pass_log(), verdict)
        if "refused" in reply:
            return Localisation(Verdict.ENV, unknown=str(reply["refused"]))
        return Localisation.from_plain(reply["answer"])

    def _pass_log(self) -> passes.PassLog:
        try:
            with (self._temporary / PASS_LOG).open(encoding="utf-8", errors="replace") as stream:
                return passes.read(stream)
        except OSError:  # the process never came to compiling
            return passes.PassLog(())

    def _ask(self, request: str, cases: Sequence[Case], until: float) -> dict[str, Any] | None:
        """The answer to a request, keeping track of the stage; None if the process died. Raises TimeoutError."""
        self._stage = ""
        self._log_start = self._bounded_log()
        self._write({request: [to_plain(case) for case in cases]})
        while (reply := self._next_reply(until)) is not None and "stage" in reply:
            self._stage = str(reply["stage"])
        # A dying process closes its pipe before its death can be waited for, and must not be asked again until then.
        self._given_up |= reply is None
        return reply

    @property
    def usable(self) -> bool:
        """Whether it can take a case."""
        return not self._given_up and self._status(0) is None

    def resident_bytes(self) -> int:
        """Memory the process occupies; 0 if it is gone."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def dismiss(self) -> None:
        """Ask the process to end by closing its stdin. Does not wait."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and all it started. May be called from any thread."""
        with self._reaping:
            # Not reaped: even if every process of the group is gone, its id cannot have been given away.
            if not self._reaped:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)

    def end(self) -> None:
        """End the process and everything it started; remove its temporary files."""
        if self._reaped:
            return
        if not self._given_up:
            self.dismiss()
            self._status(GRACE)
        self.stop()
        with self._reaping:
            self._process.wait()
            self._reaped = True
        self.dismiss()
        self._selector.close()
        os.close(self._replies)
        # What cannot be removed must not hide the outcome of the case.
        shutil.rmtree(self._temporary, ignore_errors=True)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL, to the whole group: children may live when the leader is gone."""
        self._given_up = True
        if self._status(0) is None:
            self.signal_group(signal.SIGTERM)
            self._status(GRACE)
        self.signal_group(signal.SIGKILL)

    def _next_reply(self, until: float) -> dict[str, Any] | None:
        """The next message; None if the process is dead. Raises TimeoutError at `until` (time.monotonic)."""
        while b"\n" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if self._selector.select(min(left, POLL)):
                chunk = os.read(self._replies, 1 << 16)
                if not chunk:
                    return None
                self._buffer += chunk
            elif self._status(0) is not None:
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _write(self, message: dict[str, Any]) -> None:
        stdin = self._process.stdin
        if stdin is not None:
            # A dead reader is noticed, with its cause, where the reply is read.
            with contextlib.suppress(BrokenPipeError):
                stdin.write(json.dumps(message).encode() + b"\n")
                stdin.flush()

    def _status(self, seconds: float) -> os.waitid_result | None:
        """How the process ended, waiting up to `seconds`; None while it runs. Leaves it unreaped."""
        until = time.monotonic() + seconds
        while True:
            status = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if status is not None or time.monotonic() >= until:
                return status
            time.sleep(0.01)

    def _death(self) -> str:
        """What the process died of, in one line."""
        status = self._status(EXIT_WAIT)
        if status is None:
            cause = "closed its replies"
        elif status.si_code == os.CLD_EXITED:
            cause = f"exit code {status.si_status}"
        else:
            cause = signal.Signals(status.si_status).name
        line = last_meaningful_line(self._tail())
        return f"{cause}: {line}" if line else cause

    def _bounded_log(self) -> int:
        """Cut the log if it has grown too long; returns its length in bytes."""
        size = self.log.stat().st_size
        if size > LOG_LIMIT:
            os.truncate(self.log, 0)
            return 0
        return size

    def _tail(self) -> str:
        """The end of what the process printed since the case began."""
        with self.log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(self._log_start, size - TAIL_BYTES))
            return stream.read().decode(errors="replace")


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
