# SPDX-License-Identifier: Apache-2.0
"""New, regressed, known, fixed, not reduced: what a bucket is depends on the nights before and on the corpus."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_findings import finding

from fuzz.corpus import About, Entry
from fuzz.finding import Finding, State
from fuzz.nightly.history import Bucket, History
from fuzz.nightly.standings import failing, standings
from fuzz.report.night import Past, Replayed, Sightings, Standing, Subject, Verified

NIGHT = "2026-11-23"
FOUND = finding("WRONG flip: local")
OTHER = finding("WRONG sort: local")
ENTRY = Entry(
    FOUND.id, Path("x.yaml"), FOUND.case, About(bucket=FOUND.key, fails="WRONG", plugin="jax-tt-plugin 0.1.3")
)


def bucket(standing: Standing, found: Finding = FOUND) -> dict[str, Bucket]:
    seen = Sightings("2026-11-20", "2026-11-21", ("2026-11-22",) if standing is Standing.FIXED else ())
    return {found.id: Bucket(found, {}, standing, seen)}


def judged(
    *findings: Finding,
    before: dict[str, Bucket] | None = None,
    corpus: tuple[Entry, ...] = (),
    replays: tuple[Replayed, ...] = (),
    verified: tuple[Verified, ...] = (),
) -> list[tuple[str, Standing, bool, str]]:
    told = standings(NIGHT, findings, before or {}, corpus, replays, {each.name: each for each in verified})
    return [(subject.finding.id, subject.standing, subject.failed, subject.detail) for subject in told]


def test_what_nobody_knows_is_new() -> None:
    assert judged(FOUND) == [(FOUND.id, Standing.NEW, True, "")]


@pytest.mark.parametrize("standing", [Standing.NEW, Standing.KNOWN, Standing.REGRESSED])
def test_what_failed_before_is_known(standing: Standing) -> None:
    assert judged(FOUND, before=bucket(standing)) == [(FOUND.id, Standing.KNOWN, True, "")]


def test_what_the_corpus_has_is_known_from_the_first_night_on() -> None:
    assert judged(FOUND, OTHER, corpus=(ENTRY,)) == [
        (OTHER.id, Standing.NEW, True, ""),
        (FOUND.id, Standing.KNOWN, True, ""),
    ]


def test_what_was_fixed_and_fails_is_a_regression() -> None:
    assert judged(FOUND, before=bucket(Standing.FIXED)) == [
        (FOUND.id, Standing.REGRESSED, True, "was fixed on 2026-11-22")
    ]


def test_a_seed_that_passed_and_fails_is_a_regression_though_its_bucket_is_known() -> None:
    replay = Replayed("glm-router", "", "PASS", "WRONG", FOUND.id)
    assert judged(FOUND, before=bucket(Standing.KNOWN), replays=(replay,)) == [
        (FOUND.id, Standing.REGRESSED, True, "passed before: glm-router")
    ]


def test_what_the_time_did_not_suffice_for_is_not_called_new() -> None:
    late = finding("COMPILE_ERROR ttir: odd", None, state=State.NEW)
    assert judged(late)[0][1] is Standing.PENDING
    reduced = finding("COMPILE_ERROR ttir: odd", None)
    assert judged(reduced, before=bucket(Standing.PENDING, late))[0][1] is Standing.NEW
    assert judged(before=bucket(Standing.PENDING, late)) == []


def test_fixed_is_what_a_verification_says() -> None:
    verified = Verified(FOUND.id, "FIXED", "3 passes")
    assert judged(before=bucket(Standing.KNOWN), verified=(verified,)) == [
        (FOUND.id, Standing.FIXED, False, "fixed: 3 passes")
    ]


@pytest.mark.parametrize(
    ("status", "failed"),
    [("PARTLY FIXED", True), ("STILL FAILING", True), ("CHANGED", True), ("FLAKY", True), ("NOT RUN", False)],
)
def test_anything_else_a_verification_says_leaves_the_bucket_open(status: str, failed: bool) -> None:
    verified = Verified(FOUND.id, status, "because")
    assert judged(before=bucket(Standing.KNOWN), verified=(verified,)) == [
        (FOUND.id, Standing.KNOWN, failed, f"{status.lower()}: because")
    ]


def test_without_verification_a_pass_of_the_replay_is_a_fix() -> None:
    replay = Replayed(FOUND.id, "", FOUND.key, "PASS")
    assert judged(corpus=(ENTRY,), replays=(replay,)) == [(FOUND.id, Standing.FIXED, False, "passes, not verified")]


def test_what_was_not_run_is_neither_fixed_nor_seen() -> None:
    assert judged(before=bucket(Standing.KNOWN)) == [(FOUND.id, Standing.KNOWN, False, "not run")]
    refused = Replayed(FOUND.id, "", FOUND.key, "UNSUPPORTED")
    assert judged(before=bucket(Standing.KNOWN), replays=(refused,))[0][3] == "UNSUPPORTED, not verified"


def test_what_stays_fixed_is_not_told_again() -> None:
    assert judged(before=bucket(Standing.FIXED), corpus=(ENTRY,)) == []


def test_what_an_earlier_night_knows_of_a_bucket_is_shown_with_tonights_count() -> None:
    thin = finding(FOUND.key, None, state=State.KNOWN, count=2)
    told = standings(NIGHT, [thin], bucket(Standing.KNOWN), [], [], {})
    assert told[0].finding.explanation == FOUND.explanation
    assert told[0].finding.count == 2


def test_only_what_fails_and_is_reduced_is_handed_over() -> None:
    late = finding("late", None, state=State.NEW)
    told = standings(NIGHT, [FOUND, late], bucket(Standing.KNOWN, OTHER), [], [], {})
    assert [subject.finding.id for subject in failing(told)] == [FOUND.id]


# --- the history --------------------------------------------------------------------------------------------------


def record(history: History, night: str, *subjects: Subject, replays: dict[str, str] | None = None) -> None:
    history.record(Past(night, 10, 2.0, {"PASS": 10}, {}), subjects, replays or {}, f"{night}T01:00:00")


def test_a_history_tells_when_a_bucket_was_what(tmp_path: Path) -> None:
    with History.open(tmp_path) as history:
        for day, standing, failed in (
            (20, Standing.NEW, True),
            (21, Standing.FIXED, False),
            (22, Standing.REGRESSED, True),
            (23, Standing.KNOWN, False),
        ):
            record(history, f"2026-11-{day}", Subject(FOUND, standing, failed, texts={"torch script": "pass"}))
    with History.open(tmp_path) as history:
        found = history.buckets("2026-11-24")[FOUND.id]
        assert found.nights == Sightings("2026-11-20", "2026-11-22", ("2026-11-21",), ("2026-11-22",))
        assert found.standing is Standing.KNOWN
        assert found.finding == Finding.from_plain(FOUND.to_plain())
        assert found.texts == {"torch script": "pass"}
        assert [past.name for past in history.past()] == ["2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23"]
        assert history.past()[0].standings == {Standing.NEW: 1}


def test_a_night_that_is_written_again_does_not_see_itself(tmp_path: Path) -> None:
    with History.open(tmp_path) as history:
        record(history, "2026-11-22", Subject(OTHER, Standing.NEW, True), replays={"seed": "WRONG"})
        for _ in range(2):
            record(history, NIGHT, Subject(FOUND, Standing.NEW, True), replays={"seed": "PASS"})
        assert set(history.buckets(NIGHT)) == {OTHER.id}
        assert history.last_verdicts(NIGHT) == {"seed": "WRONG"}
        assert len(history.past()) == 2


def test_a_pending_bucket_keeps_what_it_was_before(tmp_path: Path) -> None:
    """A night that ended too early must not turn a known bucket into a new one."""
    with History.open(tmp_path) as history:
        record(history, "2026-11-21", Subject(FOUND, Standing.NEW, True))
        record(history, "2026-11-22", Subject(FOUND, Standing.PENDING, True))
        assert history.buckets(NIGHT)[FOUND.id].standing is Standing.NEW
