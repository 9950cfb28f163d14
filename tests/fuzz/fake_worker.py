# SPDX-License-Identifier: Apache-2.0
"""A worker whose target does what a case's options say. Speaks the real protocol through `fuzz.worker.serve`.

Options: `does` (pass, wrong, error, unsupported, segfault, kill, hang, raise, leak, child, flaky, linger, fill), `at`
(the stage), `message`, `needs` (the op without which the case passes), `note` (a file to append a line per run to; also
from the environment as FAKE_NOTE), `once` (flaky: a file that remembers that the case failed already), `bytes` (fill:
of a temporary file). FAKE_JITTER in the environment delays every case by up to so many seconds.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz.case import Case
from fuzz.worker import Service, serve
from oracles.explanation import Explanation
from oracles.localisation import PASS_LOG, Localisation
from oracles.outcome import UNEXPLAINED, Mismatch, Outcome, Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable

_KEPT: list[bytearray] = []


def open_fake(config: TargetConfig) -> str:
    """The config's plugin says how opening goes: `unavailable`, `crash`, or a file that makes only the first crash.

    What is in the file, if anything, is what every case does, whatever its options say.
    """
    print("noise on stdout that is not a reply", flush=True)
    if config.plugin == "unavailable":
        raise TargetUnavailable("no fake plugin: pip install nothing")
    if config.plugin == "crash":
        os.kill(os.getpid(), signal.SIGABRT)
    if config.plugin == "stuck":
        time.sleep(600)
    if config.plugin is not None and not Path(config.plugin).exists():
        Path(config.plugin).touch()
        sys.exit(9)
    said = (
        Path(config.plugin).read_text(encoding="utf-8", errors="replace").strip() if config.plugin is not None else ""
    )
    if said == "unavailable":
        raise TargetUnavailable(f"the plugin {config.plugin} does not start")
    return said or "fake"


def judge_fake(target: str, case: Case, on_stage: Callable[[str], None]) -> Outcome:
    """Announce the stages up to the one where the case's option says that something happens."""
    options = dict(case.options)
    note = options.get("note", os.environ.get("FAKE_NOTE"))
    if note is not None:
        with open(note, "a", encoding="utf-8") as stream:
            stream.write(f"{os.getpid()} {case.digest}\n")
    time.sleep(random.random() * float(os.environ.get("FAKE_JITTER", "0")))
    at = options.get("at", "compile")
    for stage in ("reference", "lower", "compile", "execute"):
        on_stage(stage)
        if stage == at:
            break
    does = options.get("does", "pass") if target == "fake" else target
    if "needs" in options and not any(node.op == options["needs"] for node in case.nodes):
        does = "pass"
    message = options.get("message", "")
    op = case.nodes[-1].op if case.nodes else ""
    match does:
        case "wrong":
            mismatch = Mismatch(case.outputs[0].name, 1, 2, 4, (("0, 1", "5", "7"),))
            return Outcome(Verdict.WRONG, "compare", op=op, pcc=0.5, mismatches=(mismatch,))
        case "error":
            return Outcome(Verdict.COMPILE_ERROR, at, message)
        case "unsupported":
            return Outcome(Verdict.UNSUPPORTED, at, message)
        case "flaky":
            return _fails_once(Path(options["once"]), at)
        case "raise":
            raise RuntimeError("a bug of ours")
        case "leak":
            _KEPT.append(bytearray(b"x") * (128 << 20))
        case "fill":
            Path(tempfile.gettempdir(), "full").write_bytes(bytes(int(options["bytes"])))
        case "child":
            subprocess.Popen(["sleep", "601"])
            os.kill(os.getpid(), signal.SIGSEGV)
        case "segfault":
            sys.stderr.write("loc(\"x\"): error: 'ttir.scatter' op went astray at 0x7f12\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGSEGV)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "linger":  # as a process does whose death takes time: its pipe is closed already
            os.closerange(3, 100)
            time.sleep(600)
        case "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
    return Outcome(Verdict.PASS, seconds={"compile": 0.001})


def export_fake(_: object, case: Case) -> dict[str, Any]:
    """A module that says which case it is of; refused where the case's option is to raise."""
    if dict(case.options).get("does") == "raise":
        raise RuntimeError("no module")
    return {"text": case.digest, "arguments": []}


def localise_fake(_: object, case: Case) -> dict[str, Any]:
    """Does what the case's options say, with a pass begun in the log."""
    log = Path(tempfile.gettempdir()) / PASS_LOG
    log.write_text("// -----// IR Dump Before FatalPass (fatal) ('builtin.module' operation: @m) //----- //\n")
    verdict = judge_fake("fake", case, lambda _: None).verdict
    return Localisation(verdict, ("FakePass (fake)",), "ttir").to_plain()


def explain_fake(_: object, case: Case, *larger: Case) -> dict[str, Any]:
    """Names the number of larger cases that came along; explains what the case's option names."""
    if dict(case.options).get("does") == "raise":
        raise RuntimeError("a bug of ours")
    model = dict(case.options).get("model", "")
    return Explanation(f"explained with {len(larger)} larger cases" if model else UNEXPLAINED, model).to_plain()


ANSWERS = {"explain": explain_fake, "export": export_fake, "localise": localise_fake}


def _fails_once(marker: Path, at: str) -> Outcome:
    if marker.exists():
        return Outcome(Verdict.PASS)
    marker.touch()
    return Outcome(Verdict.COMPILE_ERROR, at, "only the first time")


if __name__ == "__main__":
    sys.exit(serve(Service(open_fake, judge_fake, ANSWERS)))
