# SPDX-License-Identifier: Apache-2.0
"""Scripts of a finding: what is written, and what is said when one cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fuzz.case import Case, CaseError, Input, Mesh, Node, Output, Payload, TensorSpec
from fuzz.case_file import dump
from fuzz.evidence import Boundary
from fuzz.finding import Finding, Script, State
from fuzz.pool import ExportFailed
from fuzz.publish import NEEDS_CHIPS, finding_script, issue, lit_test, publish, script
from oracles.explanation import Explanation
from oracles.localisation import Localisation
from oracles.outcome import Outcome, Verdict
from oracles.quotation import Quote
from oracles.targets.config import TargetConfig
from repros.prove import Proof

MESH = Mesh((1, 2), ("x", "y"))
CASE = Case(
    MESH,
    (Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), ((), ("y",))),),
    (Node("v0", "flip", ("x0",), (("dims", (1,)),)),),
    (Output("v0"),),
)
FINDING = Finding(
    "WRONG reverse", (), State.REDUCED, 0, dump(CASE), dump(CASE), Outcome(Verdict.WRONG, "compare", op="flip")
)
MODULE = {"text": "module { constant }", "arguments": [{"input": "x0"}, {"dtype": "i64", "shape": [], "elements": [7]}]}


def publish_with(directory: Path, module: Mapping[str, Any] | None = MODULE, mock: bool = False) -> tuple[Script, ...]:
    def export(_: Case) -> Mapping[str, Any]:
        if module is None:
            raise ExportFailed("the case has no module: too strange")
        return module

    return publish(FINDING, directory, TargetConfig("tt", MESH, mock=mock), export)


@pytest.fixture(autouse=True)
def proof(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every script shows its bug, without running."""
    proof = Proof(1, "expected 3\nbug present: got 5\n", 0.1, "bug present")
    monkeypatch.setattr("fuzz.publish.prove", lambda _, **__: proof)
    monkeypatch.setattr("fuzz.publish.prepare_compile_only", lambda *_: tmp_path / "descriptor")
    monkeypatch.setattr("fuzz.publish.find_tt_plugin", lambda _: tmp_path / "plugin.so")


def test_both_forms_are_written_beside_each_other_and_proven(tmp_path: Path) -> None:
    scripts = publish_with(tmp_path)
    assert [(s.form, s.proven, s.detail) for s in scripts] == [
        ("torch", True, "bug present: got 5"),
        ("stablehlo", True, "bug present: got 5"),
    ]
    for written in scripts:
        compile((tmp_path / written.path).read_text(), written.path, "exec")
    assert "flip" in (tmp_path / scripts[0].path).read_text()
    assert "module { constant }" in (tmp_path / scripts[1].path).read_text()


def test_without_chips_only_the_module_is_proven(tmp_path: Path) -> None:
    """The torch form would start torch_xla to say that it has no TT device."""
    torch_form, module_form = publish_with(tmp_path, mock=True)
    assert (torch_form.proven, torch_form.detail) == (False, NEEDS_CHIPS)
    assert module_form.proven


def test_a_script_names_the_guilty_pass(tmp_path: Path) -> None:
    blamed = Localisation(Verdict.WRONG, ("Fusing (fuse)",), "shlo_compiler")
    torch_form, _ = publish(replace(FINDING, localisation=blamed), tmp_path, TargetConfig("tt", MESH), lambda _: MODULE)
    assert "; wrong after Fusing (fuse), on the way to shlo_compiler\n" in (tmp_path / torch_form.path).read_text()


def test_no_script_shows_a_bug_that_is_injected(tmp_path: Path) -> None:
    planted = replace(FINDING, outcome=replace(FINDING.outcome, injected="lost_base"))
    assert publish(planted, tmp_path, TargetConfig("tt", MESH), lambda _: MODULE) == ()
    with pytest.raises(CaseError, match="fault lost_base is injected"):
        script(planted.case, planted.outcome, "torch", TargetConfig("tt", MESH), lambda _: MODULE)


def test_a_form_that_cannot_be_written_says_why_and_the_other_stands(tmp_path: Path) -> None:
    torch_form, module_form = publish_with(tmp_path, module=None)
    assert torch_form.proven
    assert module_form == Script("stablehlo", "", False, "the case has no module: too strange")


TT = TargetConfig("tt", MESH)
BLAMED = Localisation(
    Verdict.WRONG, ("Fusing (fuse)",), "shlo_compiler", quote=Quote(("%0 = wrong",), ("%0 = right",), "%0 = wrong")
)


def test_what_takes_chips_to_show_is_written_but_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.publish.prove", lambda *_, **__: pytest.fail("a plugin start takes seconds"))
    late = replace(FINDING, outcome=replace(FINDING.outcome, stage="ttir"))
    scripts = publish(late, tmp_path, TT, lambda _: MODULE)
    assert [(s.form, s.proven, s.detail) for s in scripts] == [
        ("torch", False, NEEDS_CHIPS),
        ("stablehlo", False, NEEDS_CHIPS),
    ]
    assert all((tmp_path / s.path).is_file() for s in scripts)


def test_with_chips_it_is_started(tmp_path: Path) -> None:
    late = replace(FINDING, outcome=replace(FINDING.outcome, stage="ttir"))
    scripts = publish(late, tmp_path, TargetConfig("tt", MESH, mock=False), lambda _: MODULE)
    assert [s.proven for s in scripts] == [True, True]


def test_a_finding_s_script_says_why_and_where_it_begins() -> None:
    told = replace(
        FINDING,
        explanation=Explanation("columns are mirrored", "mirror", 3),
        boundaries=(Boundary("dim 1 of x0", ((1, False), (2, True))),),
    )
    for form in ("torch", "stablehlo", "pytest"):
        text = finding_script(told, form, TT, lambda _: MODULE)
        assert "sharded over 2 devices: columns are mirrored\n" in text
        assert "boundary: dim 1 of x0: fails from 2" in text
        compile(text, form, "exec")


@pytest.mark.parametrize(
    ("changes", "config", "project"),
    [
        ({"localisation": BLAMED}, TT, "tenstorrent/tt-mlir"),
        ({}, TT, "tenstorrent/tt-mlir"),
        (
            {
                "outcome": Outcome(Verdict.COMPILE_ERROR, "ttir", "cannot parse"),
                "localisation": Localisation(Verdict.COMPILE_ERROR, unknown="outside any pass"),
            },
            TT,
            "tenstorrent/tt-xla",
        ),
        ({"outcome": replace(FINDING.outcome, stage="shlo")}, TT, "pytorch/xla"),
        ({}, TargetConfig("torchxla", MESH), "pytorch/xla"),
        ({}, TargetConfig("cpu", MESH), "openxla/xla"),
    ],
)
def test_the_report_goes_to_the_project_that_has_the_bug(
    changes: dict[str, Any], config: TargetConfig, project: str
) -> None:
    assert issue(replace(FINDING, **changes), config, []).startswith(f"<!-- {project}")


def test_a_lit_test_is_written_where_a_pass_is_blamed_and_one_of_its_lines_stands() -> None:
    def lit(**changes: Any) -> str | None:
        return lit_test(replace(FINDING, **changes), TT, lambda _: MODULE)

    written = lit(localisation=BLAMED)
    assert written is not None
    assert "module { constant }" in written
    assert "// CHECK-NOT: wrong\n" in written
    assert lit() is None
    assert lit(localisation=replace(BLAMED, quote=Quote(("%0 = wrong",)))) is None
    assert lit(localisation=replace(BLAMED, step="shlo")) is None
    assert lit(localisation=BLAMED, outcome=replace(FINDING.outcome, injected="lost_base")) is None
