# SPDX-License-Identifier: Apache-2.0
"""What a night runs before anything else: the corpus, and what earlier nights found; and how each should end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fuzz.corpus import About, Entry
from fuzz.finding import State
from fuzz.known import numbered
from fuzz.nightly.history import Bucket
from fuzz.report.night import Replayed, Standing
from fuzz.signature import signature
from fuzz.store import Store
from fuzz.triage import bucket_id
from fuzz.verify import Subject, subjects
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig


def remembered(before: Mapping[str, Bucket], corpus: Iterable[Entry], folder: Path) -> tuple[Entry, ...]:
    """Entries for what earlier nights found and the corpus does not have; fixed ones too, for they may come back.

    What was not reduced bears no bucket, so that the campaign investigates it before it draws anything.
    """
    kept = {entry.about.bucket for entry in corpus}
    return tuple(
        _entry(name, bucket, folder)
        for name, bucket in before.items()
        if bucket.finding.key not in kept and bucket.finding.state is not State.FLAKY
    )


def _entry(name: str, bucket: Bucket, folder: Path) -> Entry:
    finding = bucket.finding
    reduced = bucket.standing is not Standing.PENDING
    about = About(
        says=finding.explanation.sentence if finding.explanation is not None else "",
        fails=signature(finding.outcome),
        bucket=finding.key if reduced else "",
        neighbours=finding.neighbours,
    )
    return Entry(name, folder, finding.case, about)


def of_target(entries: Iterable[Entry], config: TargetConfig) -> list[Entry]:
    """The regressions that were seen on this kind of target."""
    return [entry for entry in entries if entry.is_regression and entry.about.target == config.kind]


def replayed(
    entries: Sequence[Entry], config: TargetConfig, store: Store, last: Mapping[str, str]
) -> Iterator[Replayed]:
    """What came of each entry that fits the target. `last`: verdicts of earlier nights, by name."""
    for number, entry in numbered(entries, config).items():
        about = entry.about
        expected = about.bucket or about.fails
        if not expected or about.target not in ("", config.kind):
            # What an earlier night saw on this target counts for more than what the file says of some target.
            expected = last.get(entry.name) or (str(Verdict.PASS) if about.target == config.kind else "")
        key = store.bucket(number)
        yield Replayed(entry.name, about.says, expected, store.verdict(number), bucket_id(key) if key else "")


def unseen(
    before: Mapping[str, Bucket], regressions: Iterable[Entry], failing: Iterable[str], config: TargetConfig
) -> list[Subject]:
    """What is known to fail and did not in this night: to be verified. `failing`: ids of tonight's buckets.

    What was fixed already and still passes is left alone.
    """
    failed = set(failing)
    fixed = {name for name, bucket in before.items() if bucket.standing in (Standing.FIXED, Standing.PENDING)}
    found = [bucket.finding for name, bucket in before.items() if name not in fixed]
    return [
        subject
        for subject in subjects(found, regressions, config.kind)
        if subject.id not in failed and subject.id not in fixed
    ]
