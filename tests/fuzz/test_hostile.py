# SPDX-License-Identifier: Apache-2.0
"""Whatever the target does, every case gets its verdict, nothing is lost and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_campaign import ACTS, LIES, campaign
from hostile_worker import ACTS as DONE

from fuzz import worker_process


def test_every_behaviour_has_a_verdict_to_expect() -> None:
    assert ACTS.keys() == DONE.keys()


def test_a_hostile_process_gets_its_verdict_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "EXIT_WAIT", 0.5)
    assert campaign(tmp_path, len(ACTS)) == []


def test_a_target_that_lies_is_found_out_by_the_judge(tmp_path: Path) -> None:
    assert campaign(tmp_path, 2 * len(LIES), judged=True, deadline=30.0, workers=1) == []
