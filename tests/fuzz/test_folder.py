# SPDX-License-Identifier: Apache-2.0
"""The folder that `emit --all` writes: what is in it, and what is said of what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from made_findings import MESH, case, finding, ordinary

from fuzz import folder
from fuzz.case import Case, CaseError
from fuzz.case_file import loads
from fuzz.finding import Finding
from fuzz.folder import LazyPool, write_folder
from fuzz.pool import ExportFailed, Pool
from fuzz.report.html import Campaign, Piece
from fuzz.settings import Budget, Settings
from fuzz.strategies.space import Space
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable

CONFIG = TargetConfig("tt", MESH)


@pytest.fixture(autouse=True)
def emitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that say what they were made of, in place of the emitters."""
    monkeypatch.setattr(folder, "issue", lambda finding, config, scripts: f"issue {' '.join(scripts)}")
    monkeypatch.setattr(folder, "lit_test", _lit_test)
    monkeypatch.setattr(folder, "finding_script", _script)


def _lit_test(finding: Finding, config: TargetConfig, export: folder.Export) -> str:
    return f"// RUN: ttmlir-opt --fuse %s\n{export(finding.case)['text']}"


def _script(finding: Finding, form: str, config: TargetConfig, export: folder.Export) -> str:
    return f"{form} {export(finding.case)['text'] if form == 'stablehlo' else ''}"


def export(_: Case) -> Mapping[str, Any]:
    return {"text": "module {}"}


def write(tmp_path: Path, *findings: Finding, export: folder.Export = export) -> dict[str, tuple[Piece, ...]]:
    campaign = Campaign(findings, Settings(CONFIG, Space((MESH,))), Budget(cases=9), Counter(PASS=5, WRONG=4))
    return {f.id: pieces for f, pieces in write_folder(campaign, tmp_path, tmp_path / "out" / "deep", export)}


def test_every_finding_gets_all_its_files_and_the_index_links_to_them(tmp_path: Path) -> None:
    one, other = ordinary(), finding("another")
    write(tmp_path, one, other)
    output = tmp_path / "out" / "deep"
    suffixes = (".html", "_issue.md", "_torch.py", "_stablehlo.py", "_test.py", ".mlir", ".yaml")
    names = {f"{f.id}{suffix}" for f in (one, other) for suffix in suffixes}
    assert {path.name for path in output.iterdir()} == {*names, "index.html"}
    index = (output / "index.html").read_text()
    assert [name for name in names if f'href="{name}"' not in index] == []
    assert loads((output / f"{one.id}.yaml").read_text(), "file") == one.case


def test_a_proven_script_is_handed_over_as_it_was_proven(tmp_path: Path) -> None:
    (tmp_path / "repros").mkdir()
    (tmp_path / "repros" / "made_torch.py").write_text("# as proven\n")
    subject = ordinary()
    pieces = {piece.name: piece for piece in write(tmp_path, subject)[subject.id]}
    written = tmp_path / "out" / "deep" / f"{subject.id}_torch.py"
    assert written.read_text() == "# as proven\n"
    assert pieces["torch script"].note == "proven, bug present: got 5"
    assert pieces["pytest test"].note == "not run yet"


def test_a_piece_that_cannot_be_written_says_why_and_the_others_are_written(tmp_path: Path) -> None:
    def export(_: Case) -> Mapping[str, Any]:
        raise ExportFailed("the case has no module: too strange")

    subject = ordinary()
    pieces = {piece.name: piece for piece in write(tmp_path, subject, export=export)[subject.id]}
    failed = [name for name, piece in pieces.items() if piece.problem]
    assert failed == ["StableHLO script", "module"]
    assert all(not pieces[name].path and not pieces[name].command for name in failed)
    output = tmp_path / "out" / "deep"
    assert "the case has no module: too strange" in (output / f"{subject.id}.html").read_text()
    assert (output / f"{subject.id}_issue.md").read_text() == f"issue {subject.id}_torch.py {subject.id}_test.py"


def test_the_commands_run_the_files_beside_the_page(tmp_path: Path) -> None:
    subject = ordinary()
    commands = [piece.command for piece in write(tmp_path, subject)[subject.id] if piece.command]
    assert commands == [
        f"python {subject.id}_torch.py",
        f"python {subject.id}_stablehlo.py",
        f"pytest {subject.id}_test.py",
        f"ttmlir-opt --fuse {subject.id}.mlir",
        f"meshfuzz reduce {subject.id}.yaml --target tt --mock 2x2",
    ]


def test_a_planted_bug_is_reported_to_nobody(tmp_path: Path) -> None:
    planted = finding("planted", outcome=Outcome(Verdict.WRONG, "ttir", op="flip", injected="lost_base"))
    pieces = write(tmp_path, planted)[planted.id]
    assert [(piece.name, bool(piece.path)) for piece in pieces] == [("bug report", False), ("minimal case", True)]
    assert "fault lost_base is injected" in pieces[0].problem


def test_a_failure_of_torch_xla_has_no_module(tmp_path: Path) -> None:
    subject = finding("lower", None, outcome=Outcome(Verdict.COMPILE_ERROR, "lower", "no lowering"))
    names = [piece.name for piece in write(tmp_path, subject)[subject.id]]
    assert "StableHLO script" not in names
    assert "torch script" in names


def test_the_index_is_not_there_until_everything_is(tmp_path: Path) -> None:
    output = tmp_path / "out" / "deep"
    write(tmp_path, ordinary())
    assert (output / "index.html").exists()
    campaign = Campaign([ordinary()], Settings(CONFIG, Space((MESH,))), Budget(), Counter())
    next(write_folder(campaign, tmp_path, output, export))
    assert not (output / "index.html").exists()


def test_a_target_that_does_not_start_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fail(pool: Pool) -> Pool:
        tried.append(pool)
        raise TargetUnavailable("no plugin")

    monkeypatch.setattr(Pool, "__enter__", fail)
    with LazyPool(CONFIG, tmp_path, 1.0) as pool:
        for _ in range(3):
            with pytest.raises(TargetUnavailable, match="no plugin"):
                pool.export(case())
    assert len(tried) == 1


def test_a_case_with_an_unknown_op_still_has_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> str:
        raise CaseError("unknown op warp")

    monkeypatch.setattr(folder, "finding_script", unknown)
    subject = finding("warp", None, case(op="warp"))
    write(tmp_path, subject)
    assert "warp" in (tmp_path / "out" / "deep" / f"{subject.id}.html").read_text()
