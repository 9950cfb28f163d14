# SPDX-License-Identifier: Apache-2.0
"""Which machine gets a case, and what is said of those that cannot work or are lost. Without Ray's processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fake_campaign import COMMAND, MESH, sample, settings
from fake_ray import FakeActor, FakeRay

from fuzz import actors
from fuzz.cluster import LOSSES, Cluster
from fuzz.engine import Plan, Trial
from fuzz.pool import PoolClosed
from fuzz.station import Machine, this_machine
from fuzz.strategies.space import Space
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetUnavailable

HERE = this_machine(settings().target)
PASS = Outcome(Verdict.PASS)
PLAN = Plan(Space((MESH,)), 0, 0.1)
CASE = sample(Space((MESH,)), 0, 0)
MakeCluster = Callable[..., Cluster]


def actor(name: str = "one", **answers: Callable[..., Any]) -> FakeActor:
    return FakeActor({"start": lambda *_: Machine(name, HERE.versions), "run": lambda case: PASS, **answers})


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise error

    return fail


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> MakeCluster:
    def made(*cast: FakeActor, wanted: int = 0) -> Cluster:
        ray = FakeRay(list(cast), cpus=wanted or len(cast))
        monkeypatch.setattr(actors, "connect", lambda workers: (ray, False))
        return Cluster(settings(workers=wanted), sample, COMMAND)

    return made


def test_there_are_as_many_actors_as_the_cluster_has_cpus(make: MakeCluster) -> None:
    assert make(actor(), actor(), actor()).parallel == 3


def test_a_case_that_ran_on_a_lost_machine_runs_elsewhere(make: MakeCluster, capfd: pytest.CaptureFixture[str]) -> None:
    dying = actor("dying")
    dying.answers["run"] = lambda case: (dying.lost(), time.sleep(0.1))
    with make(dying, actor(), wanted=1) as engine:
        assert engine.run(CASE) == PASS
    assert "a worker on dying was lost; what it had in hand runs elsewhere" in capfd.readouterr().err


def test_a_case_that_takes_every_machine_along_is_our_failure_not_a_verdict(make: MakeCluster) -> None:
    doomed = [actor(str(number)) for number in range(LOSSES + 1)]
    for one in doomed:
        one.answers["trial"] = lambda *_, one=one: (one.lost(), time.sleep(0.1))
    with make(*doomed, wanted=1) as engine:
        trial = engine.trial(PLAN, 7)
    assert (trial.number, trial.digest) == (7, sample(PLAN.space, PLAN.seed, 7).digest)
    assert trial.outcome is not None
    assert (trial.outcome.verdict, trial.features) == (Verdict.ENV, ())
    assert f"{LOSSES} machines in a row were lost" in trial.outcome.message


def test_an_actor_that_finds_room_later_is_given_cases(make: MakeCluster) -> None:
    joined = threading.Event()
    late = actor("late", start=lambda *_: (joined.wait(), Machine("late", HERE.versions))[1])
    both = threading.Barrier(2, timeout=10)
    for one in (first := actor("first"), late):
        one.answers["run"] = lambda case: (both.wait(), PASS)[1]
    with make(first, late) as engine:
        joined.set()
        runs = [threading.Thread(target=engine.run, args=(CASE,)) for _ in range(2)]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
    assert not both.broken


def test_the_machines_that_can_start_the_target_work_and_the_others_are_named_once(
    make: MakeCluster, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = [actor(start=raising(TargetUnavailable("no plugin on bad"))) for _ in range(2)]
    with make(*bad, actor()) as engine:
        assert [engine.run(CASE) for _ in range(4)] == [PASS] * 4
    assert capfd.readouterr().err.count("no plugin on bad") == 1


def test_a_target_that_starts_nowhere_is_unavailable(make: MakeCluster) -> None:
    bad = [actor(start=raising(TargetUnavailable("no plugin here"))) for _ in range(2)]
    with pytest.raises(TargetUnavailable, match="no plugin here"):
        make(*bad).__enter__()


def test_actors_that_die_before_they_work_are_not_made_for_ever(make: MakeCluster) -> None:
    doomed = [actor() for _ in range(LOSSES)]
    for one in doomed:
        one.answers["start"] = lambda *_, one=one: (one.lost(), time.sleep(0.1))
    with pytest.raises(TargetUnavailable, match="die before they start"):
        make(*doomed, wanted=1).__enter__()


def test_a_machine_whose_disk_is_full_is_not_asked_again(make: MakeCluster, capfd: pytest.CaptureFixture[str]) -> None:
    asked = threading.Event()

    def write(*_: Any) -> None:
        asked.set()
        raise OSError(28, "No space left on device")

    later = actor("later", start=lambda *_: (asked.wait(), Machine("later", HERE.versions))[1])
    with make(actor("full", run=write), later) as engine:
        assert [engine.run(CASE) for _ in range(4)] == [PASS] * 4
    assert capfd.readouterr().err.count("No space left") == 1


def test_a_machine_with_other_versions_is_refused_in_one_line_that_names_both(make: MakeCluster) -> None:
    other = Machine("other", {**HERE.versions, "torch": "1.0"})
    with pytest.raises(TargetUnavailable) as raised:
        make(actor(start=lambda *_: other)).__enter__()
    assert f"torch 1.0 on other and {HERE.versions['torch']} on {HERE.name}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_fault_of_ours_arrives_as_it_is(make: MakeCluster) -> None:
    with make(actor(run=raising(KeyError("ours")))) as engine, pytest.raises(KeyError):
        engine.run(CASE)


def test_a_plan_is_sent_once(make: MakeCluster) -> None:
    keys: list[int] = []

    def trial(key: int, plan: list[Plan], number: int) -> Trial:
        keys.append(key)
        assert plan == [PLAN]
        return Trial(number, "", PASS)

    with make(actor(trial=trial)) as engine:
        assert [engine.trial(PLAN, number).number for number in range(3)] == [0, 1, 2]
        engine.trial(Plan(PLAN.space, PLAN.seed, PLAN.revisit), 3)
    assert keys == [1, 1, 1, 2]


def test_whoever_waits_when_it_is_closed_is_told(make: MakeCluster) -> None:
    busy = threading.Event()
    stuck = actor(run=lambda case: (busy.set(), threading.Event().wait()))
    errors: list[BaseException] = []

    def run() -> None:
        try:
            engine.run(CASE)
        except PoolClosed as error:
            errors.append(error)

    with make(stuck) as engine:
        runs = [threading.Thread(target=run) for _ in range(3)]
        for one in runs:
            one.start()
        busy.wait()
    for one in runs:
        one.join(10)
    assert len(errors) == 3
    with pytest.raises(PoolClosed):
        engine.run(CASE)


def test_a_cluster_without_a_machine_is_given_up(make: MakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "ALONE", 0.2)
    with pytest.raises(TargetUnavailable, match="no machine of the cluster was ready"):
        make(wanted=1).__enter__()


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(TargetUnavailable, match="meshfuzz\\[ray\\]"):
        Cluster(settings(), sample, COMMAND)
