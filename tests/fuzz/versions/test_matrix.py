# SPDX-License-Identifier: Apache-2.0
"""Cases on versions: each runs once, a version that cannot run costs nothing more, and changes have the right name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec, replicated
from fuzz.grid import Cell, Column, Grid, Kind, Row, alike, kind_of
from fuzz.replay import Runner
from fuzz.report.matrix import grid_markdown, grid_text
from fuzz.versions import matrix
from fuzz.versions.environments import Environment, PluginVersion
from fuzz.versions.matrix import Candidate, Matrix, candidates
from fuzz.versions.results import Results, Setting
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig

COMMAND = (sys.executable, str(Path(__file__).parents[1] / "fake_worker.py"))
MESH = Mesh((1, 2), ("x", "y"))
TT = TargetConfig("tt", MESH)


def case(**options: str) -> Case:
    value = Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), replicated(2))
    return Case(MESH, (value,), (Node("v0", "neg", ("x0",)),), (Output("v0"),), tuple(options.items()))


PASS = Cell(Verdict.PASS, "compare", "", "PASS compare")
WRONG = Cell(Verdict.WRONG, "shlo_compiler", "", "WRONG shlo -> shlo_compiler, gather: wrong shard offset")
LATE = Cell(Verdict.WRONG, "ttnn", "", "WRONG ttir -> ttnn, pad: constant lost")
ERROR = Cell(Verdict.COMPILE_ERROR, "ttir", "no such luck", "COMPILE_ERROR ttir: no such luck")
REPHRASED = Cell(Verdict.COMPILE_ERROR, "ttir", "bad luck", "COMPILE_ERROR ttir: bad luck")
BARE = Cell(Verdict.COMPILE_ERROR, "ttir", "Error code: 13", "COMPILE_ERROR ttir: Error code: #")
REFUSED = Cell(Verdict.UNSUPPORTED, "ttir", "not supported", "UNSUPPORTED ttir: not supported")
CRASH = Cell(Verdict.CRASH, "ttir", "SIGSEGV", "CRASH ttir: SIGSEGV")
UNJUDGED = Cell(Verdict.NOT_JUDGED, "ttir", "op ttir.rope", "NOT_JUDGED ttir: op ttir.rope")


# --- what a change is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (WRONG, PASS, Kind.FIXED),
        (REFUSED, PASS, Kind.FIXED),
        (PASS, CRASH, Kind.BROKE),
        (PASS, WRONG, Kind.BROKE),
        (ERROR, WRONG, Kind.SILENCED),
        (REFUSED, WRONG, Kind.SILENCED),
        (WRONG, ERROR, Kind.VOICED),
        (WRONG, LATE, Kind.OTHERWISE),
        (ERROR, CRASH, Kind.OTHERWISE),
        (REFUSED, ERROR, Kind.OTHERWISE),
        (ERROR, REPHRASED, Kind.REWORDED),
        (BARE, ERROR, Kind.REWORDED),
        (BARE, REFUSED, Kind.REWORDED),
        (PASS, UNJUDGED, Kind.UNCLEAR),
        (UNJUDGED, WRONG, Kind.UNCLEAR),
        (PASS, PASS, None),
        (WRONG, WRONG, None),
        (UNJUDGED, UNJUDGED, None),
    ],
)
def test_a_change_has_the_right_name(before: Cell, after: Cell, kind: Kind | None) -> None:
    assert kind_of(before, after) is kind


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(ERROR, BARE, True), (BARE, REFUSED, True), (ERROR, REPHRASED, False), (WRONG, LATE, False), (BARE, CRASH, True)],
)
def test_only_an_error_without_a_message_may_be_another(one: Cell, other: Cell, expected: bool) -> None:
    assert alike(one, other) is alike(other, one) is expected


# --- text -------------------------------------------------------------------------------------------------------------


def grid(*cells: tuple[Cell | None, ...]) -> Grid:
    columns = [Column("jax-tt-plugin==0.1.0", "the plugin does not start: \x1b[31mSIGSEGV")]
    columns += [Column(f"jax-tt-plugin==0.1.{number}") for number in range(1, len(cells[0]))]
    rows = [Row(f"case-{number}-whose-name-is-long-enough-to-fill-lines", "0", row) for number, row in enumerate(cells)]
    return Grid("tt --mock 2x2", tuple(columns), tuple(rows))


EXAMPLE = grid((None, PASS, WRONG), (None, BARE, ERROR), (None, ERROR, WRONG), (None, PASS, None))


def _shown(shown: Grid) -> str:
    console = Console(width=80, file=None, record=True, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(grid_text(shown), markup=False, highlight=False)
    return captured.get()


def test_the_grid_fits_80_columns_and_says_what_changed() -> None:
    text = _shown(EXAMPLE)
    assert max(map(len, text.splitlines())) <= 80
    assert "0.1.0: cannot run: the plugin does not start: SIGSEGV" in text
    assert "0.1.2: 2 WRONG, 1 error, 1 not run yet" in text
    assert "0.1.1 -> 0.1.2: 3 changes" in text
    assert text.index("broke (1)") < text.index("from loud to silent (1)") < text.index("only the message differs (1)")
    assert "words: error COMPILE_ERROR" in text


def test_markdown_has_whole_verdicts_with_their_stages() -> None:
    text = grid_markdown(EXAMPLE)
    assert "| case | 0.1.0 | 0.1.1 | 0.1.2 |\n| --- | --- | --- | --- |" in text
    assert "| cannot run | PASS | WRONG shlo_compiler |" in text
    assert "| cannot run | PASS | not run yet |" in text
    assert "## 0.1.1 -> 0.1.2: 3 changes" in text


def test_changes_are_between_neighbours_that_run() -> None:
    shown = Grid("tt", (Column("a==1"), Column("a==2", "no"), Column("b==1")), (Row("case", "0", (PASS, None, WRONG)),))
    ((old, new, changes),) = shown.steps()
    assert (old.name, new.name, [change.kind for change in changes]) == ("a==1", "b==1", [Kind.BROKE])
    assert shown.worse
    assert "a==1 -> b==1: 1 change" in " ".join(_shown(shown).split())


def test_one_version_has_nothing_to_compare() -> None:
    assert "Nothing to compare: fewer than two versions run." in _shown(grid((None, PASS)))


# --- running ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Results]:
    with Results(tmp_path / "kept" / "results.db") as opened:
        yield opened


def candidate(folder: Path, name: str, does: str) -> Candidate:
    (folder / name).write_text(does)
    runner = Runner(TargetConfig("tt", MESH, str(folder / name)), COMMAND, 20.0)
    return Candidate(name, runner, Setting.of(runner), "it does not start" if does == "unavailable" else "")


def test_every_case_runs_once_on_every_version_that_can(
    tmp_path: Path, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "note"
    monkeypatch.setenv("FAKE_NOTE", str(note))
    tried = [candidate(tmp_path, *each) for each in (("0", "unavailable"), ("1", "error"), ("2", "wrong"))]
    cases = {"one": case(), "two": case(model="index collapsed")}
    made = Matrix(cases, tried, str(TT), results)
    assert len(made.missing) == 4
    assert {(ran.case, ran.version) for ran in made.run(2)} == {(a, b) for a in ("one", "two") for b in ("1", "2")}
    assert len(note.read_text().splitlines()) == 4
    first, second = made.grid().rows
    assert [cell and cell.verdict for cell in first.cells] == [None, Verdict.COMPILE_ERROR, Verdict.WRONG]
    assert second.cells[2] is not None
    assert second.cells[2].says.endswith("index collapsed")
    again = Matrix(cases, tried, str(TT), results)
    assert again.missing == []
    assert again.grid() == made.grid()
    assert len(Matrix(cases, tried, str(TT), results, fresh=True).missing) == 4


def test_an_interrupted_matrix_goes_on_where_it_was(tmp_path: Path, results: Results) -> None:
    tried = [candidate(tmp_path, "1", "pass")]
    cases = {str(number): case(note=str(tmp_path / str(number))) for number in range(4)}
    running = Matrix(cases, tried, str(TT), results).run(1)
    assert next(running).cell.verdict is Verdict.PASS
    running.close()  # type: ignore[attr-defined]  # a generator, to those who only iterate an iterator
    left = len(Matrix(cases, tried, str(TT), results).missing)
    assert 1 <= left <= 3


def test_what_a_busy_machine_may_have_done_is_not_kept(results: Results) -> None:
    setting = Setting("plugin", "judge")
    for verdict in (Verdict.ENV, Verdict.HANG):
        results.put(setting, case(), Cell(verdict, "compile"))
        assert results.get(setting, case()) is None
    results.put(setting, case(), WRONG)
    assert results.get(setting, case()) == WRONG
    assert results.get(Setting("another plugin", "judge"), case()) is None
    assert results.get(Setting("plugin", "another judge"), case()) is None


def test_a_result_is_of_one_plugin_one_target_and_one_pin(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.so"
    plugin.write_text("pass")
    runner = Runner(TargetConfig("tt", MESH, str(plugin)), COMMAND)
    settings = {Setting.of(runner), Setting.of(runner, "jaxlib==0.7.1")}
    settings.add(Setting.of(Runner(TargetConfig("tt", Mesh.parse("2x2"), str(plugin)), COMMAND)))
    plugin.write_text("wrong")
    settings.add(Setting.of(runner))
    assert len(settings) == 4
    plugin.write_text("pass")
    plugin.rename(tmp_path / "elsewhere.so")
    assert Setting.of(Runner(TargetConfig("tt", MESH, str(tmp_path / "elsewhere.so")), COMMAND)) in settings


def test_a_version_that_does_not_start_is_a_column_with_its_reason(
    tmp_path: Path, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(wanted: PluginVersion, _: Path | None) -> Environment:
        plugin = tmp_path / wanted.version
        plugin.write_text("unavailable" if wanted.version == "1" else "pass")
        return Environment(Path(sys.executable), plugin)

    monkeypatch.setattr(matrix, "environment", fake)
    monkeypatch.setattr(
        Environment, "runner", lambda self, *_: Runner(TargetConfig("tt", MESH, str(self.plugin)), COMMAND, 20.0)
    )
    first, second = candidates([PluginVersion("p", "1"), PluginVersion("p", "2")], TT, 20.0, results)
    assert (first.name, second.name, second.cannot) == ("p==1", "p==2", "")
    assert first.cannot.endswith("does not start")
    results.put(second.setting, case(), PASS)
    monkeypatch.setattr(matrix, "why_not", lambda _: "started again")
    (again,) = candidates([PluginVersion("p", "2")], TT, 20.0, results)
    assert again.cannot == ""
