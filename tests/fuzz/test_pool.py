# SPDX-License-Identifier: Apache-2.0
"""Whatever a case does to its worker, it gets the right verdict and nothing is left behind."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec, replicated
from fuzz.pool import ExportFailed, Pool, PoolClosed
from fuzz.processes import memory_of
from oracles.explanation import Explanation
from oracles.localisation import Localisation
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable

COMMAND = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
MESH = Mesh((1, 2), ("x", "y"))


def case(**options: str) -> Case:
    value = Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), replicated(2))
    return Case(MESH, (value,), (Node("v0", "neg", ("x0",)),), (Output("v0"),), tuple(options.items()))


def make_pool(directory: Path, plugin: str | None = None, **settings: float) -> Pool:
    config = TargetConfig("tt", MESH, plugin)
    return Pool(config, directory, command=COMMAND, **{"workers": 1, "deadline": 20.0, **settings})  # type: ignore[arg-type]  # mixed numbers


def alive_with(directory: Path) -> list[int]:
    """Processes whose TMPDIR is inside the directory: workers and whatever they started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state != "Z" and b"TMPDIR=" + os.fsencode(directory) in environment:
                found.append(int(entry.name))
    return found


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with make_pool(tmp_path) as opened:
        yield opened
    assert alive_with(tmp_path) == []
    assert not (tmp_path / "tmp").exists()


def test_passing_cases_share_one_warm_worker(pool: Pool, tmp_path: Path) -> None:
    note = tmp_path / "note"
    outcomes = [pool.run(case(note=str(note), number=str(i))) for i in range(3)]
    assert [outcome.verdict for outcome in outcomes] == [Verdict.PASS] * 3
    assert len({line.split()[0] for line in note.read_text().splitlines()}) == 1


def test_a_failure_the_worker_reports_arrives_whole(pool: Pool) -> None:
    outcome = pool.run(case(does="wrong"))
    assert outcome.verdict is Verdict.WRONG
    assert outcome.mismatches[0].samples == (("0, 1", "5", "7"),)


def test_a_segfault_is_a_crash_with_signal_stage_and_last_words(pool: Pool) -> None:
    outcome = pool.run(case(does="segfault", at="lower"))
    assert (outcome.verdict, outcome.stage) == (Verdict.CRASH, "lower")
    assert outcome.message == "SIGSEGV: loc(\"x\"): error: 'ttir.scatter' op went astray at 0x7f12"
    assert "went astray" in outcome.log


def test_a_killed_worker_is_a_crash(pool: Pool) -> None:
    outcome = pool.run(case(does="kill"))
    assert (outcome.verdict, outcome.message) == (Verdict.CRASH, "SIGKILL")


def test_the_last_words_of_one_case_are_not_charged_to_the_next(pool: Pool) -> None:
    pool.run(case(does="segfault"))
    assert pool.run(case(does="kill")).message == "SIGKILL"


def test_the_worker_after_a_crash_is_a_new_one(pool: Pool) -> None:
    pool.run(case(does="segfault"))
    assert pool.run(case()).verdict is Verdict.PASS


def test_a_worker_that_ignores_sigterm_is_a_hang_and_gone(tmp_path: Path) -> None:
    with make_pool(tmp_path, deadline=0.5) as pool:
        outcome = pool.run(case(does="hang", at="compile"))
        assert (outcome.verdict, outcome.stage) == (Verdict.HANG, "compile")
        assert len(alive_with(tmp_path)) == 0
        assert pool.run(case()).verdict is Verdict.PASS


@pytest.mark.parametrize(("does", "at"), [("segfault", "reference"), ("kill", "reference"), ("kill", "execute")])
def test_a_crash_of_the_reference_or_of_our_executor_is_our_fault(pool: Pool, does: str, at: str) -> None:
    outcome = pool.run(case(does=does, at=at))
    assert (outcome.verdict, outcome.stage) == (Verdict.ENV, at)
    assert outcome.message.startswith("worker died outside the target: SIG")


def test_a_crash_of_a_target_that_executes_itself_is_its_fault(tmp_path: Path) -> None:
    with Pool(TargetConfig("cpu", MESH, mock=False), tmp_path, workers=1, command=COMMAND) as pool:
        assert pool.run(case(does="kill", at="execute")).verdict is Verdict.CRASH


def test_an_exception_in_the_judge_is_our_fault_and_the_worker_lives(pool: Pool, tmp_path: Path) -> None:
    before = alive_with(tmp_path)
    outcome = pool.run(case(does="raise"))
    assert (outcome.verdict, outcome.message) == (Verdict.ENV, "RuntimeError: a bug of ours")
    assert alive_with(tmp_path) == before


def test_children_of_a_crashed_worker_are_ended(pool: Pool, tmp_path: Path) -> None:
    assert pool.run(case(does="child")).verdict is Verdict.CRASH
    until = time.monotonic() + 5
    while alive_with(tmp_path) and time.monotonic() < until:
        time.sleep(0.01)  # a killed child takes a moment to go
    assert alive_with(tmp_path) == []


def test_a_worker_that_leaked_as_much_as_it_needs_is_replaced(tmp_path: Path) -> None:
    """128 MiB are leaked in the first case, and with what Python takes are what it needs; the third exceeds twice that.

    A worker that is not the first one starts with its first case.
    """
    note = tmp_path / "note"
    with make_pool(tmp_path) as pool:
        for number in range(6):
            assert pool.run(case(does="leak", note=str(note), number=str(number))).verdict is Verdict.PASS
    runs = Counter(line.split()[0] for line in note.read_text().splitlines())
    assert list(runs.values()) == [3, 3]


def test_a_worker_that_leaves_no_room_for_a_case_is_replaced(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with make_pool(tmp_path, memory_limit=360 << 20) as pool:
        for number in range(4):
            assert pool.run(case(does="leak", note=str(note), number=str(number))).verdict is Verdict.PASS
    assert list(Counter(line.split()[0] for line in note.read_text().splitlines()).values()) == [2, 2]


def test_a_limit_that_leaves_no_room_for_cases_is_refused(tmp_path: Path) -> None:
    with make_pool(tmp_path):
        (worker,) = alive_with(tmp_path)
        limit = memory_of(worker) * 3 // 2
    with pytest.raises(TargetUnavailable, match=r"holds \d+ MiB before its first case: of a limit of .*--memory"):
        make_pool(tmp_path, memory_limit=limit).__enter__()


def test_a_case_is_exported_by_a_worker(pool: Pool) -> None:
    assert pool.export(case()) == {"text": case().digest, "arguments": []}


def test_a_case_that_cannot_be_exported_says_why(pool: Pool) -> None:
    with pytest.raises(ExportFailed, match="the case has no module: RuntimeError: no module"):
        pool.export(case(does="raise"))
    assert pool.run(case()).verdict is Verdict.PASS


def test_a_case_is_localised_by_a_process_of_its_own(tmp_path: Path) -> None:
    note = tmp_path / "note"
    failing = case(does="error", note=str(note))
    with make_pool(tmp_path) as pool:
        pool.run(failing)
        found = pool.localise(failing)
        pool.run(failing)
    assert found == Localisation(Verdict.COMPILE_ERROR, ("FakePass (fake)",), "ttir")
    before, alone, after = [line.split()[0] for line in note.read_text().splitlines()]
    assert before == after != alone


@pytest.mark.parametrize(("does", "verdict"), [("segfault", Verdict.CRASH), ("hang", Verdict.HANG)])
def test_the_pass_in_which_a_process_ends_is_read_from_what_it_left(
    tmp_path: Path, does: str, verdict: Verdict
) -> None:
    with make_pool(tmp_path, deadline=3.0) as pool:
        found = pool.localise(case(does=does))
        assert pool.run(case()).verdict is Verdict.PASS
    assert (found.verdict, found.passes) == (verdict, ("FatalPass (fatal)",))


def test_a_process_that_is_still_dying_gets_no_other_case(pool: Pool) -> None:
    assert pool.localise(case(does="linger")) == Localisation(Verdict.CRASH, ("FatalPass (fatal)",), "vhlo")
    assert pool.localise(case(does="error")).passes == ("FakePass (fake)",)


def test_a_case_that_cannot_be_localised_says_why(pool: Pool) -> None:
    assert pool.localise(case(does="raise")).unknown == "RuntimeError: a bug of ours"


def test_a_case_is_explained_together_with_larger_ones(pool: Pool) -> None:
    """1x2 devices, and the topology has no more: twice and three times the size."""
    assert pool.explain(case(model="shard offset missing")) == Explanation(
        "explained with 2 larger cases", "shard offset missing"
    )


def test_a_case_that_cannot_be_explained_says_why(pool: Pool) -> None:
    assert pool.explain(case(does="raise")) == Explanation("unexplained: RuntimeError: a bug of ours")
    assert pool.run(case()).verdict is Verdict.PASS


def test_many_threads_share_the_workers(tmp_path: Path) -> None:
    verdicts: list[Verdict] = []

    def judge(pool: Pool, does: str) -> None:
        verdicts.append(pool.run(case(does=does)).verdict)

    with make_pool(tmp_path, workers=2) as pool:
        plan = ["pass", "segfault", "pass", "wrong", "pass", "kill"]
        threads = [threading.Thread(target=judge, args=(pool, does)) for does in plan]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(verdicts) == sorted([Verdict.PASS] * 3 + [Verdict.CRASH] * 2 + [Verdict.WRONG])
    assert alive_with(tmp_path) == []


def test_closing_ends_a_busy_worker_and_says_so(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def run(pool: Pool) -> None:
        try:
            pool.run(case(does="hang"))
        except PoolClosed as error:
            errors.append(error)

    with make_pool(tmp_path) as pool:
        threads = [threading.Thread(target=run, args=(pool,)) for _ in range(2)]  # one runs, one waits
        for thread in threads:
            thread.start()
        time.sleep(0.5)
    for thread in threads:
        thread.join(5)
    assert len(errors) == 2
    assert alive_with(tmp_path) == []


def test_a_target_that_says_it_cannot_start_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailable, match=r"^no fake plugin: pip install nothing$"):
        make_pool(tmp_path, plugin="unavailable").__enter__()
    assert alive_with(tmp_path) == []


def test_a_target_that_crashes_while_starting_is_unavailable_with_the_signal(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailable, match="does not start: SIGABRT"):
        make_pool(tmp_path, plugin="crash").__enter__()
    assert not (tmp_path / "tmp").exists()


def test_one_crash_while_starting_is_forgiven(tmp_path: Path) -> None:
    with make_pool(tmp_path, plugin=str(tmp_path / "marker")) as pool:
        assert pool.run(case()).verdict is Verdict.PASS


def test_a_target_stuck_while_starting_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailable, match="no answer within 1 s"):
        make_pool(tmp_path, plugin="stuck", start_deadline=0.6).__enter__()
    assert alive_with(tmp_path) == []


def test_a_command_that_does_not_exist_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailable, match="worker cannot start"):
        Pool(TargetConfig("tt"), tmp_path, command=("/nonexistent/python",)).__enter__()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Pool]:
    with make_pool(tmp_path, fresh=True) as opened:
        yield opened
    assert alive_with(tmp_path) == []
    assert not (tmp_path / "tmp").exists()


def test_a_fresh_process_serves_one_case(fresh: Pool, tmp_path: Path) -> None:
    note = tmp_path / "note"
    outcomes = [fresh.run(case(note=str(note), number=str(i))) for i in range(3)]
    assert [outcome.verdict for outcome in outcomes] == [Verdict.PASS] * 3
    assert len({line.split()[0] for line in note.read_text().splitlines()}) == 3


def test_what_kills_a_fresh_process_is_told_as_of_any(fresh: Pool) -> None:
    outcome = fresh.run(case(does="segfault", at="lower"))
    assert (outcome.verdict, outcome.stage) == (Verdict.CRASH, "lower")
    assert outcome.message == "SIGSEGV: loc(\"x\"): error: 'ttir.scatter' op went astray at 0x7f12"
    assert fresh.run(case()).verdict is Verdict.PASS


def test_a_fresh_process_that_hangs_is_ended(tmp_path: Path) -> None:
    with make_pool(tmp_path, fresh=True, deadline=1.0) as pool:
        assert pool.run(case(does="hang")).verdict is Verdict.HANG
        assert pool.run(case()).verdict is Verdict.PASS
    assert alive_with(tmp_path) == []


def test_a_fresh_process_answers_other_requests_too(fresh: Pool) -> None:
    assert fresh.explain(case(model="shard offset missing")).model == "shard offset missing"


@pytest.mark.parametrize(("plugin", "said"), [("unavailable", "no fake plugin"), ("crash", "SIGABRT")])
def test_a_target_that_a_fresh_process_cannot_open_is_no_failure_of_the_case(
    tmp_path: Path, plugin: str, said: str
) -> None:
    with make_pool(tmp_path, plugin, fresh=True) as pool:
        outcome = pool.run(case())
    assert outcome.verdict is Verdict.ENV
    assert said in outcome.message
