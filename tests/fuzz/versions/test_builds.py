# SPDX-License-Identifier: Apache-2.0
"""Revisions of a clone: `git bisect` finds the one that changed a case, and the clone is left as it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fuzz.case import Case, Input, Mesh, MeshfuzzError, Node, Output, Payload, TensorSpec, replicated
from fuzz.versions.bisection import Answer, BisectionError
from fuzz.versions.builds import GitFailed, bisect_builds
from fuzz.versions.subjects import Subject
from oracles.targets.config import TargetConfig

COMMAND = (sys.executable, str(Path(__file__).parents[1] / "fake_worker.py"))
CASE = Case(
    Mesh((1, 2), ("x", "y")),
    (Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), replicated(2)),),
    (Node("v0", "neg", ("x0",)),),
    (Output("v0"),),
)
BUILD = "! grep -q broken plugin && echo made && echo plugin"
Clone = Callable[..., Path]


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(("git", *arguments), cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """Makes a repository with a revision, tagged r0, r1 and so on, for each thing that a worker can do."""

    def make(*does: str) -> Path:
        folder = tmp_path / "clone"
        folder.mkdir()
        git(folder, "init", "--quiet", "--initial-branch", "main")
        git(folder, "config", "user.name", "nobody")
        git(folder, "config", "user.email", "nobody@example.org")
        # Names of our packages: a step must not take them for ours.
        (folder / "fuzz").mkdir()
        (folder / "fuzz" / "__init__.py").write_text("raise SystemExit('the wrong fuzz')\n")
        for number, what in enumerate(does):
            (folder / "plugin").write_text(f"{what}\n")
            git(folder, "add", ".")
            git(folder, "commit", "--quiet", "--allow-empty", "--message", f"revision {number} does {what}")
            git(folder, "tag", f"r{number}")
        return folder

    return make


def bisect(folder: Path, command: str = BUILD, bucket: str = "", **ends: str) -> Answer:
    config = TargetConfig("tt", CASE.mesh)
    return bisect_builds(Subject("s", CASE, bucket), ends, config, 20.0, command, folder, COMMAND)


def numbers(names: Sequence[str]) -> list[int]:
    return [int(name.split()[2]) for name in names]


def test_the_first_bad_revision_is_found_and_the_clone_is_left_as_it_was(clone: Clone) -> None:
    folder = clone("pass", "pass", "wrong")
    (folder / "notes").write_text("mine")
    answer = bisect(folder, good="r0", bad="r2")
    assert numbers([answer.before, *answer.suspects]) == [1, 2]
    assert git(folder, "symbolic-ref", "--short", "HEAD") == "main"
    assert git(folder, "status", "--porcelain") == "?? notes"
    assert not (folder / ".git" / "BISECT_START").exists()


def test_a_change_is_found_past_revisions_that_do_not_build_or_start(clone: Clone) -> None:
    answer = bisect(clone("error", "broken", "unavailable", "wrong"), old="r0", new="r3")
    assert numbers([answer.before, *answer.suspects]) == [0, 1, 2, 3]
    assert "first new: one of" in str(answer)
    assert "skip  --command failed with exit code 1: it said nothing" in str(answer)
    assert "does not start" in str(answer)


def test_the_first_good_of_two_neighbours_is_the_fix(clone: Clone) -> None:
    answer = bisect(clone("error", "pass"), good="HEAD", bad="r0", bucket="COMPILE_ERROR compile")
    assert (answer.criterion.new, numbers(answer.suspects)) == ("good", [1])


@pytest.mark.parametrize(
    ("ends", "error", "message"),
    [
        ({"good": "r0", "bad": "r9"}, MeshfuzzError, "has no revision 'r9'"),
        ({"good": "r0", "bad": "--all"}, MeshfuzzError, "has no revision '--all'"),
        ({"good": "r0", "bad": "r0"}, GitFailed, "must be two revisions, one made from the other"),
        ({"old": "r1", "new": "r0"}, MeshfuzzError, "--old r1 must be before --new r0"),
    ],
)
def test_ends_that_make_no_sense_are_named(
    clone: Clone, ends: dict[str, str], error: type[MeshfuzzError], message: str
) -> None:
    folder = clone("pass", "wrong")
    with pytest.raises(error, match=message):
        bisect(folder, **ends)
    assert git(folder, "symbolic-ref", "--short", "HEAD") == "main"


def test_a_command_that_prints_no_path_cannot_be_an_end(clone: Clone) -> None:
    with pytest.raises(BisectionError, match="cannot run the case: --command printed no path of a plugin"):
        bisect(clone("pass", "wrong"), "true", good="r0", bad="r1")


def test_changes_that_are_not_committed_are_refused(clone: Clone) -> None:
    folder = clone("pass", "wrong")
    (folder / "plugin").write_text("mine")
    with pytest.raises(GitFailed, match="has changes that are not committed: commit or stash them"):
        bisect(folder, good="r0", bad="r1")
    assert (folder / "plugin").read_text() == "mine"


def test_a_bisection_that_is_going_on_is_not_disturbed(clone: Clone) -> None:
    folder = clone("pass", "wrong")
    git(folder, "bisect", "start")
    with pytest.raises(GitFailed, match="is going on: end it with git bisect reset"):
        bisect(folder, good="r0", bad="r1")
    assert (folder / ".git" / "BISECT_START").exists()


def test_a_folder_without_git_is_named(tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match="is no clone of a git repository"):
        bisect(tmp_path, good="r0", bad="r1")
