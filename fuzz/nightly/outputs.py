# SPDX-License-Identifier: Apache-2.0
"""What a night leaves in its folder: a page, files for machines, and texts to hand over."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fuzz.account import EXPLAINED
from fuzz.finding import Finding, State
from fuzz.folder import FORMS, LazyPool, write_folder
from fuzz.localisation import localised
from fuzz.nightly.config import Config
from fuzz.nightly.history import Bucket, History
from fuzz.nightly.standings import failing
from fuzz.pool import PoolClosed
from fuzz.report.html import Campaign, Piece
from fuzz.report.junit import junit_xml
from fuzz.report.night import Night, Past, Replayed, Subject, Verified, by_sharding
from fuzz.report.night_page import night_page
from fuzz.report.sarif import sarif
from fuzz.report.suites import night_suites
from fuzz.report.summary import summary_markdown
from fuzz.settings import Budget, Settings
from fuzz.store import SKIPPED, Store
from oracles.outcome import MISMATCHING
from oracles.targets.config import TargetUnavailable

ISSUES = "issues"  # folder of texts ready to file, with scripts beside
DESCRIBING = 60.0  # seconds of a night for what is known by its case only; the rest has its turn the next night
COPIED = 64 << 10  # bytes of a text that stands in the page to be copied; longer ones are files only


@dataclass(frozen=True, slots=True)
class Material:
    """What a night was, beside its buckets."""

    name: str
    folder: Path
    campaign: Path  # folder of the campaign
    began: str
    config: Config
    settings: Settings
    versions: Mapping[str, str]
    environment: str
    ended: str
    seconds: float
    phases: Mapping[str, float]
    verified: Sequence[Verified]
    command: Sequence[str]  # of a worker


def write_outputs(
    material: Material,
    subjects: Sequence[Subject],
    replays: Sequence[Replayed],
    store: Store | None,
    history: History,
    before: Mapping[str, Bucket],
) -> Night:
    """Write the night down: in the history, and into its folder. `store`: of its campaign, if it had one."""
    counts = Counter[str]() if store is None else store.counts()
    subjects = _handed_over(material, subjects, counts, before)
    cases = sum(count for verdict, count in counts.items() if verdict != SKIPPED)
    past = Past(material.name, cases, round(material.seconds, 1), counts, material.versions, material.environment)
    history.record(past, subjects, {each.name: each.verdict for each in replays if each.verdict}, material.began)
    night = Night(
        name=material.name,
        settings=material.settings,
        versions=material.versions,
        cases=cases,
        seconds=material.seconds,
        counts=counts,
        subjects=subjects,
        messages={} if store is None else {str(v): said for v in EXPLAINED if (said := store.messages(v))},
        coverage={} if store is None else by_sharding(store.coverage()),
        replayed=replays,
        verified=material.verified,
        past=history.past(),
        environment=material.environment,
        ended=material.ended,
        phases=material.phases,
        made={**_made(material), "began": material.began},
        links=material.config.links,
    )
    for name, text in _files(night):
        beside = material.folder / f"{name}.new"
        beside.write_text(text, encoding="utf-8")
        beside.replace(material.folder / name)
    return night


def _files(night: Night) -> Iterator[tuple[str, str]]:
    yield "report.html", night_page(night)
    yield "junit.xml", junit_xml(night_suites(night))
    yield "findings.sarif", sarif(night)
    yield "summary.md", summary_markdown(night)


def _made(material: Material) -> dict[str, str]:
    plain = {name: value for name, value in material.config.to_plain().items() if value not in (None, "", [])}
    plain["time"] = f"{material.config.time:g} s"
    return {
        **{name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in plain.items()},
        "seed": str(material.settings.seed),
        "meshes": ", ".join(dict.fromkeys(map(str, material.settings.space.meshes))),
    }


# --- issues -----------------------------------------------------------------------------------------------------------


def _handed_over(
    material: Material, subjects: Sequence[Subject], counts: Counter[str], before: Mapping[str, Bucket]
) -> list[Subject]:
    """The subjects, with texts and files of those that can be filed; the files are written."""
    output = material.folder / ISSUES
    shutil.rmtree(output, ignore_errors=True)
    ready = {subject.finding.id: subject for subject in failing(subjects)}
    for name in ready.keys() & before.keys():
        _restore_scripts(ready[name].finding, before[name].texts, material.campaign)
    target = material.settings.target
    with LazyPool(target, material.campaign, material.settings.deadline, material.command) as pool:
        full = _described([subject.finding for subject in ready.values()], material.settings, pool)
        campaign = Campaign(full, material.settings, Budget(material.config.time), counts)
        written = {
            finding.id: replace(ready[finding.id], finding=finding, pieces=pieces, texts=texts(output, pieces))
            for finding, pieces in write_folder(campaign, material.campaign, output, pool.export)
        }
    found = [written.get(subject.finding.id, subject) for subject in subjects]
    return [_with_links(subject, before) for subject in found]


def _described(findings: Sequence[Finding], settings: Settings, pool: LazyPool) -> list[Finding]:
    """Regressions of the corpus are known by their cases only: explained and blamed once, the history keeps that.

    Explained first, all of them: blaming takes a process of its own, which takes long to start.
    """
    until = time.monotonic() + DESCRIBING
    found = {finding.id: finding for finding in findings}

    def explained(finding: Finding) -> Finding:
        if finding.explanation is not None or finding.outcome.verdict not in MISMATCHING:
            return finding
        return replace(finding, explanation=pool.opened().explain(finding.case))

    def blamed(finding: Finding) -> Finding:
        return localised(finding, settings.target, pool.opened().localise)

    for describe in (explained, blamed):
        for name, finding in found.items():
            if finding.state is State.KNOWN and time.monotonic() < until:
                with contextlib.suppress(TargetUnavailable, PoolClosed):  # then the page has less to say
                    found[name] = describe(finding)
    return list(found.values())


def _restore_scripts(finding: Finding, kept: Mapping[str, str], campaign: Path) -> None:
    """Put the scripts that an earlier night proved where this one's campaign would have put them."""
    for script in finding.scripts:
        path, text = campaign / script.path, kept.get(FORMS[script.form][0] if script.form in FORMS else "")
        if script.path and text is not None and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def texts(folder: Path, pieces: Sequence[Piece]) -> dict[str, str]:
    """The texts of a finding's files, by name; not of those that are too long to be copied from a page."""
    files = {piece.name: folder / piece.path for piece in pieces if piece.path}
    return {
        name: path.read_text(encoding="utf-8", errors="replace")
        for name, path in files.items()
        if name != "minimal case" and path.stat().st_size <= COPIED
    }


def _with_links(subject: Subject, before: Mapping[str, Bucket]) -> Subject:
    """Paths as they are from the night's page; what is not handed over has the texts of the night that did."""
    pieces = [replace(piece, path=f"{ISSUES}/{piece.path}") if piece.path else piece for piece in subject.pieces]
    kept = before[subject.finding.id].texts if subject.finding.id in before else {}
    return replace(subject, pieces=pieces, texts=subject.texts or kept)
