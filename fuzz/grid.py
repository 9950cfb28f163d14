# SPDX-License-Identifier: Apache-2.0
"""Cases on several versions of a plugin, as plain data: what each said, and what changed from one to the next."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from fuzz.plain import read
from fuzz.signature import signature
from oracles.outcome import Outcome, Verdict

# A program that the target refuses is told from one that it computes wrongly: the user notices only the former.
LOUD = frozenset({Verdict.COMPILE_ERROR, Verdict.CRASH, Verdict.HANG, Verdict.UNSUPPORTED})
SILENT = frozenset({Verdict.WRONG, Verdict.SUSPECTED, Verdict.NONDETERMINISTIC})
_BARE = re.compile(r"\S+( \S+)?: Error code: #")


@dataclass(frozen=True, slots=True)
class Cell:
    """What one case does on one version."""

    verdict: Verdict
    stage: str = ""
    message: str = ""
    says: str = ""  # the bucket if it fails, else the signature: equal for failures that look alike

    @classmethod
    def of(cls, outcome: Outcome, bucket: str) -> Self:
        return cls(outcome.verdict, outcome.stage, outcome.message, bucket or signature(outcome))

    @property
    def bare(self) -> bool:
        """Whether the target failed and did not say why, as older plugins do."""
        return self.verdict in LOUD and _BARE.fullmatch(self.says) is not None

    def to_plain(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": str(self.verdict)}

    @classmethod
    def from_plain(cls, data: object) -> Self:
        """Raises DocumentError."""
        return read(cls, data)


class Kind(StrEnum):
    """What a change between two versions is, the weightiest first."""

    BROKE = "broke"
    SILENCED = "from loud to silent"
    VOICED = "from silent to loud"
    FIXED = "fixed"
    OTHERWISE = "fails otherwise"
    REWORDED = "only the message differs"
    UNCLEAR = "cannot be compared"


def kind_of(before: Cell, after: Cell) -> Kind | None:
    """What the change is; None if nothing changed."""
    if before.verdict is Verdict.PASS or after.verdict is Verdict.PASS:
        other = after if before.verdict is Verdict.PASS else before
        if other.verdict is Verdict.PASS:
            return None
        if other.verdict in LOUD | SILENT:
            return Kind.FIXED if other is before else Kind.BROKE
        return Kind.UNCLEAR
    if not {before.verdict, after.verdict} <= LOUD | SILENT:
        return None if before.verdict is after.verdict else Kind.UNCLEAR
    if (before.verdict in SILENT) is not (after.verdict in SILENT):
        return Kind.SILENCED if after.verdict in SILENT else Kind.VOICED
    if before.says == after.says:
        return None
    return Kind.REWORDED if _one_failure(before, after) else Kind.OTHERWISE


def alike(one: Cell, other: Cell) -> bool:
    """Whether two cells are one behaviour, as far as their messages allow to tell."""
    if one.verdict is other.verdict and (one.says == other.says or one.verdict is Verdict.PASS):
        return True
    return (one.bare or other.bare) and {one.verdict, other.verdict} <= LOUD and _one_failure(one, other)


def _one_failure(one: Cell, other: Cell) -> bool:
    """Whether two failures that are worded differently stop in one stage with one verdict.

    Without a message the target's refusals cannot be told from its errors.
    """
    bare = one.bare or other.bare
    return one.verdict in LOUD and one.stage == other.stage and (one.verdict is other.verdict or bare)


@dataclass(frozen=True, slots=True)
class Column:
    """One version."""

    name: str  # jax-tt-plugin==0.1.3
    cannot: str = ""  # why it runs no case at all; empty if it does


@dataclass(frozen=True, slots=True)
class Row:
    """One case on all versions."""

    name: str
    digest: str
    cells: tuple[Cell | None, ...]  # one per column; None where the version cannot run


@dataclass(frozen=True, slots=True)
class Change:
    """A case that does not do on a version what it did on the one before."""

    kind: Kind
    case: str
    before: Cell
    after: Cell

    def to_plain(self) -> dict[str, Any]:
        return {
            "kind": str(self.kind),
            "case": self.case,
            "before": self.before.to_plain(),
            "after": self.after.to_plain(),
        }


@dataclass(frozen=True, slots=True)
class Grid:
    """Verdicts of cases on versions, oldest first if the user gave them so."""

    target: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def steps(self) -> Iterator[tuple[Column, Column, list[Change]]]:
        """What changed between each two neighbouring versions that run, by kind and in the order of the rows."""
        running = [number for number, column in enumerate(self.columns) if not column.cannot]
        for old, new in itertools.pairwise(running):
            changes = [change for row in self.rows if (change := _change(row, old, new)) is not None]
            changes.sort(key=lambda change: list(Kind).index(change.kind))
            yield self.columns[old], self.columns[new], changes

    @property
    def worse(self) -> bool:
        """Whether anything broke, or became silent, in any step."""
        bad = (Kind.BROKE, Kind.SILENCED)
        return any(change.kind in bad for _, _, changes in self.steps() for change in changes)

    def to_plain(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "columns": [asdict(column) for column in self.columns],
            "rows": [
                {
                    "case": row.name,
                    "digest": row.digest,
                    "cells": [None if cell is None else cell.to_plain() for cell in row.cells],
                }
                for row in self.rows
            ],
            "steps": [
                {"from": old.name, "to": new.name, "changes": [change.to_plain() for change in changes]}
                for old, new, changes in self.steps()
            ],
        }


def _change(row: Row, old: int, new: int) -> Change | None:
    before, after = row.cells[old], row.cells[new]
    if before is None or after is None:
        return None
    kind = kind_of(before, after)
    return None if kind is None else Change(kind, row.name, before, after)
