# SPDX-License-Identifier: Apache-2.0
"""Every source file says its licence, generated scripts included."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("fuzz", "oracles", "repros", "tests") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_licence_stands_in_the_first_two_lines(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()[:2]
    assert "# SPDX-License-Identifier: Apache-2.0" in lines
