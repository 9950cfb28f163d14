# SPDX-License-Identifier: Apache-2.0
"""Every command in the README and the docs runs: with the real command line, on a worker that compiles nothing.

What the commands do to a real compiler is tested where it lives; here a renamed option or a lost command shows.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from fuzz import cli
from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec
from fuzz.case_file import dump
from fuzz.corpus import About, dump_entry
from fuzz.finding import Finding, State, Witness
from fuzz.replay import Runner
from fuzz.settings import Budget, Settings
from fuzz.store import Store
from fuzz.strategies.space import Space
from fuzz.triage import bucket_id, pattern
from fuzz.versions import builds, environments, matrix, releases
from fuzz.versions.environments import Environment, PluginVersion
from fuzz.worker_process import WorkerProcess
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT)
    for folder in (".", "docs", "corpus", "repros")
    for path in (ROOT / folder).glob("*.md" if folder == "." else "**/*.md")
)
FAKE = (sys.executable, str(ROOT / "tests" / "fuzz" / "fake_worker.py"))
# Not ours, and not for a test to do to its machine.
OTHERS = ("sudo cp ", "sudo systemctl ", "systemctl ", "pip install ")
BENCHMARK = "python tests/benchmarks/"
KEY = "COMPILE_ERROR ttir: it does not work"
# For each version of the plugin: what it does to every case.
VERSIONS = {"0.1.0": "unavailable", "0.1.1": "pass", "0.1.2": "pass", "0.1.3": "error"}
PLACEHOLDERS = {
    "6f9c": bucket_id(KEY),
    "ID": bucket_id(KEY),
    "corpus/regressions/ID.yaml": "case.yaml",
    "/path/to/plugin.so": "plugin.so",
    "docs/nightly/nightly.yaml": "nightly.yaml",
    "/etc/meshfuzz/nightly.yaml": "nightly.yaml",
}
# In place of what the page says. A Ray cluster has workers that are no fakes; tests/fuzz/test_cluster.py starts some.
SMALL = {"--time": "3s", "--cases": "4", "--engine": "local"}
# Named in a sentence, not to be typed so.
NAMES_ALONE = ("run", "show", "verify", "matrix", "bisect")
KNOWS_CORPUS = ("run", "verify", "matrix", "bisect", "corpus")
NIGHTLY = "{folder: nights, target: tt, mock: 1x2, time: 2s, cases: 4, verify: none, corpus: corpus}"


def commands() -> Iterator[tuple[str, str]]:
    """(page, command): the lines of code blocks, and what stands between backticks and begins with meshfuzz."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
        inline = [" ".join(found.split()) for found in re.findall(r"`(meshfuzz [^`]*)`", text)]
        for line in (*lines, *inline):
            command = re.split(r"\s{2,}#|\s#\s", line)[0].strip().removeprefix(".venv/bin/")
            if command.startswith(("meshfuzz ", "make ", "python ", *OTHERS)):
                yield str(page), command


COMMANDS = sorted(set(commands()))


def failing_case() -> Case:
    value = Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), (("y",), ()))
    node = Node("v0", "flip", ("x0",), (("dims", (0,)),))
    options = (("at", "ttir"), ("does", "error"), ("message", "it does not work"))
    return Case(Mesh.parse("1x2"), (value,), (node,), (Output("v0"),), options)


def fill(place: Path) -> None:
    """A folder with all that the pages' commands name."""
    case = failing_case()
    outcome = Outcome(Verdict.COMPILE_ERROR, "ttir", "it does not work")
    finding = Finding(KEY, (Witness(KEY, pattern(case)),), State.PROVEN, 0, dump(case), dump(case), outcome)
    settings = Settings(TargetConfig("tt", case.mesh), Space((case.mesh,)), deadline=20.0)
    plain = {"settings": settings.to_plain(), "budget": Budget(cases=4).to_plain()}
    with Store.create(place / ".meshfuzz", plain) as store:
        store.record(0, case.digest, outcome)
        store.settle((), [(0, finding)])
    for machine in ("a", "b"):  # with nothing in them: what is merged must be what would be drawn
        with Store.create(place / machine, plain):
            pass
    (place / "case.yaml").write_text(dump(case))
    shutil.copy(torch._C.__file__, place / "plugin.so")  # any shared object
    build(place / "tt-xla")
    (place / "script.py").write_text("raise SystemExit(1)\n")
    (place / "nightly.yaml").write_text(NIGHTLY)
    corpus = place / "corpus"
    for folder in ("seeds", "regressions"):
        (corpus / folder).mkdir(parents=True)
    about = About("it works", ("K1",), ("tt-mlir#1",))
    (corpus / "seeds" / "flip.yaml").write_text(dump_entry(replace(case, options=()), about))
    (corpus / "workarounds.yaml").write_text(
        "- {id: flip, ticket: '', repository: tt-xla, file: a.py, avoids: flip, avoided: seeds/flip.yaml,\n"
        "   replacement: seeds/flip.yaml, neighbours: [], meshes: [1x2], dtypes: [f32], shows_in: stages}\n"
    )


def build(repository: Path) -> None:
    """A clone of a plugin's source with two revisions: v1 passes, main fails."""
    repository.mkdir()
    git = ["git", "-C", str(repository), "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run([*git, "init", "--quiet", "--initial-branch", "main"], check=True)
    (repository / "Makefile").write_text("plugin:\n\t@echo plugin.txt\n")
    for does in ("pass", "error"):
        (repository / "plugin.txt").write_text(does)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", does], check=True)
        if does == "pass":
            subprocess.run([*git, "tag", "v1"], check=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    fill(folder)
    return folder


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], int]:
    """The command in this process and in the prepared folder, on fake workers and fake versions."""

    def environment(wanted: PluginVersion, _: Path | None) -> Environment:
        plugin = place / f"plugin-{wanted.version}"
        plugin.write_text(VERSIONS[wanted.version])
        return Environment(Path(sys.executable), plugin)

    def runner(self: Environment, config: TargetConfig, deadline: float) -> Runner:
        return Runner(TargetConfig("tt", config.topology, str(self.plugin)), FAKE, deadline)

    for module in (matrix, releases):
        monkeypatch.setattr(module, "environment", environment)
    for module in (environments, releases):
        monkeypatch.setattr(module, "available", lambda _: tuple(VERSIONS))
    monkeypatch.setattr(Environment, "runner", runner)
    monkeypatch.setattr(builds, "bisect_builds", partial(builds.bisect_builds, worker=FAKE))
    start = WorkerProcess.__init__
    monkeypatch.setattr(WorkerProcess, "__init__", lambda self, command, *rest: start(self, FAKE, *rest))
    monkeypatch.setattr("oracles.targets.environment.prepare", lambda config: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    for name in ("MAKEFLAGS", "MAKELEVEL"):  # `make test` runs this; a make inside it would say where it works
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(place)

    def call(arguments: list[str]) -> int:
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        return int(str(ended.value.code))

    return call


def runnable(command: str) -> list[str]:
    """The command with the placeholders filled in, small, and away from the corpus of the project."""
    words = shlex.split(command)[1:]
    for placeholder, meant in PLACEHOLDERS.items():
        words = [meant if word == placeholder else word.replace(f":{placeholder}", f":{meant}") for word in words]
    for position, word in enumerate(words[:-1]):
        words[position + 1] = SMALL.get(word, words[position + 1])
    if len(words) == 1 and words[0] in NAMES_ALONE:
        return [*words, "--help"]
    if words[0] == "run" and "--resume" not in words:
        words += ["--dir", tempfile.mkdtemp(dir="."), "--cases", SMALL["--cases"]]
    own = words[0] in KNOWS_CORPUS and not {"--no-corpus", "--resume"} & set(words)
    return [*words, "--corpus", "corpus"] if own else words


def test_the_pages_have_commands() -> None:
    assert {"README.md", "corpus/README.md", "repros/README.md", "docs/nightly/README.md"} <= {p for p, _ in COMMANDS}
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("page", "command"), [c for c in COMMANDS if c[1].startswith("meshfuzz ")])
def test_the_command_runs(
    page: str, command: str, run: Callable[[list[str]], int], capfd: pytest.CaptureFixture[str]
) -> None:
    code = run(runnable(command))
    said = capfd.readouterr().err
    assert code in (0, 1), said
    assert "Traceback" not in said


@pytest.mark.parametrize(("page", "command"), [c for c in COMMANDS if c[1].startswith("make ")])
def test_make_knows_the_target(page: str, command: str) -> None:
    """Not run: the target `test` would run this test."""
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [command for _, command in COMMANDS if command.startswith(BENCHMARK)])
def test_the_benchmark_has_the_options(command: str) -> None:
    """Not run: they take minutes and more."""
    _, script, *words = shlex.split(command)
    text = (ROOT / script).read_text(encoding="utf-8")
    assert [word for word in words if word.startswith("--") and f'"{word}"' not in text] == []


def test_no_other_command_goes_untested() -> None:
    known = ("meshfuzz ", "make ", BENCHMARK, *OTHERS)
    others = [command for _, command in COMMANDS if not command.startswith(known)]
    assert others == ["python .meshfuzz/repros/*_stablehlo.py"] or others == []
