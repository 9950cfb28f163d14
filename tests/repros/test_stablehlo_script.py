# SPDX-License-Identifier: Apache-2.0
"""The stablehlo form, run against the real TT compiler: two bugs it has, and two programs it compiles right."""

from dataclasses import replace

import pytest
import torch
from cases import COMPILE_ERROR, FACTS, MESH, arguments, expected, gather, index_select, module, scatter

from oracles.targets.config import TargetUnavailable
from oracles.targets.environment import find_tt_plugin, prepare_compile_only
from repros.emit import Expected, emit_stablehlo
from repros.prove import prove


@pytest.fixture(scope="module")
def compiler():
    """How to start the plugin at once as a compiler for 2x2."""
    try:
        plugin = find_tt_plugin()
    except TargetUnavailable as error:
        pytest.skip(str(error))
    descriptor = prepare_compile_only(plugin, MESH)
    return {"environment": {"TT_COMPILE_ONLY_SYSTEM_DESC": str(descriptor)}}


@pytest.fixture
def run(tmp_path):
    def write_and_prove(text, **settings):
        path = tmp_path / "script.py"
        path.write_text(text)
        return prove(path, **settings)

    return write_and_prove


def gather_xy(**changes):
    case = gather("x", "y")
    parts = {"module": module("gather_xy"), "arguments": arguments("index", "data"), "expected": expected(case)}
    return emit_stablehlo(case, FACTS, **{**parts, **changes})


@pytest.mark.tt
@pytest.mark.timeout(900)  # the plugin's first start on a machine builds kernels
def test_wrong_order_of_two_gathers_over_a_dim_sharded_twice_is_shown_where_it_happens(run, compiler):
    proof = run(gather_xy(), **compiler)
    assert proof.exit_code == 1, proof.output
    wrong = {
        coordinate: f"{coordinate}: 16 of 16 elements wrong" in proof.output for coordinate in ("(0, 1)", "(1, 0)")
    }
    right = {coordinate: f"{coordinate}: 0 of 16 elements wrong" in proof.output for coordinate in ("(0, 0)", "(1, 1)")}
    assert all(wrong.values())
    assert all(right.values())


@pytest.mark.tt
@pytest.mark.timeout(900)
def test_a_scatter_that_does_not_compile_gives_exit_1_and_the_error(run, compiler):
    case = scatter("x")
    script = emit_stablehlo(case, COMPILE_ERROR, module("scatter_x"), arguments("data", "index"), expected(case))
    proof = run(script, **compiler)
    assert proof.exit_code == 1, proof.output
    assert "'sdy.all_reduce' op reduction axis \"x\" overlaps" in proof.output


@pytest.mark.tt
@pytest.mark.timeout(900)
def test_a_compile_error_is_not_the_bug_of_a_script_about_wrong_numbers(run, compiler):
    case = scatter("x")
    script = emit_stablehlo(case, FACTS, module("scatter_x"), arguments("data", "index"), expected(case))
    assert run(script, **compiler).exit_code == 77


@pytest.mark.tt
@pytest.mark.timeout(900)
def test_a_gather_along_the_other_dim_is_right(run, compiler):
    case = gather("x")
    script = emit_stablehlo(case, FACTS, module("gather_x"), arguments("index", "data"), expected(case))
    proof = run(script, **compiler)
    assert proof.exit_code == 0, proof.output
    assert proof.output.count("0 of 32 elements wrong") == MESH.size


@pytest.mark.tt
@pytest.mark.timeout(900)
def test_rows_of_other_devices_count_as_zeros_not_as_clamped_reads(run, compiler):
    """The compiler masks a gather over a sharded dim and sums; with XLA's clamping, right code would look wrong."""
    case = index_select("x")
    script = emit_stablehlo(case, FACTS, module("index_select_x"), arguments("index", "data"), expected(case))
    proof = run(script, **compiler)
    assert proof.exit_code == 0, proof.output


@pytest.mark.tt
@pytest.mark.timeout(900)
def test_an_expected_value_that_xla_does_not_reproduce_is_not_compared_with(run, compiler):
    wrong_reference = Expected(torch.arange(100.0) ** 2)
    proof = run(gather_xy(expected=[wrong_reference]), **compiler)
    assert proof.exit_code == 77
    assert "XLA on one CPU device disagrees with torch" in proof.output


@pytest.mark.tt
@pytest.mark.timeout(900)
def test_a_program_with_marks_of_unknown_meaning_cannot_be_judged(run, compiler):
    script = gather_xy()
    changed = script.replace("unknown = re.findall(", 'program += "// tt.new_mark"\nunknown = re.findall(', 1)
    assert changed != script
    proof = run(changed, **compiler)
    assert proof.exit_code == 77
    assert "tt.new_mark" in proof.output


def test_a_plugin_that_does_not_load_gives_77_and_says_so(run):
    proof = run(gather_xy(), environment={"TT_PJRT_PLUGIN": "/nonexistent.so", "TT_COMPILE_ONLY_SYSTEM_DESC": "/none"})
    assert proof.exit_code == 77, proof.output
    assert "cannot run here" in proof.output


def test_a_crash_of_the_compiler_is_seen_from_outside(run):
    case = gather("x", "y")
    facts = replace(FACTS, failure="crash")
    script = emit_stablehlo(case, facts, module("gather_xy"), arguments("index", "data"), expected(case))
    proof = run(script.replace("import jax\n", "os.abort()\n", 1), environment={"TT_COMPILE_ONLY_SYSTEM_DESC": "/none"})
    assert proof.exit_code == 1, proof.output
    assert "died of signal 6" in proof.output
