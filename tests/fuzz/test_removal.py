# SPDX-License-Identifier: Apache-2.0
"""A workaround goes only if everything passes that it avoids, in a run that could have shown the bug."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from command_line import Meshfuzz, call

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec, replicated
from fuzz.case_file import dump
from fuzz.pool import Pool
from fuzz.removal import Advice, Ruling, confirmed, difference, rule, rulings
from fuzz.replay import Replay
from fuzz.workarounds import Form, ShowsIn, Workaround
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig

TT = TargetConfig("tt", Mesh.parse("2x2"))
VERSION = "plugin 1.0"
PASS = Replay(Outcome(Verdict.PASS))
WRONG = Replay(Outcome(Verdict.WRONG, "shlo_compiler"), "WRONG shlo -> shlo_compiler, scatter: shard offset missing")
REFUSED = Replay(Outcome(Verdict.UNSUPPORTED, "compile", "no scatter"))
UNCLEAR = Replay(Outcome(Verdict.NOT_JUDGED, "ttir", "op ttir.rope"))
BROKEN = Replay(Outcome(Verdict.ENV, "start", "no plugin"))


def form(name: str, *ops: str, rows: int = 8) -> Form:
    layout = (("x",), ())
    value = Input("x0", TensorSpec((rows, 4), "f32"), Payload("position"), layout)
    names = ["x0", *(f"v{number}" for number in range(len(ops)))]
    nodes = tuple(Node(names[i + 1], op, (names[i],)) for i, op in enumerate(ops))
    return Form(f"workarounds/{name}.yaml", Case(Mesh.parse("2x2"), (value,), nodes, (Output(names[-1]),)))


ENTRY = Workaround(
    id="one",
    ticket="tt-mlir#8955",
    repository="tt-xla",
    file="router.py",
    avoids="a bug",
    avoided=form("avoided", "abs"),
    replacement=form("used", "neg", "abs"),
    neighbours=(form("near", "abs", rows=16), form("odd", "abs", rows=6)),
    meshes=(Mesh.parse("2x2"), Mesh.parse("4x1")),
    dtypes=("f32", "bf16"),
    shows_in=ShowsIn.STAGES,
)
BUILD = replace(ENTRY, shows_in=ShowsIn.BUILD, needs="tt-mlir without its pattern")


class Scripted:
    """Passes, except where a form, mesh and dtype were given another answer: (form's file, mesh, dtype) -> replay."""

    def __init__(self, **answers: Replay) -> None:
        self.answers, self.asked = answers, list[str]()

    def __call__(self, of: Case) -> Replay:
        rows, ops = of.inputs[0].spec.shape[0], len(of.nodes)
        name = {(8, 1): "avoided", (8, 2): "used", (16, 1): "near", (6, 1): "odd"}[rows, ops]
        self.asked.append(f"{name} {of.mesh} {of.inputs[0].spec.dtype}")
        return self.answers.get(f"{name}_{of.mesh}_{of.inputs[0].spec.dtype}", PASS)


def advice(entry: Workaround, config: TargetConfig = TT, **answers: Replay) -> tuple[Advice, str]:
    ruling = rule(entry, config, VERSION, Scripted(**answers))
    return ruling.advice, ruling.detail


def test_what_passes_everywhere_is_safe_to_remove() -> None:
    run = Scripted()
    ruling = rule(ENTRY, TT, VERSION, run)
    assert (ruling.advice, ruling.detail) == (
        Advice.SAFE,
        "in plugin 1.0: passes, with 2 neighbours, on 2x2, 4x1 in f32, bf16",
    )
    assert ruling.actionable
    assert ruling.tried == len(run.asked) == len(set(run.asked)) == 14
    assert ruling.skipped == (
        "odd on 4x1 in f32: x0 of shape [6, 4] does not divide on 4x1",
        "odd on 4x1 in bf16: x0 of shape [6, 4] does not divide on 4x1",
    )


def test_a_failure_of_the_avoided_form_keeps_it_and_is_named() -> None:
    told = advice(ENTRY, avoided_4x1_bf16=WRONG, near_2x2_f32=REFUSED)
    assert told == (Advice.KEEP, f"avoided on 4x1 in bf16: {WRONG.bucket}")


def test_a_failure_of_a_neighbour_keeps_it() -> None:
    assert advice(ENTRY, near_4x1_f32=REFUSED) == (Advice.KEEP, "near on 4x1 in f32: UNSUPPORTED no scatter")


def test_passes_free_nothing_whose_bug_would_not_show() -> None:
    assert advice(BUILD) == (Advice.CANNOT_TELL, "passes here, but needs tt-mlir without its pattern")


def test_chips_show_what_a_mock_does_not() -> None:
    kernel = replace(ENTRY, shows_in=ShowsIn.SILICON, needs="silicon")
    assert advice(kernel)[0] is Advice.CANNOT_TELL
    assert advice(kernel, replace(TT, mock=False))[0] is Advice.SAFE
    assert advice(BUILD, replace(TT, mock=False))[0] is Advice.CANNOT_TELL


def test_a_failure_is_evidence_wherever_the_bug_would_show() -> None:
    assert advice(BUILD, avoided_2x2_f32=WRONG)[0] is Advice.KEEP


@pytest.mark.parametrize("answer", [UNCLEAR, BROKEN])
def test_what_was_not_judged_frees_nothing(answer: Replay) -> None:
    ruling = rule(ENTRY, TT, VERSION, Scripted(near_2x2_bf16=answer))
    assert ruling.advice is Advice.CANNOT_TELL
    assert ruling.detail.startswith(f"near on 2x2 in bf16: {answer.outcome.verdict}")
    assert ruling.broken == (answer is BROKEN)


def test_a_failure_outweighs_what_was_not_judged() -> None:
    assert advice(ENTRY, avoided_2x2_f32=UNCLEAR, near_2x2_f32=WRONG)[0] is Advice.KEEP


def test_a_mesh_that_is_not_there_frees_nothing() -> None:
    told = advice(replace(ENTRY, meshes=(Mesh.parse("2x2"), Mesh.parse("2x4"))))
    assert told == (
        Advice.CANNOT_TELL,
        "avoided on 2x4 in f32: needs mesh 2x4, which does not fit 2x2: give another --mock",
    )


def test_a_replacement_that_fails_is_said_beside_the_advice() -> None:
    ruling = rule(ENTRY, TT, VERSION, Scripted(used_4x1_f32=WRONG, avoided_2x2_f32=WRONG))
    assert (ruling.advice, ruling.replacement) == (Advice.KEEP, f"used on 4x1 in f32: {WRONG.bucket}")
    assert ruling.actionable


def test_a_replacement_that_computes_something_else_is_wrong() -> None:
    assert difference(ENTRY) == ""
    other = replace(ENTRY, replacement=form("used", "neg", "neg"), avoided=form("avoided", "neg"))
    assert difference(other) == "32 elements of output 0 are not those of the avoided form, in f32"
    assert rule(other, TT, VERSION, Scripted()).replacement == difference(other)
    shape = replace(ENTRY, replacement=replace(ENTRY.replacement, case=form("near", "abs", rows=16).case))
    assert difference(shape) == "output 0 has shape [16, 4], of the avoided form [8, 4]"


def test_every_workaround_gets_a_ruling() -> None:
    entries = [replace(ENTRY, id=f"number-{number}") for number in range(5)]
    found = {ruling.workaround.id for ruling in rulings(entries, TT, VERSION, Scripted(), 2)}
    assert found == {entry.id for entry in entries}


# --- confirmation -----------------------------------------------------------------------------------------------------


def test_safe_is_confirmed_by_three_fresh_passes_and_one_of_each_neighbour() -> None:
    run = Scripted()
    done = confirmed(rule(ENTRY, TT, VERSION, Scripted()), run)
    assert (done.advice, done.fresh) == (Advice.SAFE, 5)
    assert run.asked == ["avoided 2x2 f32"] * 3 + ["near 2x2 f32", "odd 2x2 f32"]


@pytest.mark.parametrize(("answer", "told"), [(WRONG, Advice.KEEP), (BROKEN, Advice.CANNOT_TELL)])
def test_what_a_fresh_process_does_not_confirm_is_not_safe(answer: Replay, told: Advice) -> None:
    run = Scripted(near_2x2_f32=answer)
    done = confirmed(rule(ENTRY, TT, VERSION, Scripted()), run)
    assert (done.advice, done.fresh) == (told, 3)
    assert done.detail.startswith("near on 2x2 in f32: passed in a warm worker, in a fresh one ")


def test_only_safe_needs_confirmation() -> None:
    run, ruling = Scripted(), Ruling(ENTRY, Advice.KEEP, "why")
    assert confirmed(ruling, run) is ruling
    assert run.asked == []


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A workaround whose avoided form and replacement compute the same."""
    layout = replicated(2)
    value = Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), layout)
    avoided = Case(Mesh.parse("1x2"), (value,), (Node("v0", "abs", ("x0",)),), (Output("v0"),))
    used = replace(avoided, nodes=(Node("v1", "neg", ("x0",)), Node("v0", "abs", ("v1",))))
    (tmp_path / "workarounds").mkdir()
    (tmp_path / "workarounds/avoided.yaml").write_text(dump(avoided))
    (tmp_path / "workarounds/used.yaml").write_text(dump(used))
    entry = {
        "id": "one", "ticket": "", "repository": "tt-xla", "file": "a.py", "avoids": "a bug",
        "avoided": "workarounds/avoided.yaml", "replacement": "workarounds/used.yaml", "neighbours": [],
        "meshes": ["1x2"], "dtypes": ["f32"],
    }  # fmt: skip
    entries = [entry | {"shows_in": "stages"}, entry | {"id": "two", "shows_in": "silicon", "needs": "chips"}]
    (tmp_path / "workarounds.yaml").write_text(json.dumps(entries))
    return tmp_path


@pytest.fixture
def meshfuzz(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, corpus: Path) -> Meshfuzz:
    """The command, in this process; its workers are fakes that pass unless told otherwise."""
    command = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
    monkeypatch.setattr(
        "fuzz.pool.Pool.__init__.__kwdefaults__", {**(Pool.__init__.__kwdefaults__ or {}), "command": command}
    )
    monkeypatch.setattr("fuzz.replay.replaying", lambda runner, workers: nullcontext(lambda case: PASS))
    monkeypatch.setenv("COLUMNS", "80")

    options = ["--target", "cpu", "--mock", "1x2", "--corpus", str(corpus), "--workers", "1"]
    return lambda *arguments: call(capfd, "verify", "--workarounds", *options, *arguments)


def test_the_table_fits_80_columns_and_says_for_what_it_holds(meshfuzz: Meshfuzz) -> None:
    result = meshfuzz()
    assert result.code == 1
    assert max(map(len, result.out.splitlines())) <= 80
    assert " one         SAFE TO REMOVE" in result.out
    assert " two         CANNOT TELL HERE" in result.out
    assert "2 on cpu 1x2, jaxlib" in result.out
    assert "SAFE TO REMOVE holds for cpu 1x2, jaxlib" in result.out
    assert "1/1 one SAFE TO REMOVE, in fresh processes" in result.err


def test_nothing_to_do_is_exit_code_0(meshfuzz: Meshfuzz) -> None:
    result = meshfuzz("two", "--json")
    assert result.code == 0
    (told,) = json.loads(result.out)["workarounds"]
    assert (told["id"], told["advice"], told["detail"]) == ("two", "CANNOT TELL HERE", "passes here, but needs chips")


def test_junit_fails_where_somebody_should_act(meshfuzz: Meshfuzz, tmp_path: Path) -> None:
    meshfuzz("--junit", str(tmp_path / "junit.xml"))
    (suite,) = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["4", "1", "0", "1"]
    failed = suite.find("./testcase/failure/..")
    assert failed is not None
    assert failed.get("name") == "one"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("three",), "no workaround 'three' in "),
        (("--all",), "--all is for findings and regressions; --workarounds without IDs verifies all workarounds"),
    ],
)
def test_wrong_usage_is_one_line(meshfuzz: Meshfuzz, arguments: tuple[str, ...], message: str) -> None:
    result = meshfuzz(*arguments)
    assert result.code == 2
    assert result.err.startswith(f"error: {message}")
    assert result.err.count("\n") == 1
