# SPDX-License-Identifier: Apache-2.0
"""What the tests of this folder share: modules of their own, and the TT compiler on a mock mesh."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.case import Mesh
from fuzz.pool import Pool
from oracles.targets.config import TargetConfig

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def tt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(TargetConfig("tt", Mesh((2, 2), ("x", "y"))), tmp_path_factory.mktemp("tt"), workers=1) as pool:
        yield pool
