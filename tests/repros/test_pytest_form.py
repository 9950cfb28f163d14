# SPDX-License-Identifier: Apache-2.0
"""The pytest form, run as a script: what pytest makes of it is the exit code."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cases import FACTS, gather

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec
from repros.emit import emit_pytest
from repros.prove import Proof, prove

RETURN = "    return [v0]\n"
CPU = {"PJRT_DEVICE": "CPU"}
Run = Callable[..., Proof]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def write_and_prove(text: str, environment: dict[str, str] = CPU) -> Proof:
        path = tmp_path / "some_test.py"
        path.write_text(text)
        return prove(path, environment=environment)

    return write_and_prove


def test_it_passes_with_a_correct_compiler(run: Run) -> None:
    proof = run(emit_pytest(gather("x", "y"), FACTS))
    assert proof.exit_code == 0, proof.output
    assert "1 passed" in proof.output


def test_it_fails_on_a_known_bug_of_torch_xla(run: Run) -> None:
    """Integers are divided in f32 (regression 36dc5894)."""
    value = Input("x0", TensorSpec((2,), "i64"), Payload("monotone", 0, 16777218), ((),))
    node = Node("v0", "floor_divide_scalar", ("x0",), (("value", 1),))
    case = Case(Mesh((1, 1), ("x", "y")), (value,), (node,), (Output("v0"),))
    proof = run(emit_pytest(case, FACTS, device="CPU"), {})
    assert proof.exit_code == 1, proof.output
    assert "v0 at mesh coordinate (0, 0): 1 of 2 elements wrong" in proof.output


def test_a_crash_fails_the_test_and_does_not_end_pytest(run: Run) -> None:
    text = emit_pytest(gather("x"), replace(FACTS, failure="crash"))
    proof = run(text.replace(RETURN, "    os.kill(os.getpid(), 11)\n" + RETURN), CPU | {"COLUMNS": "200"})
    assert proof.exit_code == 1, proof.output
    assert "the process ended with -11" in proof.output


def test_without_a_tt_plugin_for_torch_xla_it_is_skipped(run: Run) -> None:
    proof = run(emit_pytest(gather("x"), FACTS), {"PJRT_DEVICE": "TT"})
    assert proof.exit_code == 77, proof.output


def test_on_another_number_of_devices_it_cannot_run(run: Run) -> None:
    proof = run(emit_pytest(gather("x"), FACTS), CPU | {"CPU_NUM_DEVICES": "2"})
    assert proof.exit_code == 77, proof.output
    assert "needs 4 devices, found 2" in proof.output
