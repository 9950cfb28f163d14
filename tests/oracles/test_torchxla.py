# SPDX-License-Identifier: Apache-2.0
"""The torch_xla target against torch eager, on real multi-device meshes of the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec, replicated
from fuzz.case_file import dump
from fuzz.ops.core import run_graph
from fuzz.payloads import values
from oracles.placement import block_start

PROCESS = Path(__file__).with_name("torchxla_process.py")
MESHES = ("2x2", "1x4", "1x2")


def tensor(name: str, shape: tuple[int, ...], dtype: str, sharding: Sharding, payload: Payload | None = None) -> Input:
    return Input(name, TensorSpec(shape, dtype), payload or Payload("position"), sharding)


def index(name: str, shape: tuple[int, ...], extent: int, sharding: Sharding) -> Input:
    return tensor(name, shape, "i64", sharding, Payload("random", 0, extent, seed=1))


def gather(mesh: Mesh) -> Case:
    x = tensor("x", (8, 12), "f32", (("x",), ("y",)))
    picks = index("i", (8, 4), 12, (("x",), ()))
    node = Node("g", "gather", ("x", "i"), (("dim", 1),))
    return Case(mesh, (x, picks), (node,), (Output("g", ((), ("y",))),))


def constrained(mesh: Mesh) -> Case:
    """A value with its own sharding, read by a node and returned in two other shardings."""
    x = tensor("x", (8, 8), "bf16", (("x", "y"), ()))
    picks = index("i", (4,), 8, ((),))
    first = Node("a", "index_select", ("x", "i"), (("dim", 0),), sharding=((), ("y",)))
    second = Node("b", "index_select", ("a", "j"), (("dim", 1),))
    outputs = (Output("a", (("y",), ())), Output("a", ((), ("y", "x"))), Output("b"))
    return Case(mesh, (x, picks, index("j", (8,), 8, (("y",),))), (first, second), outputs)


def uneven(mesh: Mesh) -> Case:
    """7 rows and 5 columns do not divide by any axis; neither does the result."""
    x = tensor("x", (7, 5), "i32", (("x",), ("y",)))
    picks = index("i", (5,), 7, (("y",),))
    node = Node("s", "index_select", ("x", "i"), (("dim", 0),))
    return Case(mesh, (x, picks), (node,), (Output("x", ((), ("y",))), Output("s", (("y",), ())), Output("s")))


def returned_inputs(mesh: Mesh) -> Case:
    x = tensor("x", (8, 4), "i64", (("y",), ()))
    mask = tensor("m", (8,), "bool", ((),), Payload("mask"))
    return Case(mesh, (x, mask), (), (Output("x"), Output("x", ((), ("y",))), Output("m", (("x",),))))


CASES = {"gather": gather, "constrained": constrained, "uneven": uneven, "returned_inputs": returned_inputs}


def one_op(op: str) -> Case:
    mesh = Mesh.parse("1x2")
    x = tensor("x", (4,), "f32", (("y",),))
    return Case(mesh, (x,), (Node("n", op, ("x",)),), (Output("n", replicated(1)),))


FAILING = {
    "not_lowered": one_op("test_not_lowered"),
    "rejected": one_op("test_rejected"),
    "other_mesh": gather(Mesh.parse("2x2")),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """mesh -> report of the process; each mesh runs once."""

    @cache
    def report(text: str) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp(text)
        cases = {name: build(Mesh.parse(text)) for name, build in CASES.items()}
        if text == "1x2":
            cases |= FAILING
        for name, case in cases.items():
            (folder / f"{name}.yaml").write_text(dump(case))
        paths = [str(folder / f"{name}.yaml") for name in cases]
        done = subprocess.run(
            [sys.executable, str(PROCESS), text, *paths],
            capture_output=True,
            text=True,
            timeout=240,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    return report


def eager(case: Case) -> list[torch.Tensor]:
    inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
    graph = run_graph(case, inputs, "cpu")
    return [graph[output.name] for output in case.outputs]


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("name", CASES)
def test_every_device_holds_its_part_of_the_eager_result(run: Any, name: str, mesh: str) -> None:
    case = CASES[name](Mesh.parse(mesh))
    report = run(mesh)[name]
    for want, blocks in zip(eager(case), report["outputs"], strict=True):
        assert [block["device"] for block in blocks] == list(range(case.mesh.size))
        covered = torch.zeros(want.shape, dtype=torch.bool)
        for block in blocks:
            got = torch.tensor(block["values"], dtype=want.dtype).reshape(block["shape"])
            part = tuple(slice(start, start + size) for start, size in zip(block["start"], got.shape, strict=True))
            assert block["dtype"] == str(want.dtype)
            assert torch.equal(got, want[part])
            covered[part] = True
        assert bool(covered.all())


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("name", ["gather", "constrained", "returned_inputs"])
def test_even_outputs_come_back_in_the_sharding_asked_for(run: Any, name: str, mesh: str) -> None:
    case = CASES[name](Mesh.parse(mesh))
    outputs = zip(case.outputs, eager(case), run(mesh)[name]["outputs"], strict=True)
    asked = [(o.sharding, want, blocks) for o, want, blocks in outputs if o.sharding is not None]
    assert asked
    for sharding, want, blocks in asked:
        starts = [tuple(block["start"]) for block in blocks]
        assert starts == [block_start(want.shape, sharding, case.mesh, d) for d in range(case.mesh.size)]


def test_an_op_that_torch_xla_runs_on_the_cpu_is_unsupported(run: Any) -> None:
    """Its result would be torch's own, and the case would pass without having been tested."""
    report = run("1x2")["not_lowered"]
    assert (report["verdict"], report["stage"]) == ("UNSUPPORTED", "lower")
    assert report["message"] == "torch_xla has no lowering for aten::special_i1e"


def test_a_graph_that_only_torch_xla_refuses_is_a_finding_with_the_first_line(run: Any) -> None:
    report = run("1x2")["rejected"]
    assert report == {"verdict": "COMPILE_ERROR", "stage": "lower", "message": "this shape is not to my taste"}


def test_a_mesh_that_does_not_use_all_devices_is_refused_with_the_remedy(run: Any) -> None:
    report = run("1x2")["other_mesh"]
    assert report["error"] == "TargetUnavailable"
    assert "--mesh 2x2" in report["message"]


def test_a_constraint_on_an_intermediate_reaches_the_program(run: Any) -> None:
    """It does not change values, so nothing else would notice its loss. Two of the three are those of the outputs."""
    assert run("2x2")["constrained"]["constraints"] == 3


def test_operations_name_what_the_graph_is_about(run: Any) -> None:
    assert run("2x2")["gather"]["operations"] == ["concatenate", "gather"]


def test_stages_are_announced_in_order(run: Any) -> None:
    assert run("2x2")["gather"]["stages"] == ["lower", "compile", "execute"]
