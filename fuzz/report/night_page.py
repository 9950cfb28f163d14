# SPDX-License-Identifier: Apache-2.0
"""The page of a night, or of one campaign: one file that needs nothing but itself.

It reads without scripts; its own script filters and copies. A policy in the page lets a browser run that one only and
load nothing, whatever a compiler's message holds.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from markupsafe import Markup

from fuzz.ops import registered
from fuzz.report.chart import STACKED, chart
from fuzz.report.html import render, told
from fuzz.report.night import Coverage, Night, Past, Standing, Subject
from fuzz.report.summary import title
from fuzz.signature import normalise
from fuzz.store import SKIPPED
from oracles.outcome import Verdict

MESSAGES = 12  # per verdict
WORDS = {
    Standing.NEW: "new",
    Standing.REGRESSED: "regressed",
    Standing.PENDING: "not reduced",
    Standing.KNOWN: "known",
    Standing.FIXED: "fixed",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One value that a filter offers."""

    value: str
    word: str
    count: int


@dataclass(frozen=True, slots=True)
class OpCoverage:
    """How one op was exercised: rows are shardings, columns are dtypes."""

    op: str
    cases: int
    failing: int
    dtypes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, int] | None, ...]], ...]


def night_page(night: Night) -> str:
    """The text of the page."""
    script = _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    cards = [_card(night, subject) for subject in night.subjects]
    order = [*map(str, Verdict), SKIPPED]
    exercised = list(coverage_by_op(night.coverage))
    drawn = set(night.settings.space.ops) or {op.name for op in registered()}
    return render(
        "night.html.j2",
        night=night,
        title=title(night),
        words=WORDS,
        cards=cards,
        tiles=[(standing, WORDS[standing], len(night.of(standing))) for standing in Standing],
        choices=_choices(night, cards),
        verdicts=[(name, night.counts[name]) for name in order if night.counts[name]],
        most=max(night.counts.values(), default=1),
        speed=night.cases / night.seconds if night.seconds else 0.0,
        messages=_messages(night),
        chart=chart(night.past) if len(night.past) > 1 else None,
        stacked=[*reversed(STACKED), Standing.FIXED],
        past=_with_changes(night.past),
        coverage=exercised,
        missing=sorted(drawn - {each.op for each in exercised}) if exercised else [],
        script=Markup(script),  # ours, from a file of ours
        digest=digest,
    )


def _card(night: Night, subject: Subject) -> Mapping[str, object]:
    finding = subject.finding
    said = told(finding, night.settings.target)
    used = list(dict.fromkeys(node.op for node in said["case"].nodes)) or ["resharding"]
    notes = {piece.name: piece for piece in subject.pieces}
    searched = (finding.id, finding.key, said["headline"], said["further"], subject.detail, finding.outcome.message)
    return {
        **said,
        "subject": subject,
        "ops": used,
        "searched": " ".join((*searched, *used)).lower(),
        "texts": [(name, text, notes.get(name)) for name, text in subject.texts.items()],
        "files": [piece for piece in subject.pieces if piece.path],
        "missing": [piece for piece in subject.pieces if piece.problem],
    }


def _choices(night: Night, cards: Sequence[Mapping[str, object]]) -> Mapping[str, Sequence[Choice]]:
    """What can be filtered by, with how many findings each value has."""
    findings = [subject.finding for subject in night.subjects]
    verdicts = Counter(str(finding.outcome.verdict) for finding in findings)
    stages = Counter(finding.outcome.stage or "none" for finding in findings)
    used = Counter(op for card in cards for op in _names(card["ops"]))
    standings = Counter(str(subject.standing) for subject in night.subjects)
    return {
        "state": [Choice(s, WORDS[s], standings[s]) for s in Standing if standings[s]],
        "verdict": [Choice(v, v, verdicts[v]) for v in Verdict if verdicts[v]],
        "stage": [Choice(name, name, count) for name, count in sorted(stages.items())],
        "op": [Choice(name, name, count) for name, count in sorted(used.items())],
    }


def _names(data: object) -> Iterable[str]:
    return data if isinstance(data, list) else ()


def _messages(night: Night) -> Mapping[str, tuple[Sequence[tuple[str, int]], int]]:
    """Per verdict that says nothing about the target: the most frequent causes, and how many more there are."""
    found = {}
    for verdict, said in night.messages.items():
        causes: Counter[str] = Counter()
        for message, count in said:
            causes[normalise(message) or "no message"] += count
        found[verdict] = (causes.most_common(MESSAGES), max(0, len(causes) - MESSAGES))
    return found


def _with_changes(past: Sequence[Past]) -> list[tuple[Past, str]]:
    """The nights, newest first, and what was installed otherwise than the night before."""
    told, known = [], dict[str, str]()
    for night in past:
        new = {name: version for name, version in night.versions.items() if known.get(name) != version}
        told.append((night, ", ".join(f"{name} {version}" for name, version in new.items()) if known else ""))
        known = dict(night.versions) or known
    return told[::-1]


def coverage_by_op(coverage: Coverage) -> Iterable[OpCoverage]:
    """The table, op by op."""
    ops: dict[str, dict[tuple[str, str], tuple[int, int]]] = {}
    for (op, dtype, sharding), counted in coverage.items():
        ops.setdefault(op, {})[sharding, dtype] = counted
    for op, cells in sorted(ops.items()):
        dtypes = tuple(sorted({dtype for _, dtype in cells}))
        shardings = sorted({sharding for sharding, _ in cells})
        yield OpCoverage(
            op,
            sum(cases for cases, _ in cells.values()),
            sum(failing for _, failing in cells.values()),
            dtypes,
            tuple((s, tuple(cells.get((s, dtype)) for dtype in dtypes)) for s in shardings),
        )


@lru_cache(maxsize=1)
def _script() -> str:
    return (Path(__file__).parent / "templates" / "night.js").read_text(encoding="utf-8")
