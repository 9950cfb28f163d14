# SPDX-License-Identifier: Apache-2.0
"""A night as test suites: buckets, the corpus, and what was verified. What is known does not fail a suite."""

from __future__ import annotations

from fuzz.report.junit import Result, Suite, TestCase
from fuzz.report.night import Night, Replayed, Standing, Subject, Verified
from fuzz.report.words import headline
from oracles.outcome import Verdict

# A test that fails every night is looked at by nobody.
RESULTS = {
    Standing.NEW: Result.FAILED,
    Standing.REGRESSED: Result.FAILED,
    Standing.PENDING: Result.SKIPPED,
    Standing.KNOWN: Result.SKIPPED,
    Standing.FIXED: Result.PASSED,
}
FAILING = {str(verdict) for verdict in Verdict if verdict.failing}


def night_suites(night: Night) -> list[Suite]:
    """The suites of one night."""
    result, said = (Result.ERROR, night.environment) if night.environment else (Result.PASSED, "")
    target = TestCase(str(night.settings.target), "meshfuzz.target", result, said, said, night.seconds)
    suites = [
        Suite("target", (target,)),
        Suite("findings", tuple(map(_bucket, night.subjects))),
        Suite("corpus", tuple(map(_replay, night.replayed))),
        Suite("verification", tuple(map(_verification, night.verified))),
    ]
    return [suite for suite in suites if suite.cases]


def _bucket(subject: Subject) -> TestCase:
    finding = subject.finding
    said = headline(finding)
    text = "\n".join(filter(None, (finding.key, subject.detail, finding.reduced)))
    name = f"{finding.id} {said}"
    return TestCase(name, "meshfuzz.findings", RESULTS[subject.standing], f"{subject.standing}: {said}", text)


def _replay(entry: Replayed) -> TestCase:
    passes = entry.expected == Verdict.PASS
    if not entry.verdict:
        result, said = Result.SKIPPED, "not run"
    elif entry.verdict in FAILING:
        result = Result.FAILED if passes else Result.SKIPPED
        said = f"{entry.verdict}, expected {entry.expected or 'nothing'}"
    elif entry.verdict == Verdict.PASS:
        result, said = Result.PASSED, ""
    else:
        result, said = Result.SKIPPED, f"{entry.verdict}: neither passed nor failed"
    return TestCase(entry.name, "meshfuzz.corpus", result, said, entry.says)


def _verification(done: Verified) -> TestCase:
    result = Result.PASSED if done.status == "FIXED" else Result.SKIPPED
    return TestCase(done.name, "meshfuzz.verification", result, f"{done.status}: {done.detail}", "", done.seconds)
