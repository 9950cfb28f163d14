# SPDX-License-Identifier: Apache-2.0
"""Runs an emitted script where nothing of ours can help or hinder it: the only judge of whether it is a repro."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fuzz.case import MeshfuzzError
from fuzz.scratch import scratch

CORRECT, BUG_PRESENT, CANNOT_RUN = 0, 1, 77
MEANINGS = {CORRECT: "correct", BUG_PRESENT: "bug present", CANNOT_RUN: "cannot run here"}
TIMEOUT = 300.0  # seconds
OUTPUT_LIMIT = 4000  # characters
# Ours, or set for a worker: a maintainer's shell has none of them.
DROPPED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PJRT_DEVICE", "JAX_PLATFORMS", "XLA_FLAGS")


class ProveError(MeshfuzzError):
    """The script could not be started."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One run of a script. Only exit code 1 makes it a repro."""

    exit_code: int  # negative: the signal that ended it, as in subprocess
    output: str  # the end of stdout and stderr together
    seconds: float
    meaning: str

    @property
    def reproduces(self) -> bool:
        return self.exit_code == BUG_PRESENT


def prove(
    script: Path,
    *,
    timeout: float = TIMEOUT,
    environment: Mapping[str, str] | None = None,
) -> Proof:
    """Run the script in a clean interpreter and process group, with a TMPDIR of its own that is removed afterwards.

    `timeout` in seconds; then the whole group is killed. `environment` is added to this process's, less what only we
    set. Raises ProveError if the script cannot be started.
    """
    script = script.resolve()
    if not script.is_file():
        raise ProveError(f"script {script} does not exist")
    variables = {name: value for name, value in os.environ.items() if name not in DROPPED} | dict(environment or {})
    began = time.monotonic()
    with scratch() as folder:
        temporary = folder / "tmp"
        temporary.mkdir()
        with (folder / "output").open("w+b") as output:
            try:
                process = subprocess.Popen(
                    # -P: neither the script's folder nor the working folder offers modules; site-packages stay.
                    [sys.executable, "-P", str(script)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=variables | {"TMPDIR": str(temporary)},
                    cwd=temporary,
                    start_new_session=True,
                )
            except OSError as error:
                raise ProveError(f"script {script} cannot be started: {error.strerror}") from error
            try:
                code, meaning = _finished(process, timeout)
            finally:
                _end_group(process)
            output.seek(0)
            text = output.read().decode(errors="replace")
    return Proof(code, text[-OUTPUT_LIMIT:], time.monotonic() - began, meaning)


def _finished(process: subprocess.Popen[bytes], timeout: float) -> tuple[int, str]:
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL, f"no answer within {timeout:.0f} s"
    if code < 0:
        return code, f"died of {signal.Signals(-code).name}"
    return code, MEANINGS.get(code, f"unknown exit code {code}")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Also what the script started and left behind. The group is gone if nothing is left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
