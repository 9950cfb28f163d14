# SPDX-License-Identifier: Apache-2.0
"""Bug reports: the fields of the project's own form, in order, and everything that is known in few lines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cases import FACTS, gather

from repros.facts import Facts, Wrong
from repros.issue import Repository, emit_issue

CASE = gather("x", "y")
KNOWN = replace(
    FACTS,
    versions="python 3.11.7, meshfuzz 0.1.0, torch 2.9.0, torch_xla 2.9.0, jax 0.10.2, jax-tt-plugin 0.1.3",
    explanation="row 1 used row 0's offset",
    confirmation="predicts all, and 3 of 3 other inputs",
    wrong=(Wrong("x=0, y=1", "v0", "3 of 8", "(0, 1)", "data[3, 1]", "data[0, 1] | 7"),),
    right="The other 3 devices are right.",
    exactness="Not rounding: elements are only moved",
    ruled_out="no value exceeds 256",
    boundaries=("rows: fails from 4",),
    controls=("unsharded PASS", "on cpu PASS"),
    wrote=("%1 = wrong",),
    replaced=("%1 = right",),
    system="Debian",
    devices="mock mesh 2x2, no chips",
)
FORM = (
    "### Describe the bug",
    "### Steps to reproduce the issue",
    "### Expected behavior",
    "### Please complete the following environment information",
)
HEADINGS: dict[Repository, tuple[str, ...]] = {
    "tenstorrent/tt-mlir": FORM,
    "tenstorrent/tt-xla": FORM,
    "pytorch/xla": ("## 🐛 Bug", "## To Reproduce", "## Expected behavior", "## Environment", "## Additional context"),
    "openxla/xla": (),
}
SCRIPTS = ["a.mlir", "a_torch.py", "a_test.py", "a_stablehlo.py"]


def issue(facts: Facts = KNOWN, repository: Repository = "tenstorrent/tt-mlir") -> str:
    return emit_issue(CASE, facts, SCRIPTS, repository)


@pytest.mark.parametrize("repository", HEADINGS)
def test_the_headings_are_those_of_the_project_s_form(repository: Repository) -> None:
    lines = issue(repository=repository).splitlines()
    assert tuple(line for line in lines if line.startswith("##")) == HEADINGS[repository]
    assert (
        lines[0] == f"<!-- {repository}{', label bug' if HEADINGS[repository] is FORM else ''}. Title: {FACTS.what} -->"
    )


@pytest.mark.parametrize("repository", HEADINGS)
def test_everything_that_is_known_is_said_in_sixty_lines(repository: Repository) -> None:
    text = issue(repository=repository)
    for fact in (
        "row 1 used row 0's offset",
        "this predicts all",
        "| x=0, y=1 | 3 of 8 | v0[0, 1] | data[3, 1] | data[0, 1] \\| 7 |",
        "The other 3 devices are right.",
        "- %1 = right\n+ %1 = wrong\n",
        "- Not rounding: elements are only moved\n",
        "- Ruled out: no value exceeds 256.",
        "- Boundary: rows: fails from 4\n",
        "- Controls: unsharded PASS, on cpu PASS\n",
        "v0 = data.gather(1, index)",
        "# sharded [{x, y}, {}]",
        "torch_xla 2.9.0",
        "Debian",
        "mock mesh 2x2, no chips",
    ):
        assert fact in text
    assert len(text.splitlines()) <= 60
    assert "\n\n\n" not in text


@pytest.mark.parametrize("repository", HEADINGS)
def test_what_is_not_known_leaves_no_trace(repository: Repository) -> None:
    text = issue(replace(FACTS, versions=KNOWN.versions), repository)
    for word in ("None", "Why", "Tested", "|---", "```diff", "Boundary", "Controls", "Ruled out", "\n\n\n"):
        assert word not in text


def test_what_the_title_says_is_not_said_again() -> None:
    text = issue(replace(KNOWN, what="gather: row 1 used row 0's offset"))
    assert "- Why:" not in text


def test_the_steps_say_how_to_run_each_file_and_what_its_end_means_easiest_first() -> None:
    text = issue()
    steps = text[text.index("### Steps") : text.index("### Expected")].splitlines()[2:]
    assert steps[0] == "1. `pip install jax==0.10.2 numpy jax-tt-plugin==0.1.3`"
    assert steps[1] == "2. `python a_stablehlo.py` (exit code 1: bug present, 0: correct, 77: cannot run here)"
    assert steps[2].startswith("3. `python a_torch.py`, where torch_xla has a TT plugin (exit code 1")
    assert [step.split("`")[1] for step in steps[3:] if step] == ["pytest a_test.py", "llvm-lit a.mlir"]


def test_a_failure_that_takes_chips_to_show_says_what_the_script_does_without() -> None:
    assert "without chips it ends with 77 and prints the wrong `ttir` module" in issue(
        replace(KNOWN, late_stage="ttir")
    )


def test_only_the_first_devices_of_many_are_listed() -> None:
    text = issue(replace(KNOWN, wrong=KNOWN.wrong * 32))
    assert text.count("| x=0, y=1 |") == 8
    assert "24 more devices are wrong." in text


def test_a_compile_error_is_quoted_unless_the_title_has_it() -> None:
    error = replace(
        FACTS,
        versions=KNOWN.versions,
        failure="compile error",
        message="'a.b' op is odd; Failed to run",
        wrote=("%1 = a.b",),
    )
    text = issue(error)
    assert "```\n'a.b' op is odd; Failed to run\n```" in text
    assert "```mlir\n%1 = a.b\n```" in text
    assert "It compiles, and" in text
    assert "Failed to run" not in issue(replace(error, what="gather does not compile: 'a.b' op is odd"))
