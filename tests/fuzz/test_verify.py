# SPDX-License-Identifier: Apache-2.0
"""A failure is fixed only after passes enough, near cases included; everything else has a name of its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import made_findings
import pytest
from command_line import Meshfuzz, call

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec, replicated, to_plain
from fuzz.case_file import dump
from fuzz.corpus import REGRESSIONS, About, Entry, load_entry
from fuzz.evidence import Neighbour
from fuzz.finding import Finding, State
from fuzz.replay import Replay, Runner
from fuzz.settings import Settings
from fuzz.signature import signature
from fuzz.store import Store
from fuzz.strategies.space import Space
from fuzz.triage import bucket_id
from fuzz.verify import FLAKY_PASSES, Status, Subject, Verification, examine, subjects, verify
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig

COMMAND = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
MESH = Mesh((1, 2), ("x", "y"))
TT = TargetConfig("tt", MESH)
KEY = "COMPILE_ERROR ttir: no such luck"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The findings of whoever runs the tests are none of theirs."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def case(size: int = 4, mesh: Mesh = MESH, **options: str) -> Case:
    value = Input("x0", TensorSpec((size, 4), "f32"), Payload("position"), replicated(2))
    return Case(mesh, (value,), (Node("v0", "neg", ("x0",)),), (Output("v0"),), tuple(options.items()))


def near(*sizes: int) -> tuple[Neighbour, ...]:
    return tuple(Neighbour(f"dim 0 of x0 = {size}", case(size)) for size in sizes)


PASS = Replay(Outcome(Verdict.PASS))
SAME = Replay(Outcome(Verdict.COMPILE_ERROR, "ttir", "no such luck"), KEY)
OTHER = Replay(Outcome(Verdict.WRONG, "shlo_compiler"), "WRONG shlo -> shlo_compiler, gather: index collapsed")
REFUSED = Replay(Outcome(Verdict.UNSUPPORTED, "compile", "no neg of  this"))
BROKEN = Replay(Outcome(Verdict.ENV, "start", "no plugin"))
UNCLEAR = Replay(Outcome(Verdict.NOT_JUDGED, "ttir", "op ttir.rope"))


class Scripted:
    """Replays of the minimal case in the given order, the last one for ever; of other cases by their size."""

    def __init__(self, *replays: Replay, neighbours: dict[int, Replay] | None = None) -> None:
        self.replays, self.neighbours, self.runs, self.seen = replays, neighbours or {}, 0, list[int]()

    def __call__(self, of: Case) -> Replay:
        size = of.inputs[0].spec.shape[0]
        if size != 4:
            self.seen.append(size)
            return self.neighbours.get(size, PASS)
        self.runs += 1
        return self.replays[min(self.runs, len(self.replays)) - 1]


def status(subject: Subject, run: Scripted) -> tuple[Status, str]:
    done = examine(subject, TT, run)
    return done.status, done.detail


def test_three_passes_and_all_neighbours_make_a_fix() -> None:
    run = Scripted(PASS)
    done = examine(Subject(KEY, case(), near(8, 16)), TT, run)
    assert (done.status, done.detail) == (Status.FIXED, "3 passes and 2 of its neighbours")
    assert (run.runs, run.seen, done.neighbours) == (3, [8, 16], 2)


def test_a_neighbour_that_fails_makes_it_partly_fixed_and_is_named() -> None:
    run = Scripted(PASS, neighbours={16: OTHER})
    told = status(Subject(KEY, case(), near(8, 16, 32)), run)
    assert told == (
        Status.PARTLY_FIXED,
        "passes, but not its neighbour (dim 0 of x0 = 16): WRONG shlo -> shlo_compiler, gather: index collapsed",
    )
    assert run.seen == [8, 16]


def test_a_neighbour_that_is_refused_now_is_not_fixed() -> None:
    run = Scripted(PASS, neighbours={8: REFUSED})
    assert status(Subject(KEY, case(), near(8)), run)[0] is Status.PARTLY_FIXED


def test_a_neighbour_that_cannot_run_leaves_it_open_unless_another_fails() -> None:
    subject = Subject(KEY, case(), near(8, 16))
    told = status(subject, Scripted(PASS, neighbours={8: UNCLEAR}))
    assert told == (
        Status.NOT_RUN,
        "passes, but a neighbour was not run (dim 0 of x0 = 8): NOT_JUDGED op ttir.rope",
    )
    assert status(subject, Scripted(PASS, neighbours={8: UNCLEAR, 16: SAME}))[0] is Status.PARTLY_FIXED


def test_a_neighbour_on_a_mesh_that_is_not_there_leaves_it_open() -> None:
    large = Neighbour("on 2x2", case(mesh=Mesh.parse("2x2")))
    told, detail = status(Subject(KEY, case(), (large,)), Scripted(PASS))
    assert told is Status.NOT_RUN
    assert "needs mesh 2x2, which does not fit 1x2" in detail


def test_one_run_in_the_same_bucket_proves_that_it_still_fails() -> None:
    run = Scripted(SAME)
    assert status(Subject(KEY, case(), near(8)), run) == (Status.STILL_FAILING, KEY)
    assert (run.runs, run.seen) == (1, [])


def test_a_finding_that_was_not_reduced_is_known_by_its_signature() -> None:
    unreduced = replace(SAME, bucket="another name")
    assert status(Subject(KEY, case()), Scripted(unreduced))[0] is Status.STILL_FAILING


def test_another_failure_is_a_change_once_a_second_run_confirms_it() -> None:
    run = Scripted(OTHER)
    assert status(Subject(KEY, case()), run) == (Status.CHANGED, OTHER.bucket)
    assert run.runs == 2


def test_from_wrong_to_loud_is_a_change() -> None:
    assert status(Subject(KEY, case()), Scripted(REFUSED)) == (Status.CHANGED, "UNSUPPORTED no neg of this")


@pytest.mark.parametrize(
    ("replays", "detail"),
    [
        ((PASS, SAME), f"PASS; in run 2 {KEY}"),
        ((PASS, PASS, OTHER), f"PASS; in run 3 {OTHER.bucket}"),
        ((OTHER, PASS), f"{OTHER.bucket}; in run 2 PASS"),
        ((OTHER, SAME), f"{OTHER.bucket}; in run 2 {KEY}"),
        ((REFUSED, OTHER), f"UNSUPPORTED no neg of this; in run 2 {OTHER.bucket}"),
    ],
)
def test_runs_that_differ_are_flaky(replays: tuple[Replay, ...], detail: str) -> None:
    assert status(Subject(KEY, case()), Scripted(*replays)) == (Status.FLAKY, detail)


def test_a_flaky_finding_has_to_pass_more_often() -> None:
    flaky = Subject(f"NONDETERMINISTIC: {KEY}", case(), flaky=True)
    assert status(flaky, Scripted(PASS)) == (Status.FIXED, f"{FLAKY_PASSES} passes")
    late = Scripted(*[PASS] * (FLAKY_PASSES - 1), SAME)
    assert status(flaky, late)[0] is Status.FLAKY
    assert status(flaky, Scripted(OTHER)) == (Status.STILL_FAILING, OTHER.bucket)


@pytest.mark.parametrize("replays", [(BROKEN,), (PASS, PASS, BROKEN), (OTHER, BROKEN)])
def test_a_problem_of_the_environment_is_neither_fixed_nor_failing(replays: tuple[Replay, ...]) -> None:
    done = examine(Subject(KEY, case()), TT, Scripted(*replays))
    assert (done.status, done.detail, done.broken) == (Status.NOT_RUN, "ENV no plugin", True)


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (Subject(KEY, case(), injected="lost_base"), "fails because of a planted fault, lost_base: no compiler has it"),
        (Subject(KEY, case(), found_on="cpu"), "was found on another target: give --target cpu"),
        (
            Subject(KEY, case(mesh=Mesh.parse("2x4"))),
            "needs mesh 2x4, which does not fit 1x2: give another --mock",
        ),
    ],
)
def test_what_would_say_nothing_is_not_run(subject: Subject, reason: str) -> None:
    run = Scripted(PASS)
    done = examine(subject, TT, run)
    assert (done.status, done.detail, done.broken, run.runs) == (Status.NOT_RUN, reason, False, 0)


def test_a_stage_that_was_not_understood_is_not_a_pass() -> None:
    assert status(Subject(KEY, case()), Scripted(UNCLEAR)) == (Status.NOT_RUN, "NOT_JUDGED op ttir.rope")


# --- what there is to verify ------------------------------------------------------------------------------------------


def finding(key: str = KEY, of: Case | None = None, **fields: object) -> Finding:
    return made_findings.finding(key, None, of or case(), SAME.outcome, **fields)


def regression(key: str, of: Case, *neighbours: Neighbour) -> Entry:
    about = About(bucket=key, neighbours=neighbours)
    return Entry(bucket_id(key), Path(f"{bucket_id(key)}.yaml"), of, about)


def test_a_finding_and_a_regression_of_one_bucket_are_one_subject() -> None:
    (subject,) = subjects([finding(neighbours=near(8, 16))], [regression(KEY, case(2), *near(16, 32))])
    assert subject.sources == ("finding", "regression")
    assert subject.case == case(2)
    assert [neighbour.case for neighbour in subject.neighbours] == [case(16), case(32), case(), case(8)]


def test_the_same_case_in_both_is_not_its_own_neighbour() -> None:
    (subject,) = subjects([finding()], [regression(KEY, case())])
    assert subject.neighbours == ()


def test_other_buckets_are_other_subjects_and_what_passes_is_none() -> None:
    found = subjects([finding()], [regression("WRONG pad", case(2)), regression("", case(3))])
    assert [subject.key for subject in found] == [KEY, "WRONG pad"]


def test_a_subject_knows_what_its_finding_was() -> None:
    planted = replace(SAME.outcome, injected="lost_base")
    (subject,) = subjects([replace(finding(state=State.FLAKY), outcome=planted)], [], "tt")
    assert (subject.flaky, subject.injected, subject.found_on) == (True, "lost_base", "tt")


# --- in processes of their own ----------------------------------------------------------------------------------------


def of_each_status(folder: Path) -> dict[Status, Subject]:
    """A failing case with a message fails in the bucket of that message."""
    error = {"does": "error", "at": "ttir", "message": "no such luck"}
    partly = Neighbour("dim 0 of x0 = 8", case(8, **error))
    return {
        Status.FIXED: Subject("WRONG a", case(), near(8)),
        Status.PARTLY_FIXED: Subject("WRONG b", case(), (partly,)),
        Status.STILL_FAILING: Subject(KEY, case(**error)),
        Status.CHANGED: Subject("WRONG d", case(does="unsupported", message="not this")),
        Status.FLAKY: Subject("WRONG e", case(does="flaky", once=str(folder / "once"))),
        Status.NOT_RUN: Subject("WRONG f", case(does="kill", at="reference")),
    }


def test_each_status_comes_from_fresh_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "note"
    monkeypatch.setenv("FAKE_NOTE", str(note))
    wanted = of_each_status(tmp_path)
    done = {each.subject.id: each for each in verify([*wanted.values()], Runner(TT, COMMAND, 20.0), 2)}
    assert {subject.key: str(done[subject.id].status) for subject in wanted.values()} == {
        subject.key: str(status) for status, subject in wanted.items()
    }
    assert done[wanted[Status.NOT_RUN].id].broken
    processes = [line.split()[0] for line in note.read_text().splitlines()]
    assert len(processes) == len(set(processes)) == 4 + 4 + 1 + 2 + 2 + 1


def test_a_target_that_does_not_start_fixes_nothing() -> None:
    (done,) = verify([Subject(KEY, case())], Runner(replace(TT, plugin="unavailable"), COMMAND, 20.0), 1)
    assert (done.status, done.broken) == (Status.NOT_RUN, True)
    assert done.detail == "ENV no fake plugin: pip install nothing"


def test_one_that_is_not_waited_for_begins_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def slow(of: Case) -> Replay:
        begun.append(of)
        time.sleep(0.02)
        return PASS

    monkeypatch.setattr("fuzz.verify.replaying", lambda runner, workers: nullcontext(slow))
    running = verify([Subject(f"WRONG {n}", case()) for n in range(50)], Runner(TT), 1)
    next(iter(running))
    running.close()  # type: ignore[attr-defined]  # a generator
    assert len(begun) < 10


@pytest.mark.tt
def test_a_regression_of_the_compiler_still_fails_in_its_bucket() -> None:
    """The reversal of a sharded dim: one process, one compile."""
    entry = load_entry(Path(__file__).parents[2] / "corpus" / REGRESSIONS / "fa02c0f2.yaml")
    subject = Subject("WRONG shlo -> shlo_compiler, reverse: each shard alone", entry.case)
    (done,) = verify([subject], Runner(TargetConfig("tt", Mesh.parse("2x2"))), 1)
    assert (done.status, done.subject.id) == (Status.STILL_FAILING, "fa02c0f2"), done.detail


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def meshfuzz(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Meshfuzz:
    """The command, in this process, on replays that the case's option `does` decides."""
    answers = {"wrong": OTHER, "error": SAME, "broken": BROKEN}

    def run(of: Case) -> Replay:
        return answers.get(dict(of.options).get("does", ""), PASS)

    monkeypatch.setattr("fuzz.verify.replaying", lambda runner, workers: nullcontext(run))
    monkeypatch.setenv("COLUMNS", "80")

    return lambda *arguments: call(capfd, "verify", "--target", "cpu", "--mock", "1x2", *arguments)


def campaign_of(folder: Path, found: Iterable[Finding]) -> str:
    settings = Settings(TargetConfig("cpu", MESH), Space((MESH,)))
    with Store.create(folder / "campaign", {"settings": settings.to_plain()}) as store:
        for each in found:
            store.put_finding(each)
    return str(folder / "campaign")


def corpus_of(folder: Path, **fails: Case) -> str:
    (folder / "corpus" / REGRESSIONS).mkdir(parents=True)
    for key, of in fails.items():
        about = {"about": {"bucket": key}}
        text = json.dumps(to_plain(of) | about)
        (folder / "corpus" / REGRESSIONS / f"{bucket_id(key)}.yaml").write_text(text)
    return str(folder / "corpus")


@pytest.mark.parametrize(
    ("does", "code"),
    [(("pass", "pass"), 0), (("pass", "error"), 1), (("broken", "broken"), 3), (("pass", "broken"), 1)],
)
def test_the_exit_code_says_whether_all_are_fixed(
    meshfuzz: Meshfuzz, tmp_path: Path, does: tuple[str, str], code: int
) -> None:
    campaign = campaign_of(tmp_path, [finding(of=case(does=does[0]))])
    corpus = corpus_of(tmp_path, reverse=case(does=does[1]))
    assert meshfuzz("--all", "--dir", campaign, "--corpus", corpus).code == code


def test_the_table_fits_80_columns_and_the_sums_name_the_version(meshfuzz: Meshfuzz, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, **{KEY: case(does="error"), "WRONG a long name " * 4: case(does="wrong")})
    result = meshfuzz("--all", "--corpus", corpus)
    assert max(map(len, result.out.splitlines())) <= 80
    assert "STILL FAILING  the same" in result.out
    assert "2 on cpu 1x2, jaxlib " in result.out.replace("\n", " ")
    assert "STILL FAILING 1, CHANGED 1" in result.out
    assert f"1/2 {bucket_id(KEY)} " in result.err or f"2/2 {bucket_id(KEY)} " in result.err


def test_an_id_chooses_by_its_beginning(meshfuzz: Meshfuzz, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, **{KEY: case(does="error"), "WRONG a": case()})
    told = json.loads(meshfuzz(bucket_id("WRONG a")[:5], "--corpus", corpus, "--json").out)
    assert told["on"].startswith("cpu 1x2, jaxlib ")
    (verification,) = told["verifications"]
    assert (verification["was"], verification["status"]) == ("WRONG a", "FIXED")
    assert [run["verdict"] for run in verification["runs"]] == ["PASS"] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say which: IDs of findings or regressions, or --all"),
        (("abc", "--all"), "say which: IDs of findings or regressions, or --all"),
        (("nothing",), "no finding or regression 'nothing'"),
        (("",), "more than one finding or regression ''"),
    ],
)
def test_wrong_usage_is_one_line(meshfuzz: Meshfuzz, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    corpus = corpus_of(tmp_path, a=case(), b=case())
    result = meshfuzz(*arguments, "--corpus", corpus)
    assert (result.code, result.err) == (2, f"error: {message}\n")


def test_a_folder_that_was_named_must_be_there(meshfuzz: Meshfuzz, tmp_path: Path) -> None:
    result = meshfuzz("--all", "--corpus", str(tmp_path / "none"))
    assert result.code == 2
    assert "no such folder" in result.err
    result = meshfuzz("--all", "--dir", str(tmp_path / "none"), "--corpus", corpus_of(tmp_path))
    assert result.code == 2
    assert "holds no campaign" in result.err


def test_junit_says_what_is_fixed_failing_and_broken(meshfuzz: Meshfuzz, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, **{KEY: case(does="error"), "WRONG a": case(), "WRONG b": case(does="broken")})
    path = tmp_path / "junit.xml"
    meshfuzz("--all", "--corpus", corpus, "--junit", str(path))
    (suite,) = ElementTree.parse(path).getroot()
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["3", "1", "1", "0"]
    failure = suite.find("./testcase/failure")
    assert failure is not None
    assert failure.get("message") == f"STILL FAILING: {KEY}"


def test_names_of_this_file_mean_what_they_do_elsewhere() -> None:
    """The made error is what `fuzz.signature` calls by the made key."""
    assert signature(SAME.outcome) == KEY
    assert isinstance(examine(Subject(KEY, case()), TT, Scripted(PASS)), Verification)
    assert dump(case()) != dump(case(8))
