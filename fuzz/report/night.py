# SPDX-License-Identifier: Apache-2.0
"""What a nightly campaign has to say, as data: the pages and files about it are made of this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fuzz.evidence import Feature
from fuzz.finding import Finding
from fuzz.report.html import Piece
from fuzz.settings import Settings


class Standing(StrEnum):
    """What a bucket is to a night, seen from the nights before."""

    NEW = "new"
    REGRESSED = "regressed"  # was fixed, or passed before, and fails
    PENDING = "pending"  # fails, and is not reduced yet: the time was up
    KNOWN = "known"
    FIXED = "fixed"


FAILS = (Standing.NEW, Standing.REGRESSED, Standing.PENDING, Standing.KNOWN)


@dataclass(frozen=True, slots=True)
class Sightings:
    """Nights on which a bucket was what; empty where there is none."""

    first: str = ""  # failed
    last: str = ""  # failed
    fixed: tuple[str, ...] = ()
    regressed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """One bucket in one night."""

    finding: Finding
    standing: Standing
    failed: bool  # in this night
    detail: str = ""  # what a verification said, or which entry of the corpus failed
    nights: Sightings = Sightings()
    texts: Mapping[str, str] = field(default_factory=dict)  # to copy: scripts and the bug report, by name
    pieces: Sequence[Piece] = ()  # the same as files, and others: paths from the page


@dataclass(frozen=True, slots=True)
class Replayed:
    """One entry of the corpus, run before anything else."""

    name: str
    says: str
    expected: str  # PASS, or how it fails
    verdict: str  # empty: not run
    bucket: str = ""  # id of the bucket it failed in


@dataclass(frozen=True, slots=True)
class Verified:
    """One bucket that did not fail when it was expected to, in fresh processes."""

    name: str
    status: str
    detail: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Past:
    """One night in a line."""

    name: str
    cases: int  # run
    seconds: float  # of the campaign
    counts: Mapping[str, int]  # cases per verdict
    versions: Mapping[str, str]
    environment: str = ""  # what was wrong with it
    standings: Mapping[Standing, int] = field(default_factory=dict)

    @property
    def throughput(self) -> float:
        """Cases per second."""
        return self.cases / self.seconds if self.seconds else 0.0


# op, dtype, sharding -> cases, failing ones
Coverage = Mapping[tuple[str, str, str], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Night:
    """All of one night, or of one campaign."""

    name: str  # of the night, or of the campaign's folder
    settings: Settings
    versions: Mapping[str, str]
    cases: int  # run
    seconds: float  # of the campaign
    counts: Counter[str]  # cases per verdict
    subjects: Sequence[Subject] = ()
    messages: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)  # see `fuzz.account.Summary`
    coverage: Coverage = field(default_factory=dict)
    replayed: Sequence[Replayed] = ()
    verified: Sequence[Verified] = ()
    past: Sequence[Past] = ()  # this night is the last one; empty: there is no history
    environment: str = ""  # what was wrong with the target; empty: nothing
    ended: str = ""  # why the campaign ended
    phases: Mapping[str, float] = field(default_factory=dict)  # seconds each phase took
    made: Mapping[str, str] = field(default_factory=dict)  # how the night was made, by name
    links: str = ""  # address of the repository's files; empty: none

    def of(self, standing: Standing) -> list[Subject]:
        return [subject for subject in self.subjects if subject.standing is standing]


def by_sharding(counted: Mapping[Feature, tuple[int, int]]) -> Coverage:
    """Coverage without boundaries. A case that uses an op in two ways counts for both."""
    found: dict[tuple[str, str, str], tuple[int, int]] = {}
    for (op, dtype, sharding, _), (cases, failing) in counted.items():
        before = found.get((op, dtype, sharding), (0, 0))
        found[op, dtype, sharding] = (before[0] + cases, before[1] + failing)
    return found
