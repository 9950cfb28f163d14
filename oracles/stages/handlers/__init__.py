# SPDX-License-Identifier: Apache-2.0
"""What every op means, one module per family. Importing this package fills the machine's table."""

from oracles.stages.handlers import (  # noqa: F401 - imported for their registrations
    caches,
    calls,
    collectives,
    creation,
    elementwise,
    indexing,
    layouts,
    ordering,
    products,
    reductions,
    rows,
    shapes,
    shardy,
)
from oracles.stages.machine import HANDLERS


def understood() -> dict[str, list[str]]:
    """Which dialects each op name serves: the table of what can be executed."""
    table: dict[str, list[str]] = {}
    for name in sorted(HANDLERS):
        dialect, _, op = name.partition(".")
        table.setdefault(op, []).append(dialect)
    return table
