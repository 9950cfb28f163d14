# SPDX-License-Identifier: Apache-2.0
"""Machines come and go, and the cases and findings of a campaign stay the same."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_campaign import campaign
from test_campaign import buckets, rows
from test_pool import alive_with

SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20}
# So that the death of a node is noticed within seconds; and workers must not starve beside other tests.
SYSTEM = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 2,
    "worker_niceness": 0,
}


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Three machines with one CPU each. Their folder has a short name: Ray has sockets in it."""
    with tempfile.TemporaryDirectory(prefix="mf-", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        patch.setenv("TMPDIR", folder)
        patch.setenv("FAKE_JITTER", "0.03")
        from ray.cluster_utils import Cluster

        nodes = Cluster(True, head_node_args={**SMALL, "include_dashboard": False, "_system_config": SYSTEM})
        for _ in range(2):
            nodes.add_node(**SMALL, wait=False)
        nodes.wait_for_nodes()
        patch.setenv("RAY_ADDRESS", nodes.address)
        yield nodes
        nodes.shutdown()


def test_three_machines_of_which_one_dies_while_another_joins_make_of_a_seed_what_one_makes(
    cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone, tmp_path = tmp_path / "alone", tmp_path / "many"
    campaign(alone, seed=3, cases=96)
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(campaign, tmp_path, seed=3, cases=96, engine="ray", workers=3)
        while not running.done() and (not (tmp_path / "campaign.db").exists() or len(rows(tmp_path)) < 24):
            time.sleep(0.05)
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
        cluster.add_node(**SMALL, wait=False)
        assert not running.done()
        running.result()
    assert rows(tmp_path) == rows(alone)
    assert buckets(tmp_path) == buckets(alone)
    printed = capfd.readouterr()
    assert "was lost; what it had in hand runs elsewhere" in printed.err
    assert printed.out == ""  # where a summary as JSON would be
    assert len(buckets(alone)) > 4
    stations, until = Path(os.environ["TMPDIR"]) / f"meshfuzz-{os.getuid()}", time.monotonic() + 10
    while alive_with(stations) and time.monotonic() < until:
        time.sleep(0.05)  # the workers of the machine that died end by themselves
    assert alive_with(stations) == []
