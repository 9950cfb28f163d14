# SPDX-License-Identifier: Apache-2.0
"""The faults that can be injected, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from oracles.faults import Fault


def faults_table(faults: Sequence[Fault]) -> Table:
    """One row per fault."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("name", "stage", "like"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what is computed instead", overflow="fold", ratio=1)
    for fault in faults:
        table.add_row(fault.name, fault.stage, fault.like, fault.doc)
    return table


def faults_plain(faults: Sequence[Fault]) -> list[dict[str, str]]:
    return [{"name": f.name, "stage": f.stage, "like": f.like, "doc": f.doc} for f in faults]
