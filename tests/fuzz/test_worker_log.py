# SPDX-License-Identifier: Apache-2.0
"""What a worker prints is kept, up to a limit."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz import worker_log
from fuzz.worker_log import WorkerLog


@pytest.mark.parametrize("done", [WorkerLog.begin, WorkerLog.bound, WorkerLog.close])
def test_of_a_log_that_grew_too_long_the_end_is_kept(tmp_path: Path, done: Callable[[WorkerLog], None]) -> None:
    log = WorkerLog(tmp_path / "log")
    os.ftruncate(log.descriptor, worker_log.LIMIT)
    os.write(log.descriptor, b"the end")
    done(log)
    kept = (tmp_path / "log").read_bytes()
    assert len(kept) == worker_log.TAIL
    assert kept.endswith(b"the end")
