# SPDX-License-Identifier: Apache-2.0
"""A worker whose target is an enemy. What a case's option `does` names is done to the worker, its driver or its folder.

python hostile_worker.py [judged]

With `judged` the target only lies: it returns what no target should, to the real judge. HOSTILE_OUTSIDE in the
environment names a folder that must not be touched; the ids of processes that are started are written to `pids` in it.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fuzz.case import Case
from fuzz.worker import Service, serve
from oracles.explanation import Explanation
from oracles.outcome import UNEXPLAINED, Outcome, Verdict
from oracles.targets.config import TargetConfig

LEAK = 24 << 20
GREED = 1536 << 20  # far beyond the limit of the tests, and no danger to the machine if nobody looks
FLOOD = 96 << 20
FOREVER = 600.0

_kept: list[bytearray] = []
_request: dict[str, Any] = {}
_reply_fd = 0


def _serve_and_listen(service: Service[Any]) -> int:
    """Serve, and know what a target cannot know honestly: the pipe to the driver, and the token of the request."""
    load = json.loads

    def overheard(text: Any) -> Any:
        global _reply_fd
        plain = load(text)
        if isinstance(plain, dict):
            _reply_fd = plain.get("reply_fd", _reply_fd)
            _request.update(plain)
        return plain

    json.loads = overheard
    return serve(service)


def _say(text: bytes | dict[str, Any]) -> None:
    left = text if isinstance(text, bytes) else json.dumps({**text, "token": _request["token"]}).encode() + b"\n"
    while left:
        left = left[os.write(_reply_fd, left) :]


# --- what is done; `hostile_campaign` has the verdict that it must get ------------------------------------------------


def _abort() -> None:
    sys.stderr.write("terminate called after throwing an instance of 'std::bad_alloc'\n")
    sys.stderr.flush()
    os.abort()


def _hang_with_lock() -> None:
    ctypes.PyDLL(None).sleep(600)  # holds the interpreter lock: no other thread of Python runs


def _ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(FOREVER)


def _raise() -> None:
    raise ZeroDivisionError("a bug of the target")


def _eat() -> None:
    for _ in range(GREED // LEAK):
        _kept.append(bytearray(b"x") * LEAK)
    time.sleep(FOREVER)


def _let_child_eat() -> None:
    _in_daemon(_eat)
    time.sleep(FOREVER)


def _in_daemon(work: Callable[[], None]) -> None:
    """In a process that nobody waits for, in a session of its own."""
    sys.stdout.flush()
    if os.fork() == 0:
        os.setsid()
        if (daemon := os.fork()) == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            work()
        else:
            _note(daemon)
        os._exit(0)
    os.wait()


def _note(pid: int) -> None:
    with (Path(os.environ["HOSTILE_OUTSIDE"]) / "pids").open("a") as stream:
        stream.write(f"{pid}\n")


def _sleep() -> None:
    time.sleep(FOREVER)


def _leave_child() -> None:
    _note(subprocess.Popen(["sleep", "600"]).pid)


def _leave_daemon() -> None:
    _in_daemon(_close_everything)  # as daemons do; what one does that holds the pipe open is an act of its own


def _leave_daemon_and_die() -> None:
    _in_daemon(_sleep)
    os.kill(os.getpid(), signal.SIGSEGV)


def _leave_daemon_without_a_name() -> None:
    """It drops the environment, by which daemons are found when their parents are gone."""
    _in_daemon(lambda: os.execve(shutil.which("sleep") or "", ["sleep", "600"], {}))


def _let_child_write_and_die() -> None:
    if os.fork() == 0:
        _note(os.getpid())
        while True:
            os.write(_reply_fd, b"\x00")
            time.sleep(0.01)
    os._exit(9)


def _flood_stdout() -> None:
    line = b"error: " + b"y" * 4088 + b"\n"
    for _ in range(FLOOD // len(line)):
        os.write(1, line)


def _flood_stdout_forever() -> None:
    until = time.monotonic() + FOREVER
    while time.monotonic() < until:
        os.write(2, b"z" * 4096)
        time.sleep(0.00002)


def _announce_forever() -> None:
    while True:
        _say({"stage": "compile"})


def _write_much() -> None:
    while True:
        os.write(_reply_fd, b"a" * (1 << 16))


def _write_partly_and_die() -> None:
    os.write(_reply_fd, b'{"outcome": {"verdict": "PA')
    os._exit(7)


def _answer_twice() -> None:
    plain = json.dumps({"outcome": Outcome(Verdict.PASS).to_plain(), "token": _request["token"]})
    _say(f"{plain}\n{plain}\n".encode())


def _close_what_daemon_holds() -> None:
    _in_daemon(_sleep)
    _close_everything()


def _close_everything() -> None:
    os.closerange(3, 256)
    time.sleep(FOREVER)


def _read_stdin() -> None:
    subprocess.run(["cat"], check=True)
    os.read(0, 1 << 16)


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _remove_temporary() -> None:
    subprocess.run(["rm", "-rf", _temporary()], check=False)  # whatever an earlier case left in it


def _lock_temporary() -> None:
    _temporary().chmod(0)


def _fill_temporary() -> None:
    for number in range(300):
        folder = _temporary() / f"d{number % 10}" / "deeper"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").write_bytes(b"x" * 4096)


def _link_from_temporary() -> None:
    outside = os.environ["HOSTILE_OUTSIDE"]
    (_temporary() / "inside").mkdir(exist_ok=True)
    for place in ("link", "inside/link"):
        (_temporary() / f"{place}-{time.monotonic_ns()}").symlink_to(outside)
    (_temporary() / f"file-{time.monotonic_ns()}").symlink_to(Path(outside) / "precious")


def _replace_temporary() -> None:
    _remove_temporary()
    _temporary().symlink_to(os.environ["HOSTILE_OUTSIDE"])


def _lock_folders_in_temporary() -> None:
    folder = _temporary() / f"locked-{time.monotonic_ns()}"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "file").touch()
    (folder / "in").chmod(0o500)
    folder.chmod(0)


def _dig_in_temporary() -> None:
    here = os.getcwd()
    os.chdir(_temporary())
    for _ in range(1100):  # Python's own limit is 1,000
        os.mkdir("d")
        os.chdir("d")
    os.chdir(here)


def _remove_log() -> None:
    os.unlink(os.readlink("/proc/self/fd/1"))
    os.kill(os.getpid(), signal.SIGSEGV)


ACTS: Mapping[str, Callable[[], object]] = {
    "pass": lambda: None,
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": _abort,
    "raise": _raise,
    "exit 0": lambda: os._exit(0),
    "real-time signal": lambda: os.kill(os.getpid(), 40),
    "hang": _sleep,
    "hang with the lock": _hang_with_lock,
    "ignore SIGTERM": _ignore_sigterm,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "leak": lambda: _kept.append(bytearray(b"x") * LEAK),
    "eat": _eat,
    "eat in a child": _let_child_eat,
    "eat in the reference": _eat,
    "bytes": lambda: _say(b"\x7fELF\x02\xff\xfe\n"),
    "much": _write_much,
    "a list": lambda: _say(b"[1, 2]\n"),
    "deep": lambda: _say(b"[" * 100_000 + b"\n"),
    "no outcome": lambda: _say({"outcome": 5}),
    "an unknown verdict": lambda: _say({"outcome": {"verdict": "GREAT"}}),
    "a wrong field": lambda: _say({"outcome": {"verdict": "PASS", "message": 5}}),
    "half a character": lambda: _say({"outcome": {"verdict": "COMPILE_ERROR", "message": "\ud800"}}),
    "an answer to nobody": lambda: _say(b'{"outcome": {"verdict": "PASS"}, "token": "0"}\n'),
    "somebody else's protocol": lambda: _say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "a stage that is none": lambda: _say({"stage": ["compile"]}),
    "part": _write_partly_and_die,
    "twice": _answer_twice,
    "stages forever": _announce_forever,
    "close": _close_everything,
    "close what a daemon holds": _close_what_daemon_holds,
    "read": _read_stdin,
    "flood": _flood_stdout,
    "flood forever": _flood_stdout_forever,
    "child": _leave_child,
    "daemon": _leave_daemon,
    "daemon and die": _leave_daemon_and_die,
    "nameless daemon": _leave_daemon_without_a_name,
    "child writes": _let_child_write_and_die,
    "remove TMPDIR": _remove_temporary,
    "lock TMPDIR": _lock_temporary,
    "fill TMPDIR": _fill_temporary,
    "link TMPDIR": _link_from_temporary,
    "replace TMPDIR": _replace_temporary,
    "lock in TMPDIR": _lock_folders_in_temporary,
    "dig in TMPDIR": _dig_in_temporary,
    "remove the log": _remove_log,
}


def act(_: object, case: Case, on_stage: Callable[[str], None]) -> Outcome:
    does = dict(case.options)["does"]
    on_stage("reference")
    if does != "eat in the reference":
        on_stage("compile")
    ACTS[does]()
    return Outcome(Verdict.PASS)


def explain(_: object, *cases: Case) -> dict[str, Any]:
    return Explanation(UNEXPLAINED).to_plain()


def judged_service() -> Service[Any]:
    """The real judge before a target whose results are lies."""
    import torch

    from oracles.judge import judge
    from oracles.reference import reference
    from oracles.targets.base import Block, Observation, TargetFailure

    def spoil(does: str, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        match does:
            case "NaN":
                return tuple(replace(block, values=block.values * float("nan")) for block in blocks)
            case "a wrong shape":
                return tuple(replace(block, values=block.values[1:]) for block in blocks)
            case "a wrong rank":
                return tuple(replace(block, values=block.values[0]) for block in blocks)
            case "too large":
                return tuple(replace(block, values=torch.cat([block.values] * 2)) for block in blocks)
            case "too few devices":
                return blocks[:1]
            case "no devices":
                return ()
            case "one device twice":
                return (blocks[0], *blocks[:-1])
            case "integers":
                return tuple(replace(block, values=block.values.long()) for block in blocks)
            case "one wrong replica":
                return (*blocks[:-1], replace(blocks[-1], values=blocks[-1].values + 1))
        return blocks

    class Liar:
        config = TargetConfig("cpu", mock=False)
        runs = 0
        fewer = False

        def run(self, case: Case, inputs: Mapping[str, torch.Tensor], on_stage: Callable[[str], None]) -> Observation:
            self.runs += 1
            does = dict(case.options)["does"]
            on_stage("compile")
            if does == "an error":
                raise TargetFailure(Verdict.COMPILE_ERROR, "compile", "error: it does not compile")
            if does == "raise":
                raise ZeroDivisionError("a bug of ours")
            expected = reference(case, dict(inputs))
            outputs = []
            for output in case.outputs:
                values = expected[output.name].values.to(torch.float32)
                blocks = tuple(Block(device, (0,) * values.dim(), values) for device in range(case.mesh.size))
                if does == "fewer devices now and then":
                    self.fewer = not self.fewer  # a result that is wrong is looked at twice
                    blocks = blocks[:1] if self.fewer else blocks
                if does == "other values each time":
                    blocks = tuple(replace(block, values=block.values + self.runs) for block in blocks)
                outputs.append(spoil(does, blocks))
            on_stage("execute")
            return Observation(() if does == "no outputs" else tuple(outputs))

    return Service(lambda config: Liar(), judge, {"explain": explain})


if __name__ == "__main__":
    if sys.argv[1:] == ["judged"]:
        sys.exit(serve(judged_service()))
    sys.exit(_serve_and_listen(Service(lambda config: "enemy", act, {"explain": explain})))
