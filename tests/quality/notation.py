# SPDX-License-Identifier: Apache-2.0
"""Cases as short text.

`x0: f32[8,4] position @ -,x` is an input whose dim 1 is split over mesh axis x (`xy`: over both, x first);
`v0: gather(x0, x1) dim=1 @ ..` a node, with a sharding constraint where one is given; `return v0 @ ..` the outputs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec, replicated


def read(text: str) -> Case:
    """The case a text describes; the mesh is 1x1 where none is given."""
    mesh = Mesh((1, 1), ("x", "y"))
    inputs, nodes, outputs, options = [], [], [], []
    for line in filter(None, map(str.strip, text.splitlines())):
        body, _, layout = line.partition(" @ ")
        sharding = tuple(tuple(axes.strip("-")) for axes in layout.split(",")) if layout else None
        if match := re.fullmatch(r"(\w+): (\w+)\[([\d,]*)\] (\w+)(.*)", body):
            name, dtype, sizes, kind, rest = match.groups()
            shape = tuple(int(size) for size in sizes.split(",") if size)
            numbers = {key: int(value) for key, value in re.findall(r"(\w+)=(-?\d+)", rest)}
            inputs.append(
                Input(name, TensorSpec(shape, dtype), Payload(kind, **numbers), sharding or replicated(len(shape)))
            )
        elif match := re.fullmatch(r"(\w+): (\w+)\((.*?)\)(.*)", body):
            name, op, operands, rest = match.groups()
            attributes = tuple((k, ast.literal_eval(v)) for k, v in re.findall(r"(\w+)=(\([^)]*\)|\S+)", rest))
            nodes.append(Node(name, op, tuple(re.findall(r"\w+", operands)), tuple(sorted(attributes)), sharding))
        elif body.startswith("mesh "):
            mesh = Mesh.parse(body.removeprefix("mesh "))
        elif body.startswith("option "):
            key, _, value = body.removeprefix("option ").partition("=")
            options.append((key, value))
        else:
            outputs.append(Output(body.removeprefix("return "), sharding))
    return Case(mesh, tuple(inputs), tuple(nodes), tuple(outputs), tuple(options))


def write(case: Case) -> str:
    """The text of a case; `read` is the inverse."""
    return "\n".join(_lines(case)) + "\n"


def _lines(case: Case) -> Iterator[str]:
    yield f"mesh {case.mesh}"
    for value in case.inputs:
        payload = value.payload
        numbers = {"low": payload.low, "high": payload.high, "dim": payload.dim, "seed": payload.seed}
        recipe = "".join(f" {key}={number}" for key, number in numbers.items() if number)
        layout = _layout(value.sharding) if any(value.sharding) else ""
        yield f"{value.name}: {value.spec.dtype}[{','.join(map(str, value.spec.shape))}] {payload.kind}{recipe}{layout}"
    for node in case.nodes:
        attributes = "".join(f" {key}={value!r}".replace(", ", ",") for key, value in node.attributes)
        yield f"{node.name}: {node.op}({', '.join(node.operands)}){attributes}{_layout(node.sharding)}"
    for output in case.outputs:
        yield f"return {output.name}{_layout(output.sharding)}"
    for key, value in case.options:
        yield f"option {key}={value}"


def _layout(sharding: Sharding | None) -> str:
    return "" if sharding is None else " @ " + ",".join("".join(axes) or "-" for axes in sharding)
