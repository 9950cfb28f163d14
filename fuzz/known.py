# SPDX-License-Identifier: Apache-2.0
"""What a campaign takes from the corpus: cases to run first, and the findings that are no news."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fuzz.case_file import dump
from fuzz.corpus import Entry
from fuzz.finding import Finding, State, Witness
from fuzz.signature import signature
from fuzz.store import Record
from fuzz.triage import pattern
from oracles.targets.config import TargetConfig


def numbered(entries: Iterable[Entry], config: TargetConfig) -> dict[int, Entry]:
    """The entries whose mesh the target has, by the number that their case keeps: below zero, from its digest."""
    return {-int(entry.case.digest[:12], 16) - 1: entry for entry in entries if config.serves(entry.case.mesh)}


def as_known(entry: Entry, record: Record) -> bool:
    """Whether an entry failed as it is known to."""
    return bool(entry.about.bucket) and signature(record.outcome) == entry.about.fails


def known_findings(pending: Iterable[Record], corpus: Mapping[int, Entry]) -> Iterator[Finding]:
    """Findings of the regressions that failed as they are known to."""
    for record in pending:
        entry = corpus.get(record.number)
        if entry is not None and entry.is_regression and as_known(entry, record):
            yield known_finding(entry, record)


def known_finding(entry: Entry, record: Record) -> Finding:
    """A regression as a finding that needs no investigation."""
    text = dump(entry.case)
    # Without an op the pattern would be that of every case.
    witness = [Witness(signature(record.outcome), pattern(entry.case))] if entry.case.nodes else []
    return Finding(
        key=entry.about.bucket,
        witnesses=tuple(witness),
        state=State.KNOWN,
        first=record.number,
        original=text,
        reduced=text,
        outcome=record.outcome,
        minimal=True,
        neighbours=entry.about.neighbours,
    )
