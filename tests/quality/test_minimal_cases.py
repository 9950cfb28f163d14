# SPDX-License-Identifier: Apache-2.0
"""The reducer's exact results: planted faults, each with the one minimal case that must come out.

A planted fault is a predicate that stands for a compiler bug. Each is met in two or three larger cases that differ in
everything the fault does not need; all of them must reduce to the same text.

Notation: `x0: f32[8,4] position @ -,x` is an input whose dim 1 is split over mesh axis x (`xy`: over both);
`v0: gather(x0, x1) dim=1 @ ..` a node, with a sharding constraint where one is given; `return v0 @ ..` the outputs.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator
from textwrap import dedent

import pytest

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec, is_uneven, replicated
from fuzz.ops.core import specs
from fuzz.reduce.reducer import reduce

# --- notation --------------------------------------------------------------------------------------------------------


def read(text: str) -> Case:
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


# --- planted faults --------------------------------------------------------------------------------------------------


def nodes(case: Case, *ops: str) -> list[Node]:
    return [node for node in case.nodes if node.op in ops]


def inputs(case: Case, node: Node) -> list[Input | None]:
    return [case.input(operand) for operand in node.operands]


def pieces(case: Case, value: Input | None, dim: object) -> int:
    """Number of shards an input's dim is cut into; 1 for what is no input, or has no such dim."""
    if value is None or not isinstance(dim, int) or dim >= len(value.sharding):
        return 1
    return math.prod(case.mesh.sizes[axis] for axis in value.sharding[dim])


def dim(node: Node) -> object:
    return node.keywords["dim"]


def split(case: Case, node: Node, position: int) -> bool:
    value = inputs(case, node)[position]
    return value is not None and any(pieces(case, value, d) > 1 for d in range(len(value.sharding)))


def gather_along_split_dim_1(case: Case) -> bool:
    return any(dim(n) == 1 and pieces(case, inputs(case, n)[0], 1) > 1 for n in nodes(case, "gather"))


def scatter_index_split_base_not(case: Case) -> bool:
    return any(
        split(case, n, 1) and case.input(n.operands[0]) and not split(case, n, 0) for n in nodes(case, "scatter")
    )


def long_arange_added(case: Case) -> bool:
    known = specs(case)
    long = {n.name for n in nodes(case, "arange") if known[n.name].elements >= 257}
    return any(long.intersection(n.operands) for n in nodes(case, "add"))


def flat_index_over_11_bits(case: Case) -> bool:
    known = specs(case)
    return any(
        len(known[n.operands[0]].shape) >= 2 and known[n.operands[0]].elements > 2048 for n in nodes(case, "gather")
    )


def uneven_concat_on_split_dim(case: Case) -> bool:
    return any(
        all(v is not None and pieces(case, v, dim(n)) > 1 for v in inputs(case, n))
        and len(n.operands) > 1
        and any(v is not None and is_uneven(v.spec.shape, v.sharding, case.mesh) for v in inputs(case, n))
        for n in nodes(case, "concat")
    )


def four_devices_on_axis_1(case: Case) -> bool:
    return case.mesh.shape[1] >= 4


def bf16_scatter_add_of_duplicates(case: Case) -> bool:
    return any(
        (base := case.input(n.operands[0])) is not None
        and base.spec.dtype == "bf16"
        and (index := case.input(n.operands[1])) is not None
        and index.payload.kind == "duplicates"
        for n in nodes(case, "scatter_add")
    )


def second_result_is_a_split_cumsum(case: Case) -> bool:
    returned = {output.name for output in case.outputs}
    return len(returned) == 2 and any(
        n.name in returned and pieces(case, inputs(case, n)[0], dim(n)) > 1 for n in nodes(case, "cumsum")
    )


def topk_of_a_dim_split_over_both_axes(case: Case) -> bool:
    return any(
        (value := inputs(case, n)[0]) is not None
        and isinstance(d := dim(n), int)
        and len([axis for axis in value.sharding[d] if case.mesh.sizes[axis] > 1]) == 2
        for n in nodes(case, "topk_values", "topk_indices")
    )


def slice_starts_inside_a_split_dim(case: Case) -> bool:
    return any(
        pieces(case, inputs(case, n)[0], dim(n)) > 1
        and isinstance(start := n.keywords["start"], int)
        and 0 < start < specs(case)[n.operands[0]].shape[d]
        for n in nodes(case, "slice")
        if isinstance(d := dim(n), int)
    )


def constraint_undoes_a_split(case: Case) -> bool:
    return any(
        n.sharding is not None and not any(n.sharding) and any(split(case, n, i) for i in range(len(n.operands)))
        for n in case.nodes
    )


def embedding_of_counted_ids(case: Case) -> bool:
    counted = {n.name for n in nodes(case, "arange")}
    return any(n.operands[0] in counted and pieces(case, inputs(case, n)[1], 0) > 1 for n in nodes(case, "embedding"))


def reshape_merges_a_split_minor_dim(case: Case) -> bool:
    known = specs(case)
    return any(
        (value := inputs(case, n)[0]) is not None
        and len(known[n.name].shape) < len(value.spec.shape)
        and pieces(case, value, len(value.spec.shape) - 1) > 1
        and value.spec.shape[-2] > 1
        for n in nodes(case, "reshape")
    )


def optimised_matmul_split_inside(case: Case) -> bool:
    return ("optimization_level", "1") in case.options and any(
        pieces(case, inputs(case, n)[0], 1) > 1 for n in nodes(case, "matmul")
    )


def sum_over_an_evenly_split_dim(case: Case) -> bool:
    return any(
        (value := inputs(case, n)[0]) is not None
        and isinstance(d := dim(n), int)
        and pieces(case, value, d) > 1
        and not is_uneven(value.spec.shape, value.sharding, case.mesh)
        for n in nodes(case, "sum")
    )


FAULTS: list[tuple[Callable[[Case], bool], str, tuple[str, ...]]] = [
    (
        gather_along_split_dim_1,
        """
        mesh 1x2
        x0: f32[1,1] position @ -,y
        x1: i64[1,1] monotone high=1
        v0: gather(x0, x1) dim=1
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[8,16] position seed=1 @ x,y
            x1: i64[8,4] random high=16 seed=3 @ x,-
            x2: f32[8,4] small @ x,-
            v0: gather(x0, x1) dim=1
            v1: add(v0, x2) @ x,y
            v2: sum(v1) dim=0 keepdim=False
            return v2
            """,
            """
            mesh 2x4
            x0: bf16[4,8,32] position @ -,xy,-
            x1: i64[4,8,32] boundary high=8 @ x,-,y
            v0: flip(x1) dims=(2,)
            v1: gather(x0, v0) dim=1
            v2: permute(v1) dims=(1,0,2)
            return v2 @ y,-,-
            return v0
            option optimization_level=1
            """,
            """
            mesh 2x1
            x0: i32[64,64] small
            x1: i32[64,64] position @ -,x
            x2: i64[64,64] duplicates high=64 seed=2 @ x,-
            v0: mul(x0, x1)
            v1: gather(x1, x2) dim=1
            v2: add(v0, v1)
            return v2 @ -,-
            """,
        ),
    ),
    (
        scatter_index_split_base_not,
        """
        mesh 1x2
        x0: f32[1] position
        x1: i64[1] monotone high=1 @ y
        v0: scatter(x0, x1, x0) dim=0
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[16,8] position
            x1: i64[4,8] permutation high=16 @ xy,-
            x2: f32[4,8] position @ x,-
            v0: scatter(x0, x1, x2) dim=0
            v1: add(v0, x0)
            return v1 @ x,-
            return v0
            """,
            """
            mesh 1x4
            x0: bf16[2,4,8] position seed=2
            x1: i64[2,4,8] permutation high=8 dim=2 seed=1 @ -,-,y
            x2: bf16[2,4,8] small @ -,y,-
            v0: mul(x2, x2)
            v1: scatter(x0, x1, v0) dim=2
            v2: cumsum(v1) dim=1
            return v2
            """,
        ),
    ),
    (
        long_arange_added,
        """
        mesh 1x1
        x0: f32[1] position
        v0: arange() dtype='f32' end=257 start=0 step=1
        v1: add(v0, x0)
        return v1
        """,
        (
            """
            mesh 2x2
            x0: f32[8,1025] position @ x,y
            v0: arange() dtype='f32' end=1025 start=0 step=1
            v1: add(v0, x0)
            v2: sum(v1) dim=1 keepdim=True
            return v2
            """,
            """
            mesh 1x2
            x0: i64[4,64] small seed=1
            x1: i64[4,513] random high=64 @ y,-
            v0: arange() dtype='i64' end=1029 start=3 step=2
            v1: gather(x0, x1) dim=1
            v2: add(v0, v1)
            v3: flip(v2) dims=(0,1)
            return v3
            return v1
            """,
        ),
    ),
    (
        flat_index_over_11_bits,
        """
        mesh 1x1
        x0: f32[1,2049] position
        x1: i64[1,1] monotone high=1
        v0: gather(x0, x1) dim=0
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[64,64] position @ x,y
            x1: i64[8,64] random high=64 @ x,-
            v0: gather(x0, x1) dim=0
            v1: add(v0, v0)
            return v1
            """,
            """
            mesh 1x2
            x0: i32[513,8] position @ y,-
            x1: i64[16,8] boundary high=513
            v0: gather(x0, x1) dim=0
            return v0
            """,
            """
            mesh 1x1
            x0: f32[8,16,24] position
            x1: i64[8,4,24] boundary high=16
            v0: gather(x0, x1) dim=1
            v1: cumsum(v0) dim=2
            return v1
            """,
        ),
    ),
    (
        uneven_concat_on_split_dim,
        """
        mesh 1x2
        x0: f32[1] position @ y
        v0: concat(x0, x0) dim=0
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[9,4] position @ x,-
            x1: f32[8,4] position seed=1 @ x,y
            x2: f32[3,4] small @ y,-
            v0: concat(x0, x1, x2) dim=0
            v1: mul(v0, v0)
            return v1 @ x,-
            """,
            """
            mesh 1x4
            x0: i32[4,8] position @ -,y
            x1: i32[4,7] position @ -,y
            v0: concat(x0, x1) dim=1
            v1: sum(v0) dim=0 keepdim=False
            return v0
            return v1
            """,
        ),
    ),
    (
        four_devices_on_axis_1,
        """
        mesh 1x4
        x0: f32[1] position
        v0: add(x0, x0)
        return v0
        """,
        (
            """
            mesh 2x4
            x0: f32[16,8] position @ x,y
            x1: f32[16,8] small @ xy,-
            v0: add(x0, x1)
            return v0
            """,
            """
            mesh 1x8
            x0: i64[8] position @ y
            x1: i64[8] small
            v0: add(x0, x1) @ y
            v1: mul(v0, x1)
            v2: sum(v1) dim=0 keepdim=True
            return v2
            """,
        ),
    ),
    (
        bf16_scatter_add_of_duplicates,
        """
        mesh 1x1
        x0: bf16[1] position
        x1: i64[1] duplicates high=1
        v0: scatter_add(x0, x1, x0) dim=0
        return v0
        """,
        (
            """
            mesh 2x2
            x0: bf16[8,16] small @ x,-
            x1: i64[32,16] duplicates high=8 seed=3 @ y,-
            x2: bf16[32,16] small seed=2
            v0: scatter_add(x0, x1, x2) dim=0
            v1: flip(v0) dims=(1,)
            return v1
            """,
            """
            mesh 1x2
            x0: bf16[4,2,8] position @ y,-,-
            x1: i64[4,2,8] duplicates high=8
            v0: mul(x0, x0)
            v1: scatter_add(x0, x1, v0) dim=2
            v2: cast(v1) dtype='f32'
            return v2
            return v0
            """,
        ),
    ),
    (
        second_result_is_a_split_cumsum,
        """
        mesh 1x2
        x0: f32[1] position @ y
        v0: cumsum(x0) dim=0
        v1: add(x0, x0)
        return v0
        return v1
        """,
        (
            """
            mesh 2x2
            x0: f32[8,16] small @ x,y
            v0: cumsum(x0) dim=1
            v1: add(v0, x0)
            return v0 @ -,y
            return v1
            """,
            """
            mesh 1x4
            x0: f32[4,8] small seed=1 @ -,y
            x1: f32[4,8] position
            v0: cumsum(x0) dim=1
            v1: add(x0, x1)
            return v0
            return v1
            """,
        ),
    ),
    (
        topk_of_a_dim_split_over_both_axes,
        """
        mesh 2x2
        x0: f32[1] position @ xy
        v0: topk_values(x0) dim=0 k=1 largest=False
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[4,64] position @ -,yx
            v0: topk_values(x0) dim=1 k=5 largest=True
            v1: flip(v0) dims=(0,)
            return v1
            """,
            """
            mesh 2x4
            x0: i32[16,3] position @ xy,-
            v0: topk_values(x0) dim=0 k=2 largest=True
            v1: add(v0, v0) @ x,-
            return v1
            return v0
            """,
        ),
    ),
    (
        slice_starts_inside_a_split_dim,
        """
        mesh 1x2
        x0: f32[2] position @ y
        v0: slice(x0) dim=0 end=2 start=1 step=1
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[16,8] position @ x,y
            v0: slice(x0) dim=0 end=12 start=4 step=2
            v1: mul(v0, v0)
            return v1
            """,
            """
            mesh 1x4
            x0: bf16[3,32,2] position @ -,y,-
            x1: bf16[3,15,2] small
            v0: slice(x0) dim=1 end=32 start=17 step=1
            v1: add(v0, x1)
            return v1 @ -,-,-
            """,
        ),
    ),
    (
        constraint_undoes_a_split,
        """
        mesh 1x2
        x0: f32[1] position @ y
        v0: add(x0, x0) @ -
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[8,16] position @ x,y
            x1: f32[8,16] small @ y,-
            v0: add(x0, x1) @ -,-
            v1: add(v0, x1)
            return v1 @ x,y
            """,
            """
            mesh 4x1
            x0: i64[4,4] position
            x1: i64[4,4] position @ -,x
            v0: add(x0, x0)
            v1: add(x1, x0) @ -,-
            v2: cumsum(v1) dim=0
            return v2
            return v0
            """,
        ),
    ),
    (
        embedding_of_counted_ids,
        """
        mesh 1x2
        x0: f32[1,1] position @ y,-
        v0: arange() dtype='i64' end=1 start=0 step=1
        v1: embedding(v0, x0)
        return v1
        """,
        (
            """
            mesh 2x2
            x0: f32[64,16] position @ xy,-
            v0: arange() dtype='i64' end=32 start=0 step=1
            v1: reshape(v0) shape=(4,8)
            v2: add(v1, v1)
            v3: embedding(v2, x0)
            v4: sum(v3) dim=2 keepdim=False
            v5: embedding(v0, x0)
            return v4
            return v5
            """,
            """
            mesh 1x4
            x0: bf16[32,8] position @ y,-
            x1: f32[9,8] position
            v0: arange() dtype='i32' end=29 start=2 step=3
            v1: embedding(v0, x0)
            v2: cast(v1) dtype='f32'
            v3: add(v2, x1)
            return v3 @ -,y
            """,
        ),
    ),
    (
        reshape_merges_a_split_minor_dim,
        """
        mesh 1x2
        x0: f32[2,1] position @ -,y
        v0: reshape(x0) shape=(2,)
        return v0
        """,
        (
            """
            mesh 2x2
            x0: f32[4,8,16] position @ -,x,y
            v0: reshape(x0) shape=(4,128)
            v1: flip(v0) dims=(1,)
            return v1
            """,
            """
            mesh 1x4
            x0: i64[6,8] position @ -,y
            x1: i64[48] small
            v0: reshape(x0) shape=(48,)
            v1: mul(v0, x1)
            return v1
            """,
        ),
    ),
    (
        optimised_matmul_split_inside,
        """
        mesh 1x2
        x0: f32[1,1] position @ -,y
        v0: matmul(x0, x0)
        return v0
        option optimization_level=1
        """,
        (
            """
            mesh 2x2
            x0: f32[8,16] small @ x,y
            x1: f32[16,32] small @ y,-
            v0: matmul(x0, x1)
            v1: add(v0, v0)
            return v1
            option enable_const_eval=false
            option optimization_level=1
            """,
            """
            mesh 2x1
            x0: bf16[4,4] small @ -,x
            x1: bf16[4,4] small @ x,-
            v0: matmul(x0, x1)
            v1: matmul(v0, x1)
            return v1
            option optimization_level=1
            """,
        ),
    ),
    (
        sum_over_an_evenly_split_dim,
        """
        mesh 1x2
        x0: f32[2] position @ y
        v0: sum(x0) dim=0 keepdim=False
        return v0
        """,
        (
            """
            mesh 2x4
            x0: f32[24,16] small @ xy,-
            x1: f32[16] position
            v0: sum(x0) dim=0 keepdim=False
            v1: mul(v0, x1)
            return v1
            """,
            """
            mesh 2x2
            x0: i32[3,8,4] small seed=3 @ -,x,y
            v0: neg(x0)
            v1: sum(x0) dim=1 keepdim=True
            v2: add(v0, v1) @ -,x,y
            return v2 @ -,x,-
            """,
        ),
    ),
]


EACH_START = pytest.mark.parametrize(
    ("fault", "minimal", "start"),
    [(fault, minimal, start) for fault, minimal, starts in FAULTS for start in starts],
    ids=[f"{fault.__name__}-{number}" for fault, _, starts in FAULTS for number in range(len(starts))],
)


@EACH_START
def test_a_planted_fault_reduces_to_its_one_minimal_case(
    fault: Callable[[Case], bool], minimal: str, start: str
) -> None:
    case = read(start)
    assert fault(case)
    reduction = reduce(case, fault)
    assert write(reduction.case) == dedent(minimal).lstrip()
    assert reduction.minimal


@EACH_START
def test_a_reduction_takes_at_most_60_runs(fault: Callable[[Case], bool], minimal: str, start: str) -> None:
    """Of a real compiler, at up to some seconds each."""
    assert reduce(read(start), fault).runs <= 60


def test_the_notation_reads_what_it_writes() -> None:
    texts = [dedent(minimal).lstrip() for _, minimal, _ in FAULTS]
    assert [write(read(text)) for text in texts] == texts
