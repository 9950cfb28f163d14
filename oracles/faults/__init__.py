# SPDX-License-Identifier: Apache-2.0
"""Known bugs to plant into a compile, so that what the fuzzer finds can be measured. One module per family."""

from oracles.faults import (  # noqa: F401 - imported for their registrations
    collectives,
    handlers,
    indices,
    kernels,
    numbers,
    partitioning,
)
from oracles.faults.fault import FAULTS, Fault

__all__ = ["FAULTS", "Fault"]
