# SPDX-License-Identifier: Apache-2.0
"""The op registry: importing this package registers every family."""

from fuzz.ops import (
    accumulating_writes,
    compare,
    creation,
    elementwise,
    ordering,
    reads,
    reductions,
    shapes,
    writes,
)
from fuzz.ops.core import (
    DTYPE_NAMES,
    FLOATS,
    INTEGERS,
    NUMBERS,
    TORCH_DTYPES,
    Accumulates,
    Chooses,
    Converts,
    Decides,
    Moves,
    Op,
    Selects,
    Semantics,
    call,
    case_bytes,
    get,
    infer,
    registered,
    run_graph,
    source_line,
    specs,
)

FAMILIES = (reads, writes, accumulating_writes, creation, elementwise, compare, shapes, reductions, ordering)

__all__ = [
    "DTYPE_NAMES",
    "FAMILIES",
    "FLOATS",
    "INTEGERS",
    "NUMBERS",
    "TORCH_DTYPES",
    "Accumulates",
    "Chooses",
    "Converts",
    "Decides",
    "Moves",
    "Op",
    "Selects",
    "Semantics",
    "call",
    "case_bytes",
    "get",
    "infer",
    "registered",
    "run_graph",
    "source_line",
    "specs",
]
