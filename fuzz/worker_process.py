# SPDX-License-Identifier: Apache-2.0
"""One worker process seen from outside: its pipes, its log, its temporary files, its death.

It is a session of its own with its own TMPDIR and log. While it works it is watched: its deadline, its memory, the
size of its log and the space on the disk. Nothing that it says is believed before it is checked, and nothing that it
started outlives it. What runs inside is `fuzz.worker`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fuzz.case import Case, MeshfuzzError, to_plain
from fuzz.disk import out_of_space, remove, short_of_space, writing
from fuzz.growth import Growth
from fuzz.pipes import POLL, Misbehaved, Pipes, readable_size, unreadable
from fuzz.processes import MARK, Family, kill_marked
from fuzz.signature import last_meaningful_line
from fuzz.worker_log import WorkerLog
from oracles.localisation import PASS_LOG, Localisation, fatal_pass
from oracles.outcome import Outcome, Verdict
from oracles.stages import passes
from oracles.targets.config import TargetConfig, TargetUnavailable

WORKER = (sys.executable, "-m", "fuzz.worker")
EXPLAINING = 4.0  # deadlines: an explanation runs a case several times, and others like it
GRACE = 2.0  # seconds between SIGTERM and SIGKILL
EXIT_WAIT = 10.0  # seconds for a process that closed its pipe to finish dying, so that its signal is known
MEMORY_LIMIT = 4 << 30  # bytes that a worker may hold, with all that it started
NAME_LIMIT = 64  # characters of a stage
# Phases in which only our code and torch on the CPU run; the empty one is before the first.
OWN_STAGES = frozenset({"", "reference", "compare"})

Read = TypeVar("Read")


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
        fresh: bool,
        memory_limit: int = MEMORY_LIMIT,
    ) -> None:
        """Raises TargetUnavailable if there is no such command, FolderUnwritable."""
        self.number = number
        self.log = directory / "logs" / f"worker-{number}.log"
        self._directory = directory
        self._memory_limit = memory_limit
        self._growth = Growth(memory_limit)
        # What a target executes in software, our own executor executes.
        self._own_stages = OWN_STAGES | ({"execute"} if config.kind == "tt" and config.mock else set())
        with writing(directory):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            (directory / "tmp").mkdir(exist_ok=True)
            self._temporary = Path(tempfile.mkdtemp(prefix="worker-", dir=directory / "tmp"))
            self._identity = _identity(self._temporary)
            self._log = WorkerLog(self.log)
        self._reaping = threading.Lock()
        self._reaped = False
        self._given_up = False
        self._disk_full = False
        self._stage = ""
        self._pipes = Pipes()
        requests, reply_fd, lifeline = theirs = self._pipes.theirs()
        environment = {"TMPDIR": str(self._temporary), MARK: str(self._temporary), "PYTHONPATH": _python_path()}
        try:
            self._process = subprocess.Popen(
                command,
                stdin=requests,
                stdout=self._log.descriptor,
                stderr=self._log.descriptor,
                pass_fds=(reply_fd, lifeline),
                start_new_session=True,
                # Compilers leave files in the current folder. From there the worker must still find this code.
                cwd=self._temporary,
                env={**os.environ, **environment},
            )
        except OSError as error:
            self._close()
            remove(self._temporary)
            raise TargetUnavailable(f"worker cannot start: {error}") from error
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._family = Family(self._process.pid)
        settings = {"target": config.to_plain(), "reply_fd": reply_fd, "lifeline": lifeline, "fresh": fresh}
        self._pipes.write(settings, time.monotonic() + GRACE)

    def wait_until_ready(self, seconds: float) -> str:
        """Empty when the target is open, else how the process died. Raises TargetUnavailable if the worker says so."""
        try:
            reply = self._next_reply(time.monotonic() + seconds)
        except TimeoutError:
            self.stop()
            return f"no answer within {seconds:.0f} s"
        except Misbehaved as error:
            self.stop()
            return str(error)
        if reply is None:
            return self._death()
        if isinstance(said := reply.get("unavailable"), str):
            raise TargetUnavailable(said)
        if "ready" not in reply:
            return unreadable(reply)
        if 2 * (memory := self._family.memory()) > self._memory_limit:
            raise TargetUnavailable(
                f"the worker holds {readable_size(memory)} before its first case: of a limit of "
                f"{readable_size(self._memory_limit)} cases would get less than half; give it more (--memory)"
            )
        return ""

    def judge(self, case: Case, deadline: float) -> Outcome:
        """One case. The worker is not usable afterwards if it died or had to be stopped.

        Raises FolderUnwritable if the disk is full and stays so.
        """
        outcome = self._judged(case, deadline)
        return self._disk_was_full() if self._disk_full or short_of_space(self._directory) else outcome

    def _judged(self, case: Case, deadline: float) -> Outcome:
        began = time.monotonic()
        try:
            reply = self._ask("judge", (case,), began + deadline)
            if reply is not None:
                return _read(Outcome.from_plain, reply.get("outcome"))
            verdict, did, message = Verdict.CRASH, "died", self._death()
        except TimeoutError:
            verdict, did, message = Verdict.HANG, "hung", f"no answer within {deadline:g} s"
        except Misbehaved as error:
            verdict, did, message = Verdict.CRASH, "was stopped", str(error)
        self.stop()
        if self._stage in self._own_stages:
            verdict, message = Verdict.ENV, f"worker {did} outside the target: {message}"
        seconds = {self._stage or "start": round(time.monotonic() - began, 3)}
        return Outcome(verdict, self._stage, message, log=self._log.tail(), seconds=seconds)

    def answer(self, request: str, cases: Sequence[Case], deadline: float, read: Callable[[Any], Read]) -> Read:
        """What the worker replies to a request other than to judge, as `read` takes it. Raises Refused."""
        try:
            reply = self._ask(request, cases, time.monotonic() + deadline)
            if reply is None:
                raise Refused(self._death())
            if (refusal := reply.get("refused")) is not None:
                raise Refused(str(refusal))
            return _read(read, reply.get("answer"))
        except TimeoutError as error:
            self.stop()
            raise Refused(f"no answer within {deadline:g} s") from error
        except Misbehaved as error:
            self.stop()
            raise Refused(str(error)) from error

    def localise(self, case: Case, deadline: float) -> Localisation:
        """The pass in which the case fails. What the compiler printed is read here if it ended or stuck its process."""
        try:
            reply = self._ask("localise", (case,), time.monotonic() + deadline)
            if reply is not None and "refused" in reply:
                return Localisation(Verdict.ENV, unknown=str(reply["refused"]))
            if reply is not None:
                return _read(Localisation.from_plain, reply.get("answer"))
            verdict = Verdict.CRASH
        except TimeoutError:
            verdict = Verdict.HANG
        except Misbehaved:
            verdict = Verdict.CRASH
        self.stop()
        return fatal_pass(self._pass_log(), verdict)

    def _pass_log(self) -> passes.PassLog:
        try:
            with (self._temporary / PASS_LOG).open(encoding="utf-8", errors="replace") as stream:
                return passes.read(stream)
        except OSError:  # the process never came to compiling
            return passes.PassLog(())

    def _ask(self, request: str, cases: Sequence[Case], until: float) -> dict[str, Any] | None:
        """The answer to a request, keeping track of the stage; None if the process died.

        Raises TimeoutError, and Misbehaved.
        """
        self._stage = ""
        self._log.begin()
        self._pipes.ask({request: [to_plain(case) for case in cases]}, until)
        while (reply := self._next_reply(until)) is not None and "stage" in reply:
            self._stage = _read(_text, reply["stage"])
        # A dying process closes its pipe before its death can be waited for, and must not be asked again until then.
        self._given_up |= reply is None
        return reply

    @property
    def usable(self) -> bool:
        """Whether it can take a case."""
        if self._given_up or self._status(0) is not None or _identity(self._temporary) != self._identity:
            return False
        # What it says without being asked would be taken for the answer to the next request.
        return not self._pipes.waiting()

    def outgrown(self) -> bool:
        """Whether it has leaked so much that it is to be replaced. To be asked once after every case."""
        return self._growth.enough(self._family.memory())

    def dismiss(self) -> None:
        """Ask the process to end by closing its stdin. Does not wait."""
        self._pipes.dismiss()

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
        self._family.look()
        if not self._given_up:
            self.dismiss()
            self._status(GRACE)
        self.stop()
        kill_marked(self._temporary)
        with self._reaping:
            self._process.wait()
            self._reaped = True
        self._family.close()
        self._close()
        remove(self._temporary)

    def _close(self) -> None:
        self._pipes.close()
        self._log.close()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL, to the whole group: children may live when the leader is gone."""
        self._given_up = True
        if self._status(0) is None:
            self._family.look()  # some left the group, and only while it lives can it be told that they are its own
            self.signal_group(signal.SIGTERM)
            self._status(GRACE)
        self.signal_group(signal.SIGKILL)
        self._family.kill_descendants()

    def _next_reply(self, until: float) -> dict[str, Any] | None:
        """The next message; None if the process is dead.

        Raises TimeoutError at `until` (time.monotonic), and Misbehaved.
        """
        return self._pipes.next(until, self._watch)

    def _watch(self) -> bool:
        """Look after a process that works. Returns whether it is dead. Raises Misbehaved."""
        self._log.bound()
        if self._family.exceeds(self._memory_limit):
            raise Misbehaved(f"memory limit of {readable_size(self._memory_limit)} exceeded")
        if short_of_space(self._directory):
            self._disk_full = True
            raise Misbehaved("the disk is full")
        return self._status(0) is not None

    def _disk_was_full(self) -> Outcome:
        """Give back what this process wrote. What a compiler did without space tells nothing.

        Raises FolderUnwritable if that was not it.
        """
        self.stop()
        kill_marked(self._temporary)
        remove(self._temporary)
        until = time.monotonic() + GRACE  # other workers give back theirs
        while short_of_space(self._directory):
            if time.monotonic() >= until:
                raise out_of_space(self._directory)
            time.sleep(POLL)
        return Outcome(Verdict.ENV, self._stage, "the disk was full until the worker's files were removed")

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
        elif status.si_status in set(signal.Signals):
            cause = signal.Signals(status.si_status).name
        else:
            cause = f"signal {status.si_status}"  # one of the real-time signals, most of which have no name
        line = last_meaningful_line(self._log.tail())
        return f"{cause}: {line}" if line else cause


def _read(read: Callable[[Any], Read], plain: object) -> Read:
    """What a reply holds. Raises Misbehaved if it is something else."""
    try:
        return read(plain)
    except (MeshfuzzError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise Misbehaved(unreadable(plain)) from error


def _text(plain: object) -> str:
    if not isinstance(plain, str) or len(plain) > NAME_LIMIT:
        raise TypeError("no name")
    return plain


def _identity(folder: Path) -> tuple[int, int, bool] | None:
    """What changes when a folder is removed, replaced or locked; None if there is none."""
    try:
        found = folder.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_IRWXU == stat.S_IRWXU


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
