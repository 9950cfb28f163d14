# SPDX-License-Identifier: Apache-2.0
"""The driver of NNSmith for `peers.py`: its fuzz loop (`nnsmith/cli/fuzz.py`, FuzzingLoop) in process, part by part."""

from __future__ import annotations

import logging
import random
import resource
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import nnsmith
import torch
from nnsmith.abstract.extension import activate_ext
from nnsmith.abstract.op import Constant, Input, Placeholder
from nnsmith.difftest import assert_allclose
from nnsmith.graph_gen import model_gen
from nnsmith.materialize import Model
from nnsmith.narrow_spec import auto_opset
from nnsmith.util import set_seed
from peers_driver import Clock, Graph, mentions, serve, versions

# nnsmith/config/main.yaml: mgen.max_elem_per_tensor, mgen.timeout_ms, mgen.vulops, cmp.equal_nan
MAX_ELEMENTS = 65536
TIMEOUT_MS = 10000
VULNERABLE_OPS = False
EQUAL_NAN = True
# NNSmith bounds tensors, but no weights: a Linear of 65536 x 65536 takes 17 GB. What does not fit is an invalid case.
MEMORY_LIMIT = 8 << 30
TILE = 32
MESH = r"(?i)\b(mesh|sharding|all_reduce|all_gather|collective)\b"


@lru_cache(maxsize=1)
def opened() -> tuple[Any, Any]:
    """The model type and its ops, as FuzzingLoop.__init__ sets them up. The first time on a machine tests dtypes."""
    model_type = Model.init("torch", backend_target="cpu")
    model_type.add_seed_setter()
    set_seed(0)  # its test of dtypes draws a shape for Reshape that its own check refuses in one of six draws
    opset = auto_opset(model_type, None, vulops=VULNERABLE_OPS)
    activate_ext(opset=opset, factory=None)
    return model_type, opset


def drawn(method: str, nodes: int, seed: int, index: int) -> Any:
    """A concrete graph: the first half of FuzzingLoop.make_testcase."""
    _, opset = opened()
    options = {"max_elem_per_tensor": MAX_ELEMENTS, "max_nodes": nodes, "timeout_ms": TIMEOUT_MS}
    number = random.Random(f"{seed}/{index}").getrandbits(32)
    return model_gen(opset=opset, method=method, seed=number, **options).make_concrete()


def prepared(method: str, nodes: int, seed: int, index: int) -> tuple[Any, Any, Any]:
    """FuzzingLoop.make_testcase: the graph, the model with its weights, and inputs with the right outputs."""
    ir = drawn(method, nodes, seed, index)
    model = opened()[0].from_gir(ir)
    model.refine_weights()
    return ir, model.torch_model, model.make_oracle()


def graph(ir: Any) -> Graph:
    nodes = [inst for inst in ir.insts if not isinstance(inst.iexpr.op, Input | Constant | Placeholder)]
    places = {name: place for place, inst in enumerate(nodes) for name in inst.retvals()}
    return [
        (type(inst.iexpr.op).__name__, [places[name] for name in inst.iexpr.args if name in places]) for inst in nodes
    ]


def runs(ir: Any) -> bool:
    """Whether torch eager builds and executes the graph on random inputs."""
    model = opened()[0].from_gir(ir).torch_model
    with torch.no_grad():
        model.eval()
        model(*model.get_random_inps().values())
    return True


def attempted(work: Callable[..., Any], *arguments: object) -> Any:
    """None where NNSmith fails: FuzzingLoop.run counts such a case and goes on."""
    try:
        return work(*arguments)
    except Exception:  # noqa: BLE001 - any failure of making a test is an invalid case
        return None


def generate(method: str, nodes: int, seed: int, first: int, count: int, confirm: int) -> dict[str, Any]:
    """Seconds of drawing; of the first `confirm` graphs, how many torch executes."""
    clock = Clock()
    graphs = []
    executed = 0
    for index in range(first, first + count):
        with clock.running():
            ir = attempted(drawn, method, nodes, seed, index)
        if ir is not None:
            graphs.append(graph(ir))
        if index - first < confirm and ir is not None:
            executed += bool(attempted(runs, ir))
    return {"seconds": clock.seconds, "graphs": graphs, "confirmed": min(confirm, count), "valid": executed}


def prepare(method: str, nodes: int, seed: int, first: int, count: int) -> dict[str, Any]:
    """Seconds of drawing, of choosing weights and inputs, and of computing the right outputs."""
    clock = Clock()
    valid = 0
    for index in range(first, first + count):
        with clock.running():
            made = attempted(prepared, method, nodes, seed, index)
        valid += made is not None
    return {"seconds": clock.seconds, "cases": count, "valid": valid}


# --- planted faults: what oracles.faults rewrites in a stage, done to the same op in torch eager ----------------------


def sum_for_extremum(op: Any, right: Any) -> Callable[..., Any]:
    dim = op.extra_attrs["reduce_dim"]
    return lambda x: (x.sum() if dim is None else x.sum(dim)).to(x.dtype)


def padding_in_sum(op: Any, right: Any) -> Callable[..., Any] | None:
    dim = op.extra_attrs["reduce_dim"]
    shape = op.input_like[0].shape
    if dim is None or dim < len(shape) - 2 or shape[dim] % TILE == 0:
        return None

    def padded(x: Any) -> Any:
        missing = list(x.shape)
        missing[dim] = -missing[dim] % TILE
        return right(torch.cat([x, x.new_ones(missing)], dim))

    return padded


def argmax_index_bf16(op: Any, right: Any) -> Callable[..., Any]:
    return lambda x: right(x).bfloat16().long()


FAULTS = {
    "sum_for_extremum": (("ReduceMax", "ReduceMin"), sum_for_extremum),
    "padding_in_sum": (("TorchReduceSum", "ReduceMean"), padding_in_sum),
    "argmax_index_bf16": (("ArgMax", "ArgMin"), argmax_index_bf16),
}


def planted(model: Any, fault: str) -> list[Any] | None:
    """The instructions with the fault in them; None without a place for it."""
    names, change = FAULTS[fault]
    instructions = list(model.instructions)
    found = False
    for place, (right, inputs, outputs, op) in enumerate(instructions):
        wrong = change(op, right) if type(op).__name__ in names else None
        if wrong is not None:
            found = True
            instructions[place] = (wrong, inputs, outputs, op)
    return instructions if found else None


def passes(model: Any, oracle: Any, instructions: list[Any]) -> bool:
    """NNSmith's own verdict (BackendFactory.verify_results) of a compiler that does those instructions."""
    kept, model.instructions = model.instructions, instructions
    try:
        with torch.no_grad():
            model.eval()
            results = model(*[torch.from_numpy(value) for value in oracle.input.values()])
        # A weight may be an output itself.
        outputs = {name: value.detach().numpy() for name, value in zip(model.output_like, results, strict=True)}
        assert_allclose(outputs, oracle.output, "planted", "oracle", equal_nan=EQUAL_NAN)
    except AssertionError:
        return False
    finally:
        model.instructions = kept
    return True


def detect(method: str, nodes: int, seed: int, cases: int) -> dict[str, Any]:
    """Cases until each fault is detected, and in how many of those drawn there was a place for it."""
    found: dict[str, int] = {}
    places = dict.fromkeys(FAULTS, 0)
    used: set[str] = set()
    index = 0
    while index < cases and len(found) < len(FAULTS):
        made = attempted(prepared, method, nodes, seed, index)
        index += 1
        if made is None:
            continue
        ir, model, oracle = made
        used.update(op for op, _ in graph(ir))
        for fault in FAULTS:
            wrong = planted(model, fault)
            places[fault] += wrong is not None
            if wrong is None or fault in found:
                continue
            if not passes(model, oracle, wrong) and passes(model, oracle, model.instructions):
                found[fault] = index
    return {"found": found, "places": places, "drawn": index, "ops": sorted(used)}


def about() -> dict[str, Any]:
    """Versions, the ops it draws from, which faults have an emulation, and modules that know of meshes."""
    ops = sorted(op.__name__ for op in opened()[1])
    known = {"ops": ops, "emulated": list(FAULTS), "mesh": mentions(Path(nnsmith.__file__).parent, MESH)}
    return {"versions": versions("nnsmith", "torch", "z3-solver", "numpy"), **known}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    serve({"about": about, "generate": generate, "prepare": prepare, "detect": detect})
