# SPDX-License-Identifier: Apache-2.0
"""What a campaign found: one bucket, its reduced case, and everything that was learnt about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from fuzz.case import Case
from fuzz.case_file import loads
from fuzz.document import DocumentError, integer, mapping, sequence, shown, text
from fuzz.evidence import Boundary, Control, Neighbour
from fuzz.plain import read
from fuzz.triage import Pattern, bucket_id
from oracles.explanation import Explanation
from oracles.localisation import Localisation
from oracles.outcome import Outcome

# Names in a database must not lead out of the folder: what is read, copied or written follows them.
_SCRIPT = re.compile(r"repros/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.py")


class State(StrEnum):
    """How far a finding has come."""

    KNOWN = "known"  # a regression of the corpus that fails as it did; not looked at again
    NEW = "new"  # not reduced yet: the time was up
    FLAKY = "flaky"  # does not fail every time, so not reduced
    REDUCED = "reduced"
    PROVEN = "proven"  # a script that shows the bug in a clean process exists


@dataclass(frozen=True, slots=True)
class Script:
    """One repro script of a finding, or why there is none."""

    form: str  # torch or stablehlo
    path: str  # relative to the campaign's folder; empty if it could not be written
    proven: bool
    detail: str  # what the proof, or the failure, said in one line


@dataclass(frozen=True, slots=True)
class Witness:
    """One way into a bucket: how a case failed before it was reduced, and the pattern of what it was reduced to."""

    signature: str
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Finding:
    """One bucket: what fails, the first case that did, and the simplest reduced one."""

    key: str  # the mechanism, see `fuzz.mechanism`
    witnesses: tuple[Witness, ...]  # reductions that ended here, the first one first
    state: State
    first: int  # index of the first case in the bucket
    original: str  # YAML
    reduced: str  # YAML; of a new or flaky finding, the original without what its outputs do not need
    outcome: Outcome  # of the reduced case
    runs: int = 0  # spent on the reduction
    minimal: bool = False
    scripts: tuple[Script, ...] = ()
    localisation: Localisation | None = None  # None: not tried
    explanation: Explanation | None = None  # of wrong numbers; None: not tried
    boundaries: tuple[Boundary, ...] = ()
    controls: tuple[Control, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()  # failed too when the boundaries were searched
    count: int = 0  # failing cases in the bucket, the first one included; derived, not stored

    @property
    def id(self) -> str:
        return bucket_id(self.key)

    @property
    def case(self) -> Case:
        """The reduced case."""
        return _case(self.reduced)

    def to_plain(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "key": self.key,
            "witnesses": [[witness.signature, witness.pattern.to_plain()] for witness in self.witnesses],
            "state": str(self.state),
            "first": self.first,
            "original": self.original,
            "reduced": self.reduced,
            "outcome": self.outcome.to_plain(),
            "runs": self.runs,
            "minimal": self.minimal,
            "localisation": None if self.localisation is None else self.localisation.to_plain(),
            "explanation": None if self.explanation is None else self.explanation.to_plain(),
            "boundaries": [boundary.to_plain() for boundary in self.boundaries],
            "controls": [control.to_plain() for control in self.controls],
            "neighbours": [neighbour.to_plain() for neighbour in self.neighbours],
            "scripts": [[s.form, s.path, s.proven, s.detail] for s in self.scripts],
            "count": self.count,
        }

    @classmethod
    def from_plain(cls, data: object) -> Finding:
        """A finding that anyone may have written down. Raises DocumentError, CaseError."""
        given = mapping(data, "", cls.__slots__, ("id",))

        def each(key: str) -> Iterator[tuple[object, str]]:
            return ((plain, f"{key}[{number}]") for number, plain in enumerate(sequence(given[key], key)))

        found = cls(
            key=text(given["key"], "key"),
            witnesses=tuple(_witness(plain, place) for plain, place in each("witnesses")),
            state=read(_Told, {"state": given["state"]}).state,
            first=integer(given["first"], "first"),
            original=text(given["original"], "original"),
            reduced=text(given["reduced"], "reduced"),
            outcome=Outcome.from_plain(given["outcome"], "outcome"),
            runs=integer(given["runs"], "runs"),
            minimal=bool(given["minimal"]),
            scripts=tuple(_script(plain, place) for plain, place in each("scripts")),
            localisation=Localisation.from_plain(plain, "localisation") if (plain := given["localisation"]) else None,
            explanation=Explanation.from_plain(plain, "explanation") if (plain := given["explanation"]) else None,
            boundaries=tuple(Boundary.from_plain(plain, place) for plain, place in each("boundaries")),
            controls=tuple(Control.from_plain(plain, place) for plain, place in each("controls")),
            neighbours=tuple(Neighbour.from_plain(plain, place) for plain, place in each("neighbours")),
        )
        _case(found.reduced)  # what asks for the case later may rely on it
        return found


@dataclass(frozen=True, slots=True)
class _Told:
    state: State


def _witness(data: object, place: str) -> Witness:
    items = sequence(data, place)
    if len(items) != 2:
        raise DocumentError("expected a signature and a pattern", place)
    return Witness(text(items[0], place), Pattern.from_plain(items[1], place))


def _script(data: object, place: str) -> Script:
    form, path, proven, detail = read(_PlainScript, {"fields": data}, place).fields
    if path and not _SCRIPT.fullmatch(path):
        raise DocumentError(f"{shown(path)} is no script in the campaign's folder", place)
    return Script(form, path, proven, detail)


@dataclass(frozen=True, slots=True)
class _PlainScript:
    fields: tuple[str, str, bool, str]


@lru_cache(maxsize=1024)
def _case(content: str) -> Case:
    """Parsing takes milliseconds, and a finding is asked for its case often."""
    return loads(content)
