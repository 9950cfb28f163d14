# SPDX-License-Identifier: Apache-2.0
"""What is recorded is there after any end of the process, once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_campaign import MESH, sample

from fuzz.case_file import dump, loads
from fuzz.finding import Finding, Script, State, Witness
from fuzz.lock import FolderBusy, locked
from fuzz.store import Store, StoreError
from fuzz.strategies.space import Space
from fuzz.triage import pattern
from oracles.localisation import Localisation
from oracles.outcome import Mismatch, Outcome, Verdict

CASE = sample(Space((MESH,)), 0, 0)
WRONG = Outcome(Verdict.WRONG, "compare", op="neg", mismatches=(Mismatch("v0", 1, 1, 4, (("0", "1", "2"),)),))
FINDING = Finding("s", (Witness("t", pattern(CASE)),), State.REDUCED, 3, dump(CASE), dump(CASE), WRONG, 7, True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path, {"seed": 1}) as created:
        yield created


def test_a_running_case_is_on_disk_until_it_is_recorded(store: Store) -> None:
    path = store.running(4, CASE)
    assert loads(path.read_text()) == CASE
    store.record(4, CASE.digest, Outcome(Verdict.PASS))
    assert not path.exists()


def test_a_case_is_recorded_once(store: Store) -> None:
    store.record(4, CASE.digest, Outcome(Verdict.PASS))
    with pytest.raises(sqlite3.IntegrityError):
        store.record(4, CASE.digest, Outcome(Verdict.PASS))


def test_failing_cases_wait_in_the_order_of_their_index_until_they_have_a_bucket(store: Store) -> None:
    for number, outcome in ((5, WRONG), (2, WRONG), (3, Outcome(Verdict.PASS)), (4, Outcome(Verdict.UNSUPPORTED))):
        store.record(number, CASE.digest, outcome)
    assert [(record.number, record.outcome) for record in store.pending()] == [(2, WRONG), (5, WRONG)]
    store.settle([(2, "key")], ())
    assert [record.number for record in store.pending()] == [5]


def test_what_was_said_of_each_stage_is_counted(store: Store) -> None:
    told = ({"shlo": "right", "ttir": "wrong"}, {"shlo": "right", "ttir": "not judged: op x"}, {"shlo": "right"}, {})
    for number, stages in enumerate(told):
        store.record(number, CASE.digest, Outcome(Verdict.PASS, stages=stages))
    assert store.stages() == {"shlo": {"right": 3}, "ttir": {"wrong": 1, "not judged: op x": 1}}


def test_a_finding_comes_back_as_it_was_with_its_count(store: Store) -> None:
    for number in (3, 9):
        store.record(number, CASE.digest, WRONG)
    blamed = Localisation(Verdict.WRONG, ("Fusing (fuse)",), "shlo_compiler")
    finding = replace(FINDING, scripts=(Script("torch", "repros/a.py", True, "exit 1"),), localisation=blamed)
    store.settle([(9, finding.key)], [(3, finding)])
    assert store.findings() == [replace(finding, count=2)]
    assert store.finding(finding.id[:5]) == replace(finding, count=2)
    assert store.pending() == []


def test_an_unknown_or_ambiguous_id_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no finding 'abc'"):
        store.finding("abc")
    store.put_finding(FINDING)
    store.put_finding(replace(FINDING, key="other"))
    with pytest.raises(StoreError, match="more than one finding ''"):
        store.finding("")


def test_reopening_takes_back_only_what_was_not_reduced(store: Store) -> None:
    store.record(3, CASE.digest, WRONG)
    store.record(5, CASE.digest, WRONG)
    store.settle((), [(3, FINDING), (5, replace(FINDING, key="new", state=State.NEW, first=5))])
    store.reopen()
    assert [finding.key for finding in store.findings()] == [FINDING.key]
    assert [record.number for record in store.pending()] == [5]


def test_messages_are_grouped_by_what_they_say_not_by_numbers(store: Store) -> None:
    for number, message in enumerate(("rank 5 is too high", "rank 7 is too high", "no sort")):
        store.record(number, CASE.digest, Outcome(Verdict.UNSUPPORTED, "lower", message))
    assert store.messages(Verdict.UNSUPPORTED) == [("rank 5 is too high", 2), ("no sort", 1)]


def test_how_often_a_pattern_failed_counts_only_cases_that_ran_before(store: Store) -> None:
    store.record(0, "d", WRONG, ("aa", "bb"))
    store.record(1, "d", Outcome(Verdict.PASS), ("aa",))
    store.record(2, "d", None, ("aa",))
    store.record(32, "d", WRONG, ("aa",))
    assert store.tried(0, 32) == {("aa", True): 1, ("aa", False): 1, ("bb", True): 1}


def test_a_round_is_settled_in_one_step_or_not_at_all(store: Store) -> None:
    store.record(3, CASE.digest, WRONG)
    store.settle((), (), plans={0: {"known": {}}, 1: {"known": {}}})
    with pytest.raises(sqlite3.IntegrityError):
        store.settle((), [(3, FINDING)], 0, {1: {"known": {"planned": "twice"}}})
    assert (store.findings(), [record.number for record in store.pending()]) == ([], [3])
    assert store.rounds() == {0: {"known": {}}, 1: {"known": {}}}
    store.settle((), [(3, FINDING)], 0, {2: {"known": {"a": []}}})
    assert (len(store.findings()), store.pending()) == (1, [])
    assert store.rounds() == {1: {"known": {}}, 2: {"known": {"a": []}}}


def test_the_settings_come_back(store: Store) -> None:
    with Store.open(store.directory) as again:
        assert again.settings == {"seed": 1}


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "campaign.db").write_text("not a database, but long enough to have a header" * 9)
    with pytest.raises(StoreError, match=r"campaign\.db cannot be read"):
        Store.open(tmp_path)


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from fuzz.lock import locked\n"
        "with locked(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -9
    with locked(tmp_path):
        pass


def test_a_held_lock_refuses_a_second_holder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(FolderBusy, match="wait for it or choose another --dir"), locked(tmp_path):
        pass
