# SPDX-License-Identifier: Apache-2.0
"""Every fault on a small program where it strikes, and on one that it must leave alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec
from fuzz.cli import cli
from fuzz.store import Store
from oracles.faults import FAULTS
from oracles.injection import judge_injected
from oracles.outcome import Verdict
from oracles.reference import reference
from oracles.stages.execute import Placement
from oracles.stages.machine import Machine, Shards
from oracles.stages.program import Function, Operation, Program, TensorType
from oracles.stages.staged import Staged
from oracles.targets.base import Compiled, Outputs
from oracles.targets.config import TargetConfig

MESH = Mesh((2, 2), ("x", "y"))
Shape = tuple[int, ...]


@dataclass
class Build:
    """A program under construction: values by number, every device of MESH running @main on its own arguments."""

    arguments: list[Shards] = field(default_factory=list)
    types: list[TensorType] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    parameters: list[int] = field(default_factory=list)
    next: int = 0

    def fresh(self) -> int:
        self.next += 1
        return self.next

    def argument(self, element: str, *shards: torch.Tensor) -> int:
        """One tensor for all devices, or one for each."""
        self.arguments.append(list(shards) if len(shards) > 1 else list(shards) * MESH.size)
        self.types.append(TensorType(tuple(shards[0].shape), element))
        self.parameters.append(self.fresh())
        return self.parameters[-1]

    def op(self, kind: str, operands: Sequence[int], *types: TensorType, region: Any = None, **attributes: Any) -> int:
        """The number of the first result."""
        results = tuple(self.fresh() for _ in types)
        regions = () if region is None else (region,)
        self.operations.append(Operation(kind, tuple(operands), results, types, attributes, regions))
        return results[0] if results else 0

    def region(self, name: str, element: str, operands: int = 2, **attributes: Any) -> Function:
        """One op on the first two of scalars."""
        numbers = tuple(self.fresh() for _ in range(operands))
        scalar = TensorType((), element)
        result = self.fresh()
        returned = "i1" if name == "stablehlo.compare" else element
        body = Operation(name, numbers[:2], (result,), (TensorType((), returned),), attributes)
        return Function("", numbers, (scalar,) * operands, (body, Operation("stablehlo.return", (result,), (), ())))

    def all_slice(self, value: int, whole: TensorType, dim: int = 0) -> int:
        """The part of a value that belongs to the device's row of the mesh, as the plugin writes it."""
        part = cut(whole, dim)
        number, result = self.fresh(), self.fresh()
        slicing = Operation("ttir.mesh_partition", (number,), (result,), (part,), {"dim": dim, "cluster_axis": 0})
        name = f"sdy.all_slice{number}"
        returned = Operation("func.return", (result,), (), ())
        self.functions[name] = Function(name, (number,), (whole,), (slicing, returned))
        return self.op("stablehlo.composite", [value], part, name="sdy.all_slice", decomposition=name)

    def program(self, *returned: int) -> Program:
        end = Operation("func.return", returned, (), ())
        main = Function("main", tuple(self.parameters), tuple(self.types), (*self.operations, end))
        return Program({"main": main, **self.functions}, MESH)

    def run(self, program: Program) -> list[Shards]:
        return Machine(program).run(self.arguments)


def cut(whole: TensorType, dim: int) -> TensorType:
    shape = list(whole.shape)
    shape[dim] //= 2
    return TensorType(tuple(shape), whole.element)


def f32(*shape: int) -> TensorType:
    return TensorType(shape, "f32")


def si32(*shape: int) -> TensorType:
    return TensorType(shape, "si32")


def positions(*shape: int) -> torch.Tensor:
    """1, 2, 3, ...: every element is told from every other, and none is 0."""
    return (1 + torch.arange(torch.Size(shape).numel())).float().reshape(shape)


def per_device(*shape: int) -> tuple[torch.Tensor, ...]:
    return tuple(positions(*shape) + 1000 * device for device in range(MESH.size))


GROUPS = torch.tensor([[0, 2], [1, 3]])  # along the first mesh axis

# --- one program per fault; `struck` or not ---------------------------------------------------------------------------


def row_numbers(b: Build, struck: bool) -> int:
    """x[rows, column]: the row numbers are the device's part of an iota."""
    table = b.argument("f32", positions(8, 4))
    numbers = b.op("stablehlo.iota", [], si32(8), iota_dimension=0)
    rows = b.all_slice(numbers, si32(8)) if struck else b.argument("si32", torch.arange(4))
    column = b.op("stablehlo.reshape", [rows], si32(4, 1))
    index = b.op("stablehlo.concatenate", [column, column], si32(4, 2), dimension=1)
    numbers_ = {"collapsed_slice_dims": (0, 1), "start_index_map": (0, 1), "index_vector_dim": 1}
    return b.op("stablehlo.gather", [table, index], f32(4), dimension_numbers=numbers_, slice_sizes=(1, 1))


def ordered_numbers(b: Build, struck: bool) -> int:
    """sort carries positions along, which are the device's part of an iota."""
    values = b.argument("si32", torch.tensor([3, 1, 2, 0]))
    numbers = b.op("stablehlo.iota", [], si32(8), iota_dimension=0)
    mine = b.all_slice(numbers, si32(8)) if struck else values
    region = b.region("stablehlo.compare", "si32", 4, comparison_direction="LT")
    first = b.op("stablehlo.sort", [values, mine], si32(4), si32(4), region=region, dimension=0)
    return first + 1


def sliced_constant(b: Build, struck: bool) -> int:
    value = torch.arange(8, dtype=torch.int32) if struck else torch.ones(8, dtype=torch.int32)
    return b.all_slice(b.op("stablehlo.constant", [], si32(8), value=value), si32(8))


def shard_base(b: Build, struck: bool) -> int:
    return b.op("stablehlo.partition_id" if struck else "stablehlo.iota", [], TensorType((), "ui32"))


def slice_of_gathered(b: Build, struck: bool) -> int:
    """The middle of a sharded dim."""
    part = b.argument("f32", *per_device(4))
    whole = b.op("stablehlo.all_gather", [part], f32(8), all_gather_dim=0, replica_groups=GROUPS)
    start = 2 if struck else 3  # an odd start is no multiple of the shards
    bounds = {"start_indices": (start,), "limit_indices": (start + 4,), "strides": (1,)}
    return b.op("stablehlo.slice", [whole], f32(4), **bounds)


def stablehlo_sum(b: Build, struck: bool) -> int:
    part = b.argument("f32", *per_device(4))
    if not struck:
        return b.op("stablehlo.negate", [part], f32(4))
    return b.op("stablehlo.all_reduce", [part], f32(4), region=b.region("stablehlo.add", "f32"), replica_groups=GROUPS)


def gather_of(*sizes: int) -> Callable[[Build, bool], int]:
    """Elements of a table at its ends and around its middle; the spared table has 8 of them."""

    def build(b: Build, struck: bool) -> int:
        shape = sizes if struck else (8,) * len(sizes)
        table = b.argument("f32", positions(1, *shape))
        low = torch.stack([torch.tensor([0, size // 2, size - 2, size - 1]) for size in shape])[None]
        index = b.argument("si32", low.int())
        kind = {"column": True, "fill_out_of_bounds": False, "sizes": shape, "windows": (1,) * len(shape)}
        return b.op("ttir.rows_gather", [table, index], f32(1, 4), **kind)

    return build


def long_index(b: Build, struck: bool) -> int:
    size = 70001 if struck else 8
    table = b.argument("f32", positions(1, size))
    index = b.argument("si32", torch.tensor([[[0, size - 1]]], dtype=torch.int32))
    kind = {"column": True, "fill_out_of_bounds": False, "sizes": (size,), "windows": (1,)}
    return b.op("ttnn.rows_gather", [table, index], f32(1, 2), **kind)


def filled_read(b: Build, struck: bool) -> int:
    """A read of one row inside and one outside of the shard."""
    table = b.argument("f32", positions(1, 4))
    index = b.argument("si32", torch.tensor([[[1, 5]]], dtype=torch.int32))
    kind = {"column": True, "fill_out_of_bounds": struck, "sizes": (4,), "windows": (1,)}
    return b.op("ttir.rows_gather", [table, index], f32(1, 2), **kind)


def indexed_or_not(b: Build, struck: bool) -> int:
    return filled_read(b, True) if struck else b.op("ttir.neg", [b.argument("f32", positions(4))], f32(4))


def write(reduce: str, spared: str) -> Callable[[Build, bool], int]:
    """Three values into a table, two of them at one place."""

    def build(b: Build, struck: bool) -> int:
        table = b.argument("f32", positions(1, 4))
        index = b.argument("si32", torch.tensor([[[1, 1, 2]]], dtype=torch.int32))
        source = b.argument("f32", torch.tensor([[10.0, 20.0, 40.0]]))
        kind = {"column": True, "reduce": reduce if struck else spared, "sizes": (4,), "windows": (1,)}
        return b.op("ttir.rows_scatter", [table, index, source], f32(1, 4), **kind)

    return build


def collective(name: str, **attributes: Any) -> Callable[[Build, bool], int]:
    """One collective along the first mesh axis, or an op that is none."""

    def build(b: Build, struck: bool) -> int:
        part = b.argument("f32", *per_device(4, 2))
        if not struck:
            return b.op(f"{name.split('.')[0]}.neg", [part], f32(4, 2))
        kind = name.split(".")[1]
        shape = {"all_gather": (8, 2), "mesh_partition": (2, 2)}.get(kind, (4, 2))
        return b.op(name, [part], f32(*shape), cluster_axis=0, **attributes)

    return build


def bf16_read(b: Build, struck: bool) -> int:
    table = b.argument("f32" if struck else "bf16", positions(1, 300).to(torch.float32 if struck else torch.bfloat16))
    index = b.argument("si32", torch.tensor([[[0, 256]]], dtype=torch.int32))
    kind = {"column": True, "fill_out_of_bounds": False, "sizes": (300,), "windows": (1,)}
    return b.op("ttnn.rows_gather", [table, index], TensorType((1, 2), "f32" if struck else "bf16"), **kind)


def joined(b: Build, struck: bool) -> int:
    element = "si32" if struck else "f32"
    part = b.argument(element, torch.tensor([19585, 257]).to(torch.int32 if struck else torch.float32))
    return b.op("ttnn.concat", [part, part], TensorType((4,), element), dim=0)


def best(b: Build, struck: bool) -> int:
    if not struck:
        return b.op("ttnn.neg", [b.argument("f32", positions(4))], f32(4))
    return b.op("ttnn.argmax", [b.argument("f32", positions(1, 258))], TensorType((1,), "ui32"), dim=1, keep_dim=False)


def integer_sum(b: Build, struck: bool) -> int:
    element = "si32" if struck else "f32"
    value = b.argument(element, torch.tensor([[8400, 1]]).to(torch.int32 if struck else torch.float32))
    return b.op("ttnn.sum", [value], TensorType((1,), element), dim_arg=(1,), keep_dim=False)


def moved_integers(b: Build, struck: bool) -> int:
    element = "si32" if struck else "f32"
    value = b.argument(element, torch.tensor([[(1 << 24) + 1, 1]]).to(torch.int32 if struck else torch.float32))
    return b.op("ttnn.permute", [value], TensorType((2, 1), element), permutation=(1, 0))


def reduction(name: str) -> Callable[[Build, bool], int]:
    """Of a row that is no multiple of 32 long, or of one that is."""

    def build(b: Build, struck: bool) -> int:
        value = b.argument("f32", -positions(2, 4 if struck else 32))
        return b.op(name, [value], f32(2), dim_arg=(1,), keep_dim=False)

    return build


def read_rows(b: Build, struck: bool) -> int:
    return bf16_read(b, True) if struck else best(b, False)


def rotated(b: Build, struck: bool) -> int:
    value = b.argument("f32", positions(2, 3, 4))
    permutation, shape = ((1, 2, 0), (3, 4, 2)) if struck else ((0, 2, 1), (2, 4, 3))
    return b.op("ttir.permute", [value], f32(*shape), permutation=permutation)


PROGRAMS: dict[str, Callable[[Build, bool], int]] = {
    "local_row_iota": row_numbers,
    "local_order_iota": ordered_numbers,
    "local_constant": sliced_constant,
    "lost_shard_base": shard_base,
    "slice_of_shard": slice_of_gathered,
    "dropped_all_reduce": stablehlo_sum,
    "flat_index_11_bits": gather_of(42, 53),
    "flat_index_bf16": gather_of(259),
    "flat_index_f32": gather_of((1 << 24) + 3),
    "index_wraps_at_16_bits": long_index,
    "unfilled_out_of_bounds": filled_read,
    "out_of_bounds_wraps": indexed_or_not,
    "duplicates_overwrite": write("sum", "max"),
    "lost_base": write("sum", "invalid"),
    "sum_for_extremum": write("max", "sum"),
    "swapped_cluster_axis": collective("ttir.all_reduce", reduce_type="sum"),
    "neighbour_chunk": collective("ttir.mesh_partition", dim=0),
    "reversed_all_gather": collective("ttir.all_gather", all_gather_dim=0),
    "doubled_all_reduce": collective("ttir.all_reduce", reduce_type="sum"),
    "dropped_all_gather": collective("ttnn.all_gather", all_gather_dim=0),
    "unaligned_all_gather": collective("ttnn.all_gather", all_gather_dim=0),
    "gathered_through_bf16": bf16_read,
    "concatenated_through_bf16": joined,
    "argmax_index_bf16": best,
    "integer_reduction_bf16": integer_sum,
    "integers_through_f32": moved_integers,
    "padding_in_extremum": reduction("ttnn.max"),
    "padding_in_sum": reduction("ttnn.sum"),
    "stale_last_row": read_rows,
    "inverted_permutation": rotated,
}


def built(name: str, struck: bool) -> tuple[Build, Program]:
    b = Build()
    result = PROGRAMS[name](b, struck)
    return b, b.program(result)


def test_every_fault_is_tested() -> None:
    assert set(PROGRAMS) == set(FAULTS)
    assert len(FAULTS) >= 20
    assert {fault.stage for fault in FAULTS.values()} == {"shlo_compiler", "ttir", "ttnn"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_fault_changes_what_the_program_computes(name: str) -> None:
    b, program = built(name, struck=True)
    changed = FAULTS[name].rewrite(program)
    assert changed is not None
    right, wrong = b.run(program), b.run(changed)
    assert any(not torch.equal(a, c) for x, y in zip(right, wrong, strict=True) for a, c in zip(x, y, strict=True))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_without_place_for_the_fault_is_left_alone(name: str) -> None:
    _, program = built(name, struck=False)
    assert FAULTS[name].rewrite(program) is None


def test_row_numbers_of_every_shard_are_those_of_the_first() -> None:
    """x[i, i] of an 8x4 table: devices of the second mesh row must read rows 4 to 7, with columns clamped."""
    b, program = built("local_row_iota", struck=True)
    changed = FAULTS["local_row_iota"].rewrite(program)
    assert changed is not None
    right, wrong = b.run(program)[0], b.run(changed)[0]
    assert [shard.tolist() for shard in right] == [[1, 6, 11, 16]] * 2 + [[20, 24, 28, 32]] * 2
    assert [shard.tolist() for shard in wrong] == [[1, 6, 11, 16]] * 4


def test_a_flat_index_of_two_components_is_rounded_to_11_significant_bits() -> None:
    """Rows 21, 40 and 41 of 53 elements: 1139 fits; 2171 = 40 * 53 + 51 becomes 2172, and 2225 is clamped again."""
    b, program = built("flat_index_11_bits", struck=True)
    changed = FAULTS["flat_index_11_bits"].rewrite(program)
    assert changed is not None
    assert b.run(program)[0][0].tolist() == [[1.0, 1140.0, 2172.0, 2226.0]]
    assert b.run(changed)[0][0].tolist() == [[1.0, 1140.0, 2173.0, 2226.0]]


def test_a_fault_in_a_program_that_is_right_makes_the_outcome() -> None:
    outcome = injected("inverted_permutation", (2, 0, 1))
    assert (outcome.verdict, outcome.stage, outcome.injected) == (Verdict.WRONG, "ttir", "inverted_permutation")


def test_a_stage_that_is_wrong_by_itself_is_not_put_on_the_fault() -> None:
    outcome = injected("inverted_permutation", (0, 1, 2))
    assert (outcome.verdict, outcome.stage, outcome.injected) == (Verdict.WRONG, "ttir", "")


def test_a_fault_that_finds_no_place_changes_nothing() -> None:
    outcome = injected("lost_base", (2, 0, 1))
    assert (outcome.verdict, outcome.injected) == (Verdict.PASS, "")


def injected(fault: str, permutation: tuple[int, ...]) -> Any:
    """A permutation of dims by (2, 0, 1) with a fault, lowered to the given one."""
    shape = (3, 3, 3)
    case = Case(
        Mesh((1, 1), ("x", "y")),
        (Input("x0", TensorSpec(shape, "f32"), Payload("position"), ((), (), ())),),
        (Node("v0", "permute", ("x0",), (("dims", (2, 0, 1)),)),),
        (Output("v0"),),
    )
    one = Mesh((1,), ("device",))
    permute = Operation("ttir.permute", (0,), (1,), (f32(*shape),), {"permutation": permutation})
    main = Function("main", (0,), (f32(*shape),), (permute, Operation("func.return", (1,), (), ())))
    whole: Sharding = ((), (), ())
    placed = Placement(one, {0: whole}, (whole,))
    value = positions(*shape)
    staged = Staged({"ttir": Program({"main": main}, one)}, (value,), (TensorSpec(shape, "f32"),), placed)
    return judge_injected(case, reference(case, {"x0": value}), Compiled(staged, _never), (), fault)


def _never() -> Outputs:
    raise AssertionError("no partitioned stage to confirm")


def test_the_configuration_of_a_target_keeps_its_fault() -> None:
    config = TargetConfig("tt", MESH, inject="lost_base")
    assert TargetConfig.from_plain(json.loads(json.dumps(config.to_plain()))) == config
    assert str(config) == "tt --mock 2x2 --inject lost_base"
    assert "inject" not in str(replace(config, inject=""))


ROWS: Sharding = (("x",), ())
CHOSEN = Input("x1", TensorSpec((16, 2), "i64"), Payload("permutation", 0, 160, 1), ROWS)
ROUTERS = {
    # router_logits.gather(1, topk_indices) of batch-sharded logits; the mask's scatter_ does not compile in this form
    "local_row_iota": Case(
        MESH,
        (Input("x0", TensorSpec((16, 160), "f32"), Payload("position"), ROWS), CHOSEN),
        (Node("v0", "gather", ("x0", "x1"), (("dim", 1),)),),
        (Output("v0"),),
    ),
    # The same of whole logits: 16 tokens of 160 experts are more elements than 11 bits count
    "flat_index_11_bits": Case(
        MESH,
        (Input("x0", TensorSpec((16, 160), "f32"), Payload("position"), ((), ())), replace(CHOSEN, sharding=((), ()))),
        (Node("v0", "gather", ("x0", "x1"), (("dim", 1),)),),
        (Output("v0"),),
    ),
}


@pytest.mark.tt
@pytest.mark.parametrize("fault", ROUTERS)
def test_the_routers_bugs_are_found_again(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two bugs this project began with, planted: found, reduced to one op, and nowhere shown as the compiler's."""
    monkeypatch.setattr("fuzz.strategies.sampling.sample", lambda *_: ROUTERS[fault])
    arguments = ["run", "--inject", fault, "--cases", "1", "--workers", "1", "--dir", str(tmp_path / "campaign")]
    assert cli.main(arguments, standalone_mode=False) == 1
    with Store.open(tmp_path / "campaign") as store:
        (finding,) = store.findings()
    assert (finding.outcome.injected, finding.outcome.stage) == (fault, FAULTS[fault].stage)
    assert fault in finding.key
    assert not finding.scripts
    assert len(finding.case.nodes) == 1
