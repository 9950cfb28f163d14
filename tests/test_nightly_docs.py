# SPDX-License-Identifier: Apache-2.0
"""The workflow and units of docs/nightly do what they say, as far as can be told without GitHub and systemd."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fuzz import cli
from fuzz.document import parse

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "nightly"
SERVICE, TIMER = DOCS / "meshfuzz-nightly.service", DOCS / "meshfuzz-nightly.timer"
# Steps that cannot run here, and why.
ELSEWHERE = {
    "actions/checkout": "needs GitHub",
    "actions/setup-python": "needs GitHub",
    "actions/cache": "needs GitHub",
    "actions/upload-artifact": "needs GitHub",
    "github/codeql-action/upload-sarif": "needs GitHub",
    "pip install": "installs what is installed here",
}
SMALL = {"target: tt": "target: cpu", "mock: 2x2": "mock: 1x2", "time: 10m": "time: 60s", "cases:": "cases: 4",
         "workers: 2": "workers: 1", "verify: all": "verify: none", "policy: [": "policy: [pending, "}  # fmt: skip


def steps() -> list[Mapping[str, Any]]:
    document: Any = parse((DOCS / "github-actions.yml").read_text(encoding="utf-8")).data
    assert set(document["on"]) == {"schedule", "workflow_dispatch"}
    assert re.fullmatch(r"[\d*]+( [\d*]+){4}", document["on"]["schedule"][0]["cron"])
    found: list[Mapping[str, Any]] = document["jobs"]["night"]["steps"]
    return found


def test_every_step_of_the_workflow_is_known_or_runs_here() -> None:
    for step in steps():
        if "uses" in step:
            action, _, version = step["uses"].partition("@")
            assert action in ELSEWHERE
            assert version
        else:
            assert step["run"].startswith(("pip install", "meshfuzz ", "cat ", "mkdir "))
    install = next(step["run"] for step in steps() if step.get("run", "").startswith("pip install"))
    assert (ROOT / "constraints.txt").is_file()
    assert "constraints.txt" in install


def test_the_commands_of_the_workflow_run_one_after_the_other(tmp_path: Path) -> None:
    text = (DOCS / "nightly.yaml").read_text(encoding="utf-8")
    for old, new in SMALL.items():
        assert text.count(f"\n{old}") == 1, old
        text = text.replace(f"\n{old}", f"\n{new}")
    (tmp_path / "nightly.yaml").write_text(text.replace("# corpus: corpus", "corpus: corpus"), encoding="utf-8")
    (tmp_path / "corpus" / "seeds").mkdir(parents=True)
    shutil.copy(ROOT / "corpus" / "seeds" / "glm-router.yaml", tmp_path / "corpus" / "seeds")
    summary = tmp_path / "step-summary.md"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {"CONFIG": "nightly.yaml", "GITHUB_STEP_SUMMARY": str(summary), "PATH": path}
    ran = [step["run"] for step in steps() if "run" in step and not step["run"].startswith("pip install")]
    for command in ran:
        # As GitHub runs a step without a shell of its own.
        done = subprocess.run(
            ["bash", "-e", "-c", command], cwd=tmp_path, env=os.environ | given, capture_output=True, text=True,
            timeout=240, check=False,
        )  # fmt: skip
        allowed = (0, 1) if "nightly" in command.split()[:2] else (0,)
        assert done.returncode in allowed, f"{command}\n{done.stdout}{done.stderr}"
    assert len(ran) == 4
    assert summary.read_text(encoding="utf-8").startswith("# meshfuzz ")
    names = {item.name for item in (tmp_path / "night").iterdir()}
    assert names == {"report.html", "summary.md", "junit.xml", "findings.sarif", "issues"}


def unit(path: Path) -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None, strict=True)
    read.optionxform = str  # type: ignore[assignment,method-assign]  # the way configparser wants it
    read.read_string(path.read_text(encoding="utf-8"))
    return read


def test_the_service_starts_a_command_that_we_have() -> None:
    service = unit(SERVICE)["Service"]
    program, name, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).is_absolute()
    command = cli.cli.commands[name]
    with command.make_context(name, list(arguments)) as context:
        assert context.params["path"] == Path("/etc/meshfuzz/nightly.yaml")
    assert service["SuccessExitStatus"] == "1"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze: apt-get install systemd")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = tmp_path / "meshfuzz"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = SERVICE.read_text(encoding="utf-8").replace("/opt/meshfuzz/.venv/bin/meshfuzz", str(program))
    (tmp_path / SERVICE.name).write_text(text.replace("/opt/meshfuzz\n", f"{tmp_path}\n"), encoding="utf-8")
    shutil.copy(TIMER, tmp_path)
    for name in (SERVICE.name, TIMER.name):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    when = unit(TIMER)["Timer"]["OnCalendar"]
    subprocess.run(["systemd-analyze", "calendar", when], check=True, capture_output=True)


def test_the_readme_names_files_that_are_there() -> None:
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (DOCS / name).is_file(), name
    for name in re.findall(r"docs/nightly/[\w.-]+", text):
        assert (ROOT / name).is_file(), name
