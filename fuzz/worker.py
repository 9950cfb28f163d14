# SPDX-License-Identifier: Apache-2.0
"""The process in which cases run: `python -m fuzz.worker`, started and fed by `fuzz.pool`.

One JSON line of configuration on stdin, then one per request: `{"judge": [case]}`, `{"export": [case]}`,
`{"localise": [case]}` or `{"explain": [case, larger ones ..]}`. Replies are JSON lines on a file descriptor of their
own, because compilers print to stdout and stderr as they like: `{"ready": pid}` or `{"unavailable": reason}` once; to a
case to judge any number of `{"stage": name}` and one `{"outcome": {...}}`; to the other requests `{"answer": {...}}`
or `{"refused": reason}`. Each repeats the `token` of its request. End of stdin ends the worker, and so does, at once
and by the kernel, the end of the driver, who holds the other end of a pipe.

With `fresh` in the configuration each request is served by a process of its own, forked from this one, which has
imported everything and opened nothing: it opens the target, answers and ends.

This is the only module of the fuzzer that lets a compiler under test into its process.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import fcntl
import json
import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TextIO, TypeVar

from fuzz.case import Case
from fuzz.case_file import from_plain
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable

PR_SET_CHILD_SUBREAPER = 36  # of <linux/prctl.h>

Opened = TypeVar("Opened")
OnStage = Callable[[str], None]
Judge = Callable[[Opened, Case, OnStage], Outcome]
# Of a case, and for some requests of others like it.
Answer = Callable[..., dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Service(Generic[Opened]):
    """What a worker can do."""

    open_target: Callable[[TargetConfig], Opened]  # raises TargetUnavailable, ImportError
    judge: Judge[Opened]
    answers: Mapping[str, Answer]
    preload: Callable[[TargetConfig], None] = lambda config: None  # what is slow and opens nothing: imports


def serve(service: Service[Opened]) -> int:
    """Open the target, then answer requests until stdin ends. Returns the exit code."""
    # A crash is what we look for; core files of a process with a compiler in it would fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    requests = _own_requests()
    started = json.loads(requests.readline())
    _end_with_driver(started["lifeline"])
    _adopt_orphans()
    _die_first()
    config = TargetConfig.from_plain(started["target"])
    # Compilers start children of their own; the pipe must not stay open in them after this process is gone.
    os.set_inheritable(started["reply_fd"], False)
    with requests, os.fdopen(started["reply_fd"], "w", encoding="utf-8") as replies:
        target: Opened | None = None
        try:
            if started.get("fresh"):
                service.preload(config)
            else:
                target = service.open_target(config)
        except (TargetUnavailable, ImportError) as error:
            traceback.print_exc()
            _send(replies, {"unavailable": " ".join(str(error).split())})
            return 3
        _send(replies, {"ready": os.getpid()})
        # readline, not iteration: nothing may be read ahead of the case that runs.
        for line in iter(requests.readline, ""):
            if target is None:
                _in_child(partial(_reply_fresh, service, config, line, replies))
            else:
                _reply(service, target, line, replies)
    return 0


def _own_requests() -> TextIO:
    """The requests, taken away from stdin: a compiler or its child that reads there must not get them."""
    requests = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return requests


def _end_with_driver(lifeline: int) -> None:
    """Let the kernel end this process group when the other end of a pipe is closed.

    Nobody writes to it, so that its signal can only mean that the driver is gone. No thread of this process has to run
    for that, and a compiler may hold the interpreter lock for as long as it likes. (PR_SET_PDEATHSIG would end a worker
    with the thread that started it.)
    """
    os.set_inheritable(lifeline, False)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # before the signal was set
        os._exit(1)


def _adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends: a daemon can then be counted, and ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_first() -> None:
    """When the machine has no memory left, the kernel should take this process, not the driver or a user's."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as stream:
        stream.write("1000")


def _reply_fresh(service: Service[Opened], config: TargetConfig, line: str, replies: TextIO) -> None:
    try:
        target = service.open_target(config)
    except (TargetUnavailable, ImportError) as error:
        traceback.print_exc()
        said = " ".join(str(error).split())
        judged = "judge" in json.loads(line)
        answer = {"outcome": Outcome(Verdict.ENV, "start", said).to_plain()} if judged else {"refused": said}
        _send(replies, {**answer, "token": json.loads(line)["token"]})
    else:
        _reply(service, target, line, replies)


def _reply(service: Service[Opened], target: Opened, line: str, replies: TextIO) -> None:
    asked = json.loads(line)
    token = {"token": asked.pop("token")}
    ((request, cases),) = asked.items()
    if request == "judge":
        answer = _judge_one(target, service.judge, cases[0], lambda name: _send(replies, {"stage": name, **token}))
    else:
        answer = _answer(target, service.answers[request], cases)
    _send(replies, {**answer, **token})


def _in_child(work: Callable[[], None]) -> None:
    """Do it in a process forked from this one, and if that dies end as it did, for the driver to see."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # without the exit handlers of the parent's threads and libraries
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        signal.signal(os.WTERMSIG(ended), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(ended))
    if ended:
        os._exit(os.waitstatus_to_exitcode(ended))


def _judge_one(target: Opened, judge: Judge[Opened], case: object, announce: OnStage) -> dict[str, Any]:
    stage = ""

    def on_stage(name: str) -> None:
        nonlocal stage
        stage = name
        announce(name)

    try:
        outcome = judge(target, from_plain(case), on_stage)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever escapes the judge is our fault, and the worker can go on
        outcome = Outcome(Verdict.ENV, stage, _first_line(error), log=traceback.format_exc())
    return {"outcome": outcome.to_plain()}


def _answer(target: Opened, answer: Answer, cases: list[object]) -> dict[str, Any]:
    try:
        return {"answer": answer(target, *map(from_plain, cases))}
    except Exception as error:  # noqa: BLE001 - a finding goes without a script or a pass, and the worker can go on
        traceback.print_exc()
        return {"refused": _first_line(error)}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _send(replies: TextIO, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def main() -> int:
    """Serve the target named in the configuration."""
    from oracles.judge import judge, open_target, preload, settle_process

    settle_process()  # before what follows imports a compiler
    from oracles.explain import explain
    from oracles.export import export
    from oracles.localise import localise

    return serve(Service(open_target, judge, {"explain": explain, "export": export, "localise": localise}, preload))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        # The driver is gone: nobody is left to tell.
        os._exit(1)
