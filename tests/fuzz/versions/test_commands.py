# SPDX-License-Identifier: Apache-2.0
"""`meshfuzz matrix` and `meshfuzz bisect`: exit codes, one-line errors, and what is printed and written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from command_line import Meshfuzz, call

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec, replicated
from fuzz.case_file import dump
from fuzz.replay import Runner
from fuzz.versions import environments, matrix, releases
from fuzz.versions.environments import Environment, InstallFailed, PluginVersion
from oracles.targets.config import TargetConfig

COMMAND = (sys.executable, str(Path(__file__).parents[1] / "fake_worker.py"))
DOES = {"0": "unavailable", "1": "error", "2": "wrong", "3": "pass"}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The findings of whoever runs the tests are none of theirs."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def meshfuzz(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Meshfuzz:
    """The command, in this process, where four versions of a plugin `p` can be had, which do what DOES says."""

    def fake(wanted: PluginVersion, _: Path | None) -> Environment:
        if wanted.version not in DOES:
            raise InstallFailed(f"{wanted} cannot be installed: there is no such version")
        plugin = tmp_path / wanted.version
        plugin.write_text(DOES[wanted.version])
        return Environment(Path(sys.executable), plugin)

    def runner(self: Environment, config: TargetConfig, deadline: float) -> Runner:
        return Runner(TargetConfig("tt", config.topology, str(self.plugin)), COMMAND, deadline)

    for module in (matrix, releases):
        monkeypatch.setattr(module, "environment", fake)
    for module in (environments, releases):
        monkeypatch.setattr(module, "available", lambda _: tuple(DOES))
    monkeypatch.setattr(Environment, "runner", runner)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")

    return lambda *arguments: call(capfd, *arguments)


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    value = Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), replicated(2))
    case = Case(Mesh((1, 2), ("x", "y")), (value,), (Node("v0", "neg", ("x0",)),), (Output("v0"),))
    (tmp_path / "corpus").mkdir()
    path = tmp_path / "my-seed.yaml"
    path.write_text(dump(case))
    return path


def test_matrix_prints_the_grid_and_writes_it_and_goes_on_where_it_was(
    meshfuzz: Meshfuzz, seed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "grid.md"
    arguments = ("matrix", "--plugins", "p", str(seed), "--output", str(output))
    first = meshfuzz(*arguments)
    assert first.code == 1
    assert "0: cannot run: the plugin" in first.out
    assert "from loud to silent (1)" in first.out
    assert max(map(len, first.out.splitlines())) <= 80
    assert "| `my-seed` | cannot run | COMPILE_ERROR compile | WRONG compare | PASS |" in output.read_text()
    assert "3/3 my-seed p==" in first.err
    again = meshfuzz(*arguments, "--json")
    assert "my-seed p==" not in again.err
    kinds = [change["kind"] for step in json.loads(again.out)["steps"] for change in step["changes"]]
    assert kinds == ["from loud to silent", "fixed"]


def test_matrix_of_versions_that_cannot_run_is_the_environments_fault(meshfuzz: Meshfuzz, seed: Path) -> None:
    result = meshfuzz("matrix", "--plugins", "p==0", str(seed))
    assert (result.code, "Nothing to compare" in result.out) == (3, True)


def test_bisect_finds_the_fix(meshfuzz: Meshfuzz, seed: Path) -> None:
    result = meshfuzz("bisect", str(seed), "--bad", "1", "--good", "3", "--plugins", "p")
    assert result.code == 0
    assert "first good: 3; last bad: 2" in result.out


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["matrix", "{seed}", "--plugins", "p=1"], "cannot read plugins 'p=1': write for example", 2),
        (["matrix", "{seed}", "--plugins", "p==7"], "p==7 cannot be installed: there is no such version", 3),
        (["matrix", "nothing", "--plugins", "p", "--corpus", "{corpus}"], "no file, finding or entry of the corpus", 2),
        (["matrix", "--plugins", "p", "--corpus", "{corpus}"], "no case to run on 2x2: name one, or give", 2),
        (["matrix", "{seed}", "--plugins", "p", "--mock", "1x1"], "no case to run on 1x1: name one, or give", 2),
        (["bisect", "{seed}", "--good", "1"], "give --good and --bad, or --old and --new", 2),
        (["bisect", "{seed}", "--good", "1", "--new", "2"], "give --good and --bad, or --old and --new", 2),
        (["bisect", "{seed}", "--good", "1", "--bad", "7", "--plugins", "p"], "there is no p 7 to bisect; there", 2),
        (["bisect", "{seed}", "--good", "1", "--bad", "1", "--plugins", "p"], "are one version", 2),
        (["bisect", "{seed}", "--old", "2", "--new", "1", "--plugins", "p"], "--old 2 must be before --new 1", 2),
        (["bisect", "{seed}", "--good", "0", "--bad", "1", "--plugins", "p"], "0 cannot run the case: ", 2),
        (["bisect", "{seed}", "--good", "1", "--bad", "2", "--plugins", "p"], "1 is not good, which is to pass", 2),
        (["bisect", "{seed}", "--good", "1", "--bad", "2", "--command", "make"], "go together", 2),
    ],
)
def test_errors_are_one_line(meshfuzz: Meshfuzz, seed: Path, arguments: list[str], message: str, code: int) -> None:
    result = meshfuzz(*(argument.format(seed=seed, corpus=seed.parent / "corpus") for argument in arguments))
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert (result.code, result.out, len(errors)) == (code, "", 1)
    assert message in errors[0]
    assert result.err.endswith(f"{errors[0]}\n")
