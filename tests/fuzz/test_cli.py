# SPDX-License-Identifier: Apache-2.0
"""The command line: exit codes, one-line errors, and what the tables say."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fake_campaign
import made_findings
import pytest
from command_line import Meshfuzz, call
from fake_campaign import campaign

from fuzz.case import Case
from fuzz.case_file import dump
from fuzz.settings import Budget
from fuzz.store import Store
from fuzz.strategies.space import Space
from fuzz.worker_process import WorkerProcess
from oracles.outcome import Outcome, Verdict


@pytest.fixture
def meshfuzz(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Meshfuzz:
    """The command, in this process, on the fake worker and the fake strategies."""
    start = WorkerProcess.__init__
    monkeypatch.setattr(
        WorkerProcess, "__init__", lambda self, command, *rest: start(self, fake_campaign.COMMAND, *rest)
    )
    monkeypatch.setenv("COLUMNS", "80")

    return lambda *arguments: call(capfd, *arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished campaign."""
    directory = tmp_path_factory.mktemp("finished")
    campaign(directory)
    return directory


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--target", "gpu"], "unknown target 'gpu': use cpu, torchxla, tt or plugin:PATH"),
        (["run", "--time", "soon"], "unknown duration 'soon': write for example 90s, 15m or 1h30m"),
        (["run", "--time", "0s"], "duration '0s' must be more than zero"),
        (["run", "--memory", "much"], "unknown size 'much': write for example 512M or 4G"),
        (["run", "--mock", "2by2"], "unknown mesh '2by2': write rows x columns, for example 2x2"),
        (["run", "--mesh", "4x4"], "mesh 4x4 does not fit 2x2: give a larger --mock"),
        (["run", "--mock", "off"], "--mock off needs --mesh: the mesh of your chips"),
        (["run", "--dtype", "f64"], "unknown dtype f64: use f32, bf16, i32, i64, bool"),
        (["run", "--inject", "nothing"], "unknown fault 'nothing': `meshfuzz faults` lists them"),
        (["run", "--inject", "lost_base", "--mesh", "1x2", "--mock", "off"], "--inject needs --target tt and a mock"),
        (["run", "--cases", "0"], "Invalid value for '--cases': 0 is not in the range x>=1."),
        (["run", "--cass", "1"], "--cases"),
        (["prove", "nothing.py"], "File 'nothing.py' does not exist"),
        (["reduce", "nothing.yaml"], "nothing.yaml: no such file"),
        (["emit"], "give the ID of a finding, a case file, or --all"),
        (["emit", "abc", "--all"], "give the ID of a finding, a case file, or --all"),
        (["emit", "--all", "--dir", "nowhere"], "nowhere holds no campaign: start one with meshfuzz run"),
        (["emit", "abc", "--output", "."], ". is a folder: choose another --output"),
        (["emit", "--all", "--output", __file__], "is no folder: choose another --output"),
        (["show", "--dir", "nowhere"], "nowhere holds no campaign: start one with meshfuzz run"),
    ],
)
def test_bad_usage_is_one_line_that_says_what_to_do(meshfuzz: Meshfuzz, arguments: list[str], message: str) -> None:
    result = meshfuzz(*arguments)
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert message in result.err
    assert result.code == (3 if "--target" in arguments else 2)


def test_resume_refuses_options_that_would_change_the_campaign(meshfuzz: Meshfuzz, finished: Path) -> None:
    result = meshfuzz("run", "--resume", "--seed", "5", "--dir", str(finished))
    assert (result.code, result.err) == (
        2,
        "error: --seed cannot change with --resume: leave it out or start in another --dir\n",
    )


def test_show_lists_the_findings_within_80_columns(meshfuzz: Meshfuzz, finished: Path) -> None:
    result = meshfuzz("show", "--dir", str(finished))
    assert result.code == 0
    assert max(map(len, result.out.splitlines())) <= 80
    assert "COMPILE_ERROR" in result.out
    assert "scatter" in result.out


def test_show_of_a_finding_gives_the_values_per_mesh_coordinate_and_the_case(
    meshfuzz: Meshfuzz, finished: Path
) -> None:
    listed = json.loads(meshfuzz("show", "--json", "--dir", str(finished)).out)
    wrong = next(finding for finding in listed if finding["outcome"]["verdict"] == "WRONG")
    shown = meshfuzz("show", wrong["id"][:6], "--dir", str(finished)).out
    for expected in ("x=0 y=1", "2/4", "0, 1", "# case ", wrong["id"], f"repros/{wrong['id']}.py"):
        assert expected in shown


def test_show_of_an_unknown_finding_says_so(meshfuzz: Meshfuzz, finished: Path) -> None:
    result = meshfuzz("show", "zzz", "--dir", str(finished))
    assert result.code == 2
    assert "no finding 'zzz'" in result.err


def test_faults_are_listed_for_people_and_programs(meshfuzz: Meshfuzz) -> None:
    table = meshfuzz("faults").out
    assert max(map(len, table.splitlines())) <= 80
    listed = json.loads(meshfuzz("faults", "--json").out)
    assert {"name", "stage", "like", "doc"} == set(listed[0])
    assert all(fault["name"] in table for fault in listed)


def test_reduce_prints_the_minimal_case(meshfuzz: Meshfuzz, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.reduce.reducer.reduce", lambda case, fails, **_: fake_campaign.reduce(case, fails))
    case = next(c for c in _cases() if dict(c.options)["does"] == "error" and len(c.nodes) > 2)
    path = tmp_path / "case.yaml"
    path.write_text(dump(case))
    result = meshfuzz("reduce", str(path), "--mock", "1x2", "--dir", str(tmp_path))
    assert result.code == 1
    assert result.out.count("op: ") == 1
    assert "1-minimal" in result.err


def test_reduce_of_a_passing_case_has_nothing_to_do(meshfuzz: Meshfuzz, tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(dump(next(c for c in _cases() if dict(c.options)["does"] == "pass")))
    result = meshfuzz("reduce", str(path), "--mock", "1x2", "--dir", str(tmp_path))
    assert (result.code, result.out) == (0, "")
    assert "PASS: nothing to reduce" in result.err


def test_emit_all_writes_a_folder_and_says_what_it_could_not(meshfuzz: Meshfuzz, tmp_path: Path) -> None:
    plain = {"settings": fake_campaign.settings().to_plain(), "budget": Budget(cases=5).to_plain()}
    refused = made_findings.finding("refused", None, replace(made_findings.case(), options=(("does", "raise"),)))
    with Store.create(tmp_path, plain) as store:
        for finding in (made_findings.ordinary(), refused):
            store.put_finding(finding)
    result = meshfuzz("emit", "--all", "--dir", str(tmp_path), "--mock", "1x2")
    assert result.code == 0
    *problems, last = result.out.splitlines()
    assert last == f"2 findings: {tmp_path / 'report' / 'index.html'}"
    assert [line.partition(" not written: ")[0] for line in problems] == [f"{refused.id}: StableHLO script"]
    assert "no module" in problems[0]
    pages = {path.stem for path in (tmp_path / "report").glob("*.html")}
    assert pages == {"index", refused.id, made_findings.ordinary().id}
    assert [line.split()[0] for line in result.err.splitlines()] == ["1/2", "2/2"]


def test_help_of_run_states_every_default(meshfuzz: Meshfuzz) -> None:
    text = meshfuzz("run", "--help").out
    options = [part for part in text.split("\n  --") if part and not part.startswith("Usage")][1:]
    flags = ("resume", "json", "help")
    missing = [part.split()[0] for part in options if "default" not in part and not part.startswith(flags)]
    assert len(options) > 15
    assert missing == []


def test_the_command_line_starts_without_torch() -> None:
    slow = ("torch", "jax", "torch_xla", "hypothesis")
    program = f"import sys, fuzz.cli; print([name for name in {slow} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def _cases() -> list[Case]:
    return [fake_campaign.sample(Space((fake_campaign.MESH,)), 0, index) for index in range(64)]


def test_coverage_lists_what_was_not_understood(meshfuzz: Meshfuzz, tmp_path: Path) -> None:
    with Store.create(tmp_path, {}) as store:
        for number, said in enumerate(("right", "right", "wrong", "not judged: op ttnn.rope")):
            store.record(number, "digest", Outcome(Verdict.PASS, stages={"ttnn": said}))
    result = meshfuzz("show", "--coverage", "--dir", str(tmp_path))
    assert result.code == 0
    assert ["ttnn", "3", "2", "1", "1", "25.00", "%"] in [line.split() for line in result.out.splitlines()]
    assert "1 x ttnn: op ttnn.rope" in result.out
    plain = json.loads(meshfuzz("show", "--coverage", "--json", "--dir", str(tmp_path)).out)
    assert plain["stages"] == {"ttnn": {"right": 2, "wrong": 1, "not judged: op ttnn.rope": 1}}
    assert {"stablehlo", "ttir", "ttnn"} <= set(plain["ops"]["add"])
