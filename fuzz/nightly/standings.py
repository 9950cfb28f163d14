# SPDX-License-Identifier: Apache-2.0
"""What each bucket is to a night: new, regressed, known, fixed, or not reduced yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from fuzz.case_file import dump
from fuzz.corpus import Entry
from fuzz.finding import Finding, State
from fuzz.nightly.history import Bucket, sightings
from fuzz.report.night import FAILS, Replayed, Sightings, Standing, Subject, Verified
from fuzz.triage import bucket_id
from fuzz.verify import Status
from oracles.outcome import Outcome, Verdict

# Failing in this night, whatever else is said.
STILL = (Status.STILL_FAILING, Status.PARTLY_FIXED, Status.CHANGED, Status.FLAKY)

# What nobody is told of does the most harm.
SEVERITY = dict.fromkeys((Verdict.WRONG, Verdict.NONDETERMINISTIC, Verdict.CRASH, Verdict.HANG, *Verdict))


def standings(
    night: str,
    findings: Iterable[Finding],
    before: Mapping[str, Bucket],
    regressions: Sequence[Entry],
    replays: Sequence[Replayed],
    verified: Mapping[str, Verified],
) -> list[Subject]:
    """All buckets of a night, worst first: those that failed, and those that are known and did not."""
    expected = {bucket_id(entry.about.bucket): entry for entry in regressions}
    found = [_found(finding, before, expected, replays) for finding in findings]
    here = {subject.finding.id for subject in found}
    found += _not_found(here, before, expected, replays, verified)
    order, severity = list(Standing), list(SEVERITY)
    dated = [replace(subject, nights=_sightings(night, subject, before)) for subject in found]

    def rank(subject: Subject) -> tuple[int, int, int, int]:
        finding = subject.finding
        return order.index(subject.standing), severity.index(finding.outcome.verdict), -finding.count, finding.first

    return sorted(dated, key=rank)


def _found(
    finding: Finding, before: Mapping[str, Bucket], expected: Mapping[str, Entry], replays: Sequence[Replayed]
) -> Subject:
    """A bucket that failed in this night's campaign."""
    bucket = before.get(finding.id)
    if bucket is not None and bucket.standing is Standing.PENDING:
        bucket = None  # nobody knows what it is
    if finding.state is State.NEW and bucket is None:
        return Subject(finding, Standing.PENDING, True, "not reduced: the time was up")
    if bucket is not None and finding.state in (State.KNOWN, State.NEW):
        # An earlier night knows more of it than its case.
        finding = replace(bucket.finding, count=finding.count, first=finding.first)
    broken = [each.name for each in replays if each.bucket == finding.id and each.expected == Verdict.PASS]
    if broken:
        return Subject(finding, Standing.REGRESSED, True, f"passed before: {', '.join(broken)}")
    if bucket is not None and bucket.standing is Standing.FIXED:
        return Subject(finding, Standing.REGRESSED, True, f"was fixed on {bucket.nights.fixed[-1]}")
    if bucket is not None:
        return Subject(finding, Standing.KNOWN, True)
    return Subject(finding, Standing.KNOWN if finding.id in expected else Standing.NEW, True)


def _not_found(
    here: set[str],
    before: Mapping[str, Bucket],
    expected: Mapping[str, Entry],
    replays: Sequence[Replayed],
    verified: Mapping[str, Verified],
) -> Iterator[Subject]:
    """Buckets that are known to fail and did not in this night's campaign."""
    verdicts = {each.name: each.verdict for each in replays}
    names = [name for name, bucket in before.items() if bucket.standing is not Standing.PENDING]
    for name in dict.fromkeys([*names, *expected]):
        bucket = before.get(name)
        if name in here or (bucket is not None and bucket.standing is Standing.FIXED):
            continue
        finding = _as_finding(expected[name]) if bucket is None else bucket.finding
        finding = replace(finding, count=0)
        verification = verified.get(name)
        verdict = verdicts.get(name, "")
        if verification is not None:
            detail = f"{verification.status.lower()}: {verification.detail}"
            if verification.status == Status.FIXED:
                yield Subject(finding, Standing.FIXED, False, detail)
            else:
                yield Subject(finding, Standing.KNOWN, verification.status in STILL, detail)
        elif verdict == Verdict.PASS:
            yield Subject(finding, Standing.FIXED, False, "passes, not verified")
        else:
            yield Subject(finding, Standing.KNOWN, False, f"{verdict}, not verified" if verdict else "not run")


def _as_finding(entry: Entry) -> Finding:
    """A regression that did not fail, as far as its file tells what it was."""
    word = entry.about.bucket.split(" ", 1)[0]
    verdict = Verdict(word) if word in list(Verdict) else Verdict.WRONG
    text = dump(entry.case)
    outcome = Outcome(verdict, message="" if verdict is Verdict.WRONG else entry.about.bucket)
    return Finding(
        entry.about.bucket, (), State.KNOWN, 0, text, text, outcome, minimal=True, neighbours=entry.about.neighbours
    )


def _sightings(night: str, subject: Subject, before: Mapping[str, Bucket]) -> Sightings:
    known = before[subject.finding.id].nights if subject.finding.id in before else Sightings()
    now = sightings([(night, subject.standing, subject.failed)])
    return Sightings(
        first=known.first or now.first,
        last=now.last or known.last,
        fixed=(*known.fixed, *now.fixed),
        regressed=(*known.regressed, *now.regressed),
    )


def failing(subjects: Iterable[Subject]) -> list[Subject]:
    """Those that can be handed over: reduced, and failing in this night."""
    return [s for s in subjects if s.failed and s.standing in FAILS and s.standing is not Standing.PENDING]
