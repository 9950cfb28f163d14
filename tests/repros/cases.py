# SPDX-License-Identifier: Apache-2.0
"""Cases for the tests of scripts, with the modules that lowering gives for them."""

from dataclasses import replace
from pathlib import Path

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec
from fuzz.ops import run_graph
from fuzz.payloads import values
from repros.emit import Argument, Expected
from repros.facts import Facts

FACTS = Facts(
    what="gather returns rows of another device",
    where="shlo_compiler, all_gather",
    versions="plugin 0.1.3",
    bucket="order/all_gather",
)
COMPILE_ERROR = replace(FACTS, failure="compile error")
MESH = Mesh((2, 2), ("x", "y"))


def case(op: str, operands: tuple[str, ...], rows: Sharding, index: Sharding, index_shape: tuple[int, ...]) -> Case:
    """One op along dim 1 (dim 0 for a rank-1 index) of an 8x8 f32, with data and index sharded."""
    inputs = (
        Input("data", TensorSpec((8, 8), "f32"), Payload("position"), rows),
        Input("index", TensorSpec(index_shape, "i64"), Payload("permutation", 0, 8, len(index_shape) - 1), index),
    )
    node = Node("v0", op, operands, (("dim", len(index_shape) - 1),))
    return Case(MESH, inputs, (node,), (Output("v0"),))


def gather(*axes: str) -> Case:
    return case("gather", ("data", "index"), (axes, ()), (axes, ()), (8, 8))


def scatter(*axes: str) -> Case:
    return case("scatter", ("data", "index", "data"), (axes, ()), (axes, ()), (8, 8))


def index_select(*axes: str) -> Case:
    return case("index_select", ("data", "index"), (axes, ()), ((),), (4,))


def arguments(*names: str) -> list[Argument]:
    return [Argument(input=name) for name in names]


def expected(subject: Case) -> list[Expected]:
    tensors = {value.name: values(value.spec, value.payload) for value in subject.inputs}
    results = run_graph(subject, tensors, "cpu")
    return [Expected(results[output.name]) for output in subject.outputs]


def module(name: str) -> str:
    """The annotated module of a case, as lowering wrote it."""
    return (Path(__file__).parent / "modules" / f"{name}.mlir").read_text()
