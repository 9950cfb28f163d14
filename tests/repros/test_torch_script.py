# SPDX-License-Identifier: Apache-2.0
"""The torch form, run: its logic is proven on XLA's CPU mesh, where the compiler is right."""

from dataclasses import replace

import pytest
from cases import COMPILE_ERROR, FACTS, gather

from fuzz.case import Node, Output
from repros.emit import emit_torch
from repros.prove import prove

CPU = {"PJRT_DEVICE": "CPU"}
RETURN = "    return [v0]\n"


@pytest.fixture
def run(tmp_path):
    def write_and_prove(text, environment=CPU):
        path = tmp_path / "script.py"
        path.write_text(text)
        return prove(path, environment=environment)

    return write_and_prove


def test_a_correct_compiler_gives_exit_0_on_every_mesh_coordinate(run):
    constrained = Node("v1", "mul", ("v0", "data"), sharding=((), ("y",)))
    total = Node("v2", "sum", ("v1",), (("dim", 1), ("keepdim", False)))
    case = gather("x", "y")
    case = replace(case, nodes=(*case.nodes, constrained, total), outputs=(Output("v1", ((), ("x",))), Output("v2")))
    proof = run(emit_torch(case, FACTS, {"v2": 0.5}))
    assert proof.exit_code == 0, proof.output
    for coordinate in ("(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)"):
        assert f"v1 at mesh coordinate {coordinate}: 0 of 32 elements wrong" in proof.output


def test_wrong_numbers_on_the_mesh_give_exit_1_and_are_shown(run):
    text = emit_torch(gather("x"), FACTS)
    assert RETURN in text
    proof = run(text.replace(RETURN, "    return [v0 + (device != 'cpu')]\n"))
    assert proof.exit_code == 1, proof.output
    assert "v0 at mesh coordinate (1, 0): 32 of 32 elements wrong" in proof.output
    assert "at (0, 0) of this device: expected " in proof.output


@pytest.mark.parametrize(("facts", "code"), [(COMPILE_ERROR, 1), (FACTS, 77)], ids=["compile error", "wrong numbers"])
def test_a_compile_error_is_the_bug_only_where_it_was_the_bug(run, facts, code):
    failing = "    if device != 'cpu':\n        raise RuntimeError('does not lower')\n"
    proof = run(emit_torch(gather("x"), facts).replace(RETURN, failing + RETURN))
    assert proof.exit_code == code, proof.output
    assert "got: RuntimeError: does not lower" in proof.output


@pytest.mark.parametrize(
    ("failure", "statement", "seen"),
    [
        ("crash", "os.kill(os.getpid(), 11)", "died of signal 11"),
        ("hang", "import time; time.sleep(30)", "none after 3 s"),
    ],
)
def test_crashes_and_hangs_are_seen_from_outside(run, failure, statement, seen):
    text = emit_torch(gather("x"), replace(FACTS, failure=failure))
    proof = run(text.replace("import numpy as np\n", f"{statement}\n").replace("240", "3"))
    assert proof.exit_code == 1, proof.output
    assert seen in proof.output


def test_without_a_tt_plugin_for_torch_xla_it_cannot_run(run):
    proof = run(emit_torch(gather("x"), FACTS), environment={"PJRT_DEVICE": "TT"})
    assert proof.exit_code == 77
    assert "no TT plugin for torch_xla" in proof.output


def test_on_another_number_of_devices_it_cannot_run(run):
    proof = run(emit_torch(gather("x"), FACTS), environment={**CPU, "CPU_NUM_DEVICES": "2"})
    assert proof.exit_code == 77
    assert "needs 4 devices, found 2" in proof.output
