# SPDX-License-Identifier: Apache-2.0
"""Tests marked `tt` need a Tenstorrent plugin, which not every machine can install."""

import re

import pytest
from hypothesis import HealthCheck, settings

from fuzz.case import OPTIONS
from oracles.targets.config import TargetUnavailable
from oracles.targets.environment import find_tt_plugin

# No test is timed: machines are shared, and a slow moment says nothing about the code.
settings.register_profile("untimed", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


# What tests/fuzz/fake_worker.py does with a case is said in its options; no target has them, so no file may.
FAKE_OPTIONS = ("at", "does", "message", "model", "needs", "note", "number", "once")


@pytest.fixture(autouse=True)
def options_of_the_fake_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets files have them."""
    for name in FAKE_OPTIONS:
        monkeypatch.setitem(OPTIONS, name, re.compile(r".*", re.DOTALL))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("tt") is None:
        return
    try:
        find_tt_plugin()
    except TargetUnavailable as error:
        pytest.skip(str(error))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: workers that share the files out should end at the same time."""
    slow = {item.path for item in items if item.get_closest_marker("tt")}
    items.sort(key=lambda item: item.path not in slow)
