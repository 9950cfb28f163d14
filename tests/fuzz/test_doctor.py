# SPDX-License-Identifier: Apache-2.0
"""What the doctor says, with a worker that only pretends to have a target."""

import sys
from pathlib import Path

import pytest

from fuzz import doctor as module
from fuzz.doctor import doctor

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
MISSING = (sys.executable, "-c", "import sys; sys.exit(1)")


def test_every_target_and_version_is_named_and_ok_where_workers_start() -> None:
    checks = {check.name: check for check in doctor(FAKE)}
    assert {"python", "torch", "torch_xla", "jax", "jaxlib", "TT plugin", "chips", "disk"} <= set(checks)
    assert sum(name.startswith("target ") for name in checks) == 3
    assert all(check.ok for name, check in checks.items() if name != "TT plugin")


def test_a_target_that_does_not_start_fails_its_check_with_a_reason() -> None:
    broken = [check for check in doctor(MISSING) if check.name.startswith("target ")]
    assert len(broken) == 3
    assert not any(check.ok for check in broken)
    assert all(check.detail and check.remedy for check in broken)


def test_a_full_disk_fails_its_check_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DISK_NEEDED", 1 << 62)
    disk = next(check for check in doctor(FAKE) if check.name == "disk")
    assert not disk.ok
    assert "TMPDIR" in disk.remedy
