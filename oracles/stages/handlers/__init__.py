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
