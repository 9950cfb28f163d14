# SPDX-License-Identifier: Apache-2.0
"""Reports and lit tests of known bugs, held against what the real compiler writes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fuzz.case import Mesh
from fuzz.case_file import dump, load
from fuzz.finding import Finding, State
from fuzz.pool import Pool
from fuzz.publish import issue, lit_test
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig

FOLDER = Path(__file__).parents[2] / "corpus" / "regressions"
WORKER = Path(__file__).with_name("staging_worker.py")
TT = TargetConfig("tt", Mesh((2, 2), ("x", "y")))

pytestmark = pytest.mark.tt


@pytest.fixture(scope="module")
def tt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp("tt")
    with Pool(TT, folder, workers=1, command=(sys.executable, str(WORKER))) as pool:
        yield pool


def found(tt: Pool, name: str, outcome: Outcome) -> Finding:
    text = dump(load(FOLDER / f"{name}.yaml"))
    finding = Finding("key", (), State.REDUCED, 0, text, text, outcome)
    return replace(finding, localisation=tt.localise(finding.case))


@pytest.mark.parametrize(
    ("name", "stage", "line"),
    [
        # The written tensor has become local, the index has not.
        ("f429daa3", "shlo_compiler", "}) : (tensor<1x1xi64>, tensor<1x1x2xi64>, tensor<1x1xi64>) -> tensor<1x1xi64>"),
        # The first column of the index, for all.
        ("4198154c", "shlo_compiler", "stablehlo.slice"),
        # The major axis is gathered first.
        ("b9b2b2d2", "shlo_compiler", "stablehlo.all_gather"),
        ("d9a7f059", "ttir", "ttir.fill_cache"),
        ("aa9afea4", "ttnn", "value = 0.000000e+00"),
    ],
)
def test_a_lit_test_forbids_the_wrong_line_that_the_compiler_writes(
    tt: Pool, tmp_path: Path, name: str, stage: str, line: str
) -> None:
    finding = found(tt, name, Outcome(Verdict.WRONG, stage))
    test = lit_test(finding, TT, tt.export)
    assert test is not None
    (forbidden,) = [check for check in test.splitlines() if check.startswith("// CHECK-NOT: ")]
    assert line in forbidden
    printed = tt.export(finding.case)["stages"][stage]
    assert not accepted(test, printed, tmp_path)
    assert accepted(test, "\n".join(text for text in printed.splitlines() if line not in text), tmp_path)


def accepted(test: str, printed: str, folder: Path) -> bool:
    (folder / "test.mlir").write_text(test)
    command = [sys.executable, "-m", "filecheck", str(folder / "test.mlir")]
    done = subprocess.run(command, input=printed, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def test_the_report_of_a_rejected_program_quotes_the_op_that_is_rejected(tt: Pool) -> None:
    outcome = Outcome(Verdict.COMPILE_ERROR, "shlo_compiler", "'sdy.all_reduce' op reduction axis \"y\" overlaps")
    text = issue(found(tt, "b00a4248", outcome), TT, [])
    assert text.startswith("<!-- tenstorrent/tt-mlir")
    assert "fails in InsertExplicitReshardsPass (insert-explicit-reshards)" in text
    quoted = text[text.index("```mlir") :].splitlines()[1:3]
    assert [line.split('"')[1] for line in quoted] == ["stablehlo.gather", "sdy.all_reduce"]


def test_what_fails_outside_of_the_passes_is_reported_to_tt_xla(tt: Pool) -> None:
    finding = found(tt, "eab97766", Outcome(Verdict.COMPILE_ERROR, "ttir", "Failed to parse output sharding"))
    assert issue(finding, TT, []).startswith("<!-- tenstorrent/tt-xla")
    assert lit_test(finding, TT, tt.export) is None
