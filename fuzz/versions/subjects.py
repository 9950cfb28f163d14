# SPDX-License-Identifier: Apache-2.0
"""The cases that versions are compared by: entries of the corpus, findings of a campaign, files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fuzz.case import Case
from fuzz.corpus import Entry, load_entry
from fuzz.finding import Finding
from fuzz.settings import UsageError


@dataclass(frozen=True, slots=True)
class Subject:
    """A case, and the bucket it fails in when it is bad; without one, any failure is bad."""

    name: str
    case: Case
    bucket: str = ""


def known_subjects(entries: Iterable[Entry], findings: Iterable[Finding]) -> list[Subject]:
    """Seeds and regressions, then the findings that are not among them. Planted faults are no finding of a version."""
    subjects = {entry.name: _of_entry(entry) for entry in entries}
    for found in findings:
        if found.outcome.injected:
            continue
        known = subjects.get(found.id)
        if known is None or known.case != found.case:
            name = found.id if known is None else f"{found.id} as found"
            subjects[name] = Subject(name, found.case, found.key)
    return list(subjects.values())


def chosen(texts: Sequence[str], known: Sequence[Subject]) -> list[Subject]:
    """What each text names: a file, or the beginning of a name. Raises UsageError, CorpusError."""
    return list({subject.name: subject for text in texts for subject in [_named(text, known)]}.values())


def _named(text: str, known: Sequence[Subject]) -> Subject:
    if Path(text).is_file():
        return _of_entry(load_entry(Path(text)))
    found = [subject for subject in known if subject.name.startswith(text)]
    exact = [subject for subject in found if subject.name == text]
    if len(exact or found) != 1:
        problem = "no file, finding or entry of the corpus" if not found else "more than one finding or entry"
        raise UsageError(f"{problem} {text!r}: meshfuzz corpus list and meshfuzz show list them")
    return (exact or found)[0]


def _of_entry(entry: Entry) -> Subject:
    return Subject(entry.name, entry.case, entry.about.bucket if entry.is_regression else "")
