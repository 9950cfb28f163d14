# SPDX-License-Identifier: Apache-2.0
"""Several campaigns as one: for machines that have nothing in common but the files that are brought together.

A merge is a union of sets, so its result does not depend on the order, and what was merged already changes nothing:
the campaigns that ran, by what they recorded; cases, by seed and number; findings, by what they are named after.
Counts that belong to a campaign as a whole, its time and what it covered, are kept per campaign and added up.

The folders may come from anyone: no path in them is followed. Cases are written anew from what was read, and scripts
are copied from and to names that `fuzz.finding` allows, as text.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from fuzz.case import CaseError
from fuzz.case_file import dump
from fuzz.confined import LOG
from fuzz.disk import writing
from fuzz.document import DocumentError, mapping, read_text
from fuzz.engine import Sample
from fuzz.evidence import Feature
from fuzz.finding import Finding, State, Witness
from fuzz.plain import parse_json, read
from fuzz.reduce.order import complexity
from fuzz.settings import Settings
from fuzz.store import DATABASE, SKIPPED, Row, Store, StoreError
from oracles.outcome import FAILING

MERGED = "merged"  # name of the setting that says what was merged
# A number of a merged campaign: which of its seeds, from 0, and the number in it. One seed keeps its numbers.
SEED_SHIFT = 40
PROBES = 4  # cases of a campaign that are drawn again, to see that it was made by these strategies
# Whose case speaks: what needs no look, then what is known best.
STATES = (State.KNOWN, State.PROVEN, State.REDUCED, State.FLAKY, State.NEW)
# What may differ between machines whose verdicts are put together.
FREE_VERSIONS = frozenset({"python", "code"})

Place = tuple[int, int]  # seed, number


@dataclass(frozen=True, slots=True)
class Part:
    """One campaign as it ran."""

    seed: int
    cases: int
    elapsed: float  # seconds
    settings: str  # JSON
    coverage: tuple[tuple[str, str, str, int, int, int], ...]  # a feature, cases that have it, failing ones


@dataclass(frozen=True, slots=True)
class Held:
    """A finding, the case it begins with, and the texts of its scripts by name."""

    finding: Finding
    first: Place
    scripts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Content:
    """What one or more campaigns recorded."""

    made_for: Mapping[str, Any]  # target, space and versions: the same for all
    parts: Mapping[str, Part]
    cases: Mapping[Place, Row]
    findings: Mapping[str, Held]


@dataclass(frozen=True, slots=True)
class Merge:
    """What a merge came to."""

    campaigns: int
    seeds: tuple[int, ...]
    cases: int
    shared: int  # cases in more than one campaign
    disagreements: tuple[tuple[int, int, tuple[str, ...]], ...]  # seed, number, verdicts: the failing one is kept
    findings: int

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)


def merge(folders: Sequence[Path], output: Path, sample: Sample) -> Merge:
    """Write one campaign with what the folders hold. `sample` draws cases, to see that their strategies are these.

    Raises StoreError if they do not fit together, or the output holds a campaign.
    """
    contents = [content_of(folder, sample) for folder in folders]
    whole = reduce(union, contents)
    write(whole, output)
    held: dict[Place, list[str]] = {}
    for content in {frozenset(content.parts): content for content in contents}.values():
        for place, row in content.cases.items():
            held.setdefault(place, []).append(row.verdict)
    shared = {place: set(verdicts) - {SKIPPED} for place, verdicts in held.items() if len(verdicts) > 1}
    disagreements = [(*place, tuple(sorted(said))) for place, said in sorted(shared.items()) if len(said) > 1]
    seeds = tuple(sorted({part.seed for part in whole.parts.values()}))
    return Merge(len(whole.parts), seeds, len(whole.cases), len(shared), tuple(disagreements), len(whole.findings))


# --- reading ----------------------------------------------------------------------------------------------------------


def content_of(folder: Path, sample: Sample) -> Content:
    """What a folder's campaign recorded, or a database of any name, itself merged or not. Raises StoreError."""
    with _opened(folder) as store, store.at_one_moment():
        try:
            content = _read(store)
        except (DocumentError, CaseError) as error:
            raise StoreError(f"{folder} holds no campaign of this version: {error}") from error
    settings = _settings(next(iter(content.parts.values())))
    drawn = [(place, row) for place, row in sorted(content.cases.items()) if place[1] >= 0 and row.digest]
    for (seed, number), row in drawn[:: max(1, len(drawn) // PROBES)]:
        if sample(settings.space, seed, number).digest != row.digest:
            raise StoreError(
                f"case {number} of seed {seed} in {folder} is not what this version draws: merge it with the version "
                "of meshfuzz that ran it"
            )
    return content


@contextmanager
def _opened(path: Path) -> Iterator[Store]:
    with ExitStack() as opened:
        if path.name == DATABASE:
            path = path.parent
        elif path.is_file():
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="meshfuzz-merge-")))
            for suffix in ("", LOG):
                if (source := path.with_name(path.name + suffix)).is_file():
                    shutil.copyfile(source, folder / f"{DATABASE}{suffix}")
            path = folder
        yield opened.enter_context(Store.open(path))


def _read(store: Store) -> Content:
    plain = store.settings
    settings = Settings.from_plain(plain.get("settings"))
    rows = store.rows()
    parts = _parts(store, settings, rows)
    seeds = sorted({part.seed for part in parts.values()})
    cases = {_place(row.number, seeds): row for row in rows}
    target = asdict(replace(settings.target, plugin=None))  # where it lies is each machine's own; its hash is a version
    versions = {
        name: version
        for name, version in mapping(plain.get("versions", {}), "versions", None).items()
        if name not in FREE_VERSIONS
    }
    made_for = {"target": target, "space": asdict(settings.space), "versions": versions}
    findings = {
        finding.key: Held(
            replace(finding, count=0, first=0, witnesses=_ordered(finding.witnesses)),
            _place(finding.first, seeds),
            _scripts(store.directory, finding),
        )
        for finding in store.findings()
    }
    return Content(made_for, parts, cases, findings)


def _parts(store: Store, settings: Settings, rows: Sequence[Row]) -> dict[str, Part]:
    """Those of a merged campaign, or the campaign itself, named after what it recorded."""
    said = store.setting(MERGED)
    if said is not None:
        parts = {name: read(Part, part) for name, part in mapping(said, MERGED, None).items()}
        if not parts:
            raise DocumentError("no campaign in it", MERGED)
        for part in parts.values():
            _settings(part)
        return parts
    coverage = tuple((*feature, *counts) for feature, counts in sorted(store.coverage().items()))
    part = Part(settings.seed, len(rows), store.elapsed, _text(settings.to_plain()), coverage)
    recorded = [[row.number, row.digest, row.verdict, row.seconds] for row in rows]
    name = hashlib.sha256(_text([asdict(part), recorded]).encode()).hexdigest()
    return {name[:16]: part}


def _settings(part: Part) -> Settings:
    return Settings.from_plain(parse_json(part.settings))


def _place(number: int, seeds: Sequence[int]) -> Place:
    """Cases of the corpus, below zero, are the same for every seed."""
    if number < 0:
        return 0, number
    rank, own = divmod(number, 1 << SEED_SHIFT)
    if rank >= len(seeds):
        raise DocumentError(f"case {number} is of no seed that it says it has")
    return seeds[rank], own


def _scripts(folder: Path, finding: Finding) -> dict[str, str]:
    texts = {}
    for script in finding.scripts:
        if script.path and (folder / script.path).is_file():
            texts[script.path] = read_text(folder / script.path)
    return texts


# --- the union --------------------------------------------------------------------------------------------------------


def union(one: Content, other: Content) -> Content:
    """Everything in either of them. Raises StoreError if they are not about the same."""
    for what, mine in one.made_for.items():
        if mine != (theirs := other.made_for[what]):
            raise StoreError(f"the campaigns differ in their {what}: {_difference(mine, theirs)}")
    cases = dict(one.cases)
    for place, row in other.cases.items():
        known = cases.get(place, row)
        if known.digest != row.digest:
            raise StoreError(
                f"case {place[1]} of seed {place[0]} is {known.digest} in one campaign and {row.digest} in another: "
                "they were drawn by different versions of meshfuzz"
            )
        cases[place] = max(known, row, key=_weight)
    findings = dict(one.findings)
    for key, held in other.findings.items():
        findings[key] = _both(findings[key], held) if key in findings else held
    return Content(one.made_for, {**one.parts, **other.parts}, cases, findings)


def _weight(row: Row) -> tuple[bool, bool, str]:
    """What failed says more than what passed, and anything that ran more than what was skipped."""
    return row.verdict in FAILING, row.verdict != SKIPPED, _text(asdict(replace(row, number=0)))


def _both(one: Held, other: Held) -> Held:
    best = min(one, other, key=_rank)
    witnesses = _ordered((*one.finding.witnesses, *other.finding.witnesses))
    return Held(replace(best.finding, witnesses=witnesses), min(one.first, other.first), best.scripts)


def _ordered(witnesses: Iterable[Witness]) -> tuple[Witness, ...]:
    named = {_text([witness.signature, witness.pattern.to_plain()]): witness for witness in witnesses}
    return tuple(witness for _, witness in sorted(named.items()))


def _rank(held: Held) -> tuple[Any, ...]:
    finding = held.finding
    told = replace(finding, witnesses=()).to_plain()
    return (STATES.index(finding.state), complexity(finding.case), _text(told), -len(held.scripts), _text(held.scripts))


def _difference(one: Any, other: Any) -> str:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        name = next(name for name in sorted({*one, *other}) if one.get(name) != other.get(name))
        return f"{name} is {one.get(name, 'none')} and {other.get(name, 'none')}"
    return f"{one} and {other}"


# --- writing ----------------------------------------------------------------------------------------------------------


def write(content: Content, output: Path) -> None:
    """Make a campaign's folder of it: complete, or not at all. Raises StoreError if there is one, FolderUnwritable."""
    if output.exists() and any(output.iterdir()):
        raise StoreError(f"{output} is not empty: choose another --dir")
    seeds = sorted({part.seed for part in content.parts.values()})
    settings = replace(_settings(content.parts[min(content.parts)]), seed=seeds[0])
    plain = {"settings": settings.to_plain(), "budget": {}, "versions": content.made_for["versions"]}
    unfinished = output.with_name(f"{output.name}.new")
    with writing(output):
        (unfinished / "repros").mkdir(parents=True)
    with Store.create(unfinished, plain) as store:
        store.take_over(
            (replace(row, number=_number(place, seeds)) for place, row in sorted(content.cases.items())),
            (replace(held.finding, first=_number(held.first, seeds)) for held in content.findings.values()),
            _coverage(content.parts.values()),
            {
                MERGED: {name: asdict(part) for name, part in sorted(content.parts.items())},
                "elapsed": sum(sorted(part.elapsed for part in content.parts.values())),
            },
        )
    with writing(output):
        for held in content.findings.values():
            (unfinished / "cases" / f"{held.finding.id}.yaml").write_text(dump(held.finding.case), encoding="utf-8")
            for name, text in held.scripts.items():
                (unfinished / name).write_text(text, encoding="utf-8")
        if output.exists():
            output.rmdir()
        unfinished.rename(output)


def _number(place: Place, seeds: Sequence[int]) -> int:
    seed, number = place
    return number if number < 0 else (seeds.index(seed) << SEED_SHIFT) + number


def _coverage(parts: Iterable[Part]) -> dict[Feature, tuple[int, int]]:
    """Runs of all campaigns: a case that ran in two of them counts twice."""
    cases: Counter[Feature] = Counter()
    failing: Counter[Feature] = Counter()
    for part in parts:
        for *fields, ran, failed in part.coverage:
            feature = Feature(*fields)  # type: ignore[arg-type]  # four of six fields, checked when they were read
            cases[feature] += ran
            failing[feature] += failed
    return {feature: (cases[feature], failing[feature]) for feature in sorted(cases)}


def _text(plain: Any) -> str:
    """Equal for equal data."""
    return json.dumps(plain, sort_keys=True, default=dict)
