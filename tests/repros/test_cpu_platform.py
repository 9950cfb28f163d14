# SPDX-License-Identifier: Apache-2.0
"""The stablehlo form for bugs of XLA itself: no plugin, the module runs on XLA's CPU mesh."""

from dataclasses import replace
from pathlib import Path

import pytest
from cases import COMPILE_ERROR, FACTS, arguments, expected, gather, module, scatter

from repros.emit import Expected, emit_stablehlo
from repros.prove import prove

# On CPU targets no result is left open.
OPEN, CLOSED = "-> tensor<8x8xf32> {", "-> (tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>}) {"


def write(folder: Path, wanted: list[Expected]) -> Path:
    text = module("gather_x").replace(OPEN, CLOSED)
    assert CLOSED in text
    script = emit_stablehlo(gather("x"), FACTS, text, arguments("index", "data"), wanted, platform="cpu")
    assert "libtt" not in script
    path = folder / "script.py"
    path.write_text(script)
    return path


def test_a_right_program_gives_0(tmp_path: Path) -> None:
    proof = prove(write(tmp_path, expected(gather("x"))))
    assert proof.exit_code == 0, proof.output


def test_a_wrong_number_gives_1_and_says_where(tmp_path: Path) -> None:
    right = expected(gather("x"))
    changed = right[0].value.clone()
    changed[0, 0] += 1
    proof = prove(write(tmp_path, [replace(right[0], value=changed)]))
    assert proof.exit_code == 1, proof.output
    assert "mesh coordinate (0, 0): 1 of 64 elements wrong" in proof.output


@pytest.mark.tt
@pytest.mark.timeout(900)
def test_another_compile_error_than_the_one_it_is_about_is_not_the_bug(tmp_path: Path) -> None:
    facts = replace(COMPILE_ERROR, error="something else went wrong")
    case = scatter("x")
    path = tmp_path / "script.py"
    path.write_text(emit_stablehlo(case, facts, module("scatter_x"), arguments("data", "index"), expected(case)))
    assert prove(path).exit_code == 77
