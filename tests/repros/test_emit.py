# SPDX-License-Identifier: Apache-2.0
"""Emitted scripts as text: they parse, stand alone, and hold what the case says and nothing a file could smuggle in."""

import ast
from dataclasses import replace

import pytest
import torch
from cases import FACTS, MESH, arguments, expected, gather, module

from fuzz.case import Mesh, Node
from repros.emit import Argument, Expected, checksum, emit_pytest, emit_stablehlo, emit_torch
from repros.literal import EmitError

CASE = gather("x", "y")
# The standard library's part is checked by its names alone: what a script may need from elsewhere is this.
TORCH_PACKAGES = {"numpy", "torch", "torch_xla"}
STABLEHLO_PACKAGES = {"jax", "jaxlib", "ml_dtypes", "numpy"}
STANDARD = {"fcntl", "glob", "importlib", "os", "re", "shutil", "subprocess", "sys", "tempfile", "zlib"}


def stablehlo(subject=CASE, facts=FACTS, **changes):
    parts = {"arguments": arguments("index", "data"), "expected": expected(subject), "module": module("gather_xy")}
    return emit_stablehlo(subject, facts, **{**parts, **changes})


def imported(text):
    packages = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            packages.add(node.module.partition(".")[0])
    return packages


@pytest.mark.parametrize("failure", ["wrong numbers", "compile error", "crash", "hang"])
def test_a_torch_script_needs_torch_numpy_and_torch_xla_only(failure):
    assert imported(emit_torch(CASE, replace(FACTS, failure=failure))) - STANDARD == TORCH_PACKAGES


@pytest.mark.parametrize("failure", ["wrong numbers", "compile error", "crash", "hang"])
def test_a_stablehlo_script_needs_no_torch(failure):
    assert imported(stablehlo(facts=replace(FACTS, failure=failure))) - STANDARD == STABLEHLO_PACKAGES


@pytest.mark.parametrize("text", [emit_torch(CASE, FACTS), stablehlo()], ids=["torch", "stablehlo"])
def test_the_head_of_a_script_says_what_where_versions_and_exit_codes(text):
    head = text[: text.index("\nimport ")]
    assert all(line.startswith("#") for line in head.splitlines())
    for fact in (FACTS.what, FACTS.where, FACTS.versions, FACTS.bucket, CASE.digest, "0 correct, 1 bug present, 77"):
        assert fact in head


def test_the_head_says_why_and_the_boundary_once_they_are_known():
    told = replace(FACTS, explanation="no offset", confirmation="predicts all", boundaries=("rows: fails from 4",))
    text = emit_torch(CASE, told)
    assert "# why:      no offset\n# tested:   this predicts all\n# boundary: rows: fails from 4\n" in text
    assert "why:" not in emit_torch(CASE, replace(told, what="gather: no offset"))


def test_a_torch_script_has_one_line_per_node_and_marks_the_constrained_ones():
    node = Node("v1", "add", ("v0", "data"), sharding=(("x",), ()))
    subject = replace(CASE, nodes=(*CASE.nodes, node))
    body = emit_torch(subject, FACTS).partition("def graph(device, mark, data, index):\n")[2]
    assert body.startswith(
        "    v0 = data.gather(1, index)\n    v1 = (v0 + data)\n    v1 = mark(v1, ('x', None))\n    return [v0]\n"
    )


def test_a_stablehlo_script_carries_the_module_as_it_was_sent():
    assert f"MODULE = r'''\n{module('gather_xy').strip()}\n'''" in stablehlo()


def test_compile_options_reach_the_compiler():
    text = stablehlo(replace(CASE, options=(("optimization_level", "1"),)))
    assert """[("export_path", DUMPS), ('optimization_level', '1')]""" in text


def test_small_expected_outputs_are_written_out_and_large_ones_recomputed_and_checked():
    small, large = stablehlo(), stablehlo(expected=[Expected(torch.arange(100.0) ** 2)])
    assert "def unpartitioned" not in small
    assert f"\n    unpartitioned(0, {checksum(torch.arange(100.0) ** 2)}),\n" in large


def test_large_expected_outputs_that_may_round_are_not_checked_bit_by_bit():
    assert "(unpartitioned(0, None), 0.5)" in stablehlo(expected=[Expected(torch.arange(100.0) ** 2, bound=0.5)])


def test_lifted_constants_are_arguments_too():
    text = stablehlo(arguments=[*arguments("index", "data"), Argument(constant=torch.tensor(2.5))])
    assert "    np.array(2.5, dtype=np.float32),\n]" in text


def test_payload_formulas_bring_their_helper_and_lists_do_not():
    data, index = CASE.inputs
    large = replace(index, spec=replace(index.spec, shape=(8, 16)), payload=replace(index.payload, high=16))
    text = emit_torch(replace(CASE, inputs=(data, large)), FACTS)
    assert "def permutation(" in text
    assert "def mixed(" in text
    assert "def mixed(" not in emit_torch(CASE, FACTS)


@pytest.mark.parametrize("name", ["import", "torch", "v0; import os", "é", "device"])
def test_a_name_that_would_be_code_is_refused(name):
    data, index = CASE.inputs
    node = replace(CASE.nodes[0], operands=(name, "index"))
    hostile = replace(CASE, inputs=(replace(data, name=name), index), nodes=(node,))
    with pytest.raises(EmitError, match="cannot be a name"):
        emit_torch(hostile, FACTS)


@pytest.mark.parametrize("separator", ["\n", "\r", "\x0c", "\u2028"])
def test_facts_cannot_leave_their_comment(separator):
    facts = replace(FACTS, what=f"a{separator}raise SystemExit(1)")
    statements = ast.parse(emit_torch(CASE, facts)).body
    assert not any(isinstance(statement, ast.Raise) for statement in statements)


def test_a_module_that_would_end_its_quotes_is_refused():
    with pytest.raises(EmitError, match="cannot be quoted"):
        stablehlo(module="module { // ''' }")


def test_an_argument_that_is_no_input_is_refused():
    with pytest.raises(EmitError, match="neither an input"):
        stablehlo(arguments=arguments("index", "other"))


def test_a_mesh_larger_than_any_mock_cluster_is_refused():
    with pytest.raises(EmitError, match="no mock cluster"):
        stablehlo(topology=Mesh((4, 8), MESH.axes))


@pytest.mark.parametrize(("mesh", "chips"), [((2, 2), 4), ((4, 1), 4), ((1, 3), 4), ((1, 8), 8), ((1, 1), 1)])
def test_the_mock_cluster_has_chips_for_the_mesh(mesh, chips):
    text = stablehlo(topology=Mesh(mesh, MESH.axes))
    assert text.count("board_type: p150") == chips


def test_scripts_are_short_beside_their_data():
    """A maintainer reads one in a minute, without the head, the module, the mock cluster and rows of numbers."""
    for name, most in (("gather_xy", 106), ("scatter_x", 90)):
        text = stablehlo(module=module(name))
        for begin, end in (("MODULE =", "DUMPS ="), ("INPUTS =", "def compiled"), ("EXPECTED =", "bad =")):
            text = text[: text.index(begin)] + text[text.index(end) :]
        assert statement_lines(text) <= most
    text = emit_torch(CASE, FACTS)
    text = text[: text.index("INPUTS =")] + text[text.index("def graph") :]
    assert statement_lines(text) <= 60


def statement_lines(text):
    return len([line for line in text.splitlines() if line.strip() and not line.startswith("#")])


@pytest.mark.parametrize(("mesh", "runner"), [((1, 1), "single_device"), ((1, 2), "dual_chip"), ((2, 4), "llmbox")])
def test_a_test_for_tt_xla_has_the_marks_of_its_runner(mesh, runner):
    text = emit_pytest(replace(CASE, mesh=Mesh(mesh, MESH.axes)), FACTS)
    (test,) = [node for node in ast.parse(text).body if getattr(node, "name", "").startswith("test_")]
    marks = [ast.unparse(mark) for mark in test.decorator_list]
    assert marks[:2] == ["pytest.mark.nightly", f"pytest.mark.{runner}"]
    assert "torch_op_name='torch.gather'" in marks[2]
    assert imported(text) - STANDARD == {"numpy", "torch", "pytest", "utils"}


def test_what_no_case_needs_is_not_in_its_script():
    marked = replace(CASE, nodes=(replace(CASE.nodes[0], sharding=(("x",), ())),))
    assert "def constrained" not in emit_torch(CASE, FACTS)
    assert "def constrained" in emit_torch(marked, FACTS)
    assert "bound" not in emit_torch(CASE, FACTS)
    assert "<= bound" in emit_torch(CASE, FACTS, {"v0": 0.5})
