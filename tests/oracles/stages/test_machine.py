# SPDX-License-Identifier: Apache-2.0
"""The machine: what it shares between devices, what changes in place, and that it never guesses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

import oracles.stages.handlers  # noqa: F401 - fills the machine's table
from fuzz.case import Mesh
from oracles.stages import machine
from oracles.stages.handlers import understood
from oracles.stages.machine import HANDLERS, HARMLESS, Machine
from oracles.stages.numerics import EXACT, WIDE, Numerics
from oracles.stages.program import Function, NotUnderstood, Operation, Program, TensorType

Run = Callable[..., Any]
F32 = TensorType((2,), "f32")
MESH = Mesh((2, 2), ("x", "y"))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a test register ops of its own."""
    monkeypatch.setattr(machine, "HANDLERS", HANDLERS.copy())


def op(
    name: str,
    operands: tuple[int, ...],
    results: tuple[int, ...],
    type_: TensorType = F32,
    attributes: Mapping[str, Any] | None = None,
    regions: tuple[Function, ...] = (),
) -> Operation:
    return Operation(name, operands, results, (type_,) * len(results), attributes or {}, regions)


def function(name: str, parameters: int, *operations: Operation, returned: tuple[int, ...]) -> Function:
    """Parameters are numbered from 0."""
    types = (F32,) * parameters
    return Function(name, tuple(range(parameters)), types, (*operations, op("func.return", returned, ())))


def on_devices(*functions: Function, mesh: Mesh = MESH, numerics: Numerics = EXACT) -> Machine:
    return Machine(Program({function.name: function for function in functions}, mesh), numerics)


def pair(first: float, second: float) -> torch.Tensor:
    return torch.tensor([first, second])


# --- refusals --------------------------------------------------------------------------------------------------------


def test_an_unknown_op_is_not_understood(run_op: Run) -> None:
    with pytest.raises(NotUnderstood, match=r"ttnn\.frobnicate"):
        run_op("ttnn.frobnicate", [pair(1, 2)], [F32], {})


def test_an_unknown_attribute_is_not_understood(run_op: Run) -> None:
    with pytest.raises(NotUnderstood, match=r"attribute rounding on ttir\.abs"):
        run_op("ttir.abs", [pair(1, 2)], [F32], {"rounding": "up"})


def test_an_attribute_that_is_understood_with_one_value_only_is_refused_with_another(run_op: Run) -> None:
    numbers = {"lhs_contracting_dimensions": (0,), "rhs_contracting_dimensions": (0,)}
    attributes, scalar = {"dot_dimension_numbers": numbers}, TensorType((), "f32")
    operands = [pair(1, 2), pair(3, 4)]
    given = attributes | {"precision_config": ("DEFAULT", "DEFAULT")}
    assert run_op("stablehlo.dot_general", operands, [scalar], given)[0].item() == 11
    with pytest.raises(NotUnderstood, match="dot_general with precision_config"):
        run_op("stablehlo.dot_general", operands, [scalar], attributes | {"precision_config": ("HIGH", "HIGH")})


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_attributes_that_change_no_value_are_ignored(run_op: Run, name: str) -> None:
    assert run_op("stablehlo.abs", [pair(-1, 2)], [F32], {name: "anything"})[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("name", "operands", "attributes"),
    [
        ("ttir.add", [torch.ones(3)], {}),  # an operand is missing
        ("ttir.add", [torch.ones(3), torch.ones(2)], {}),  # shapes that do not broadcast
        ("ttir.abs", [torch.ones(3)], {}),  # the result has another shape than the stage says
        ("ttir.permute", [torch.ones(2)], {}),  # no permutation
        ("ttir.permute", [torch.ones(2)], {"permutation": (0, 1)}),
        ("ttir.concat", [torch.ones(2)], {"dim": 3}),
        ("ttir.all_to_all", [torch.ones(2)], {"split_dim": 0, "concat_dim": 0, "split_count": 1, "replica_groups": ()}),
        ("ttir.all_gather", [torch.ones(2)], {"all_gather_dim": 0}),  # no cluster axis
        ("ttir.all_gather", [torch.ones(2)], {"all_gather_dim": 0, "cluster_axis": 2}),
        ("ttir.arange", [], {"start": 0, "end": 4, "step": 0, "arange_dimension": 0}),
        ("ttir.slice_static", [torch.ones(4)], {"begins": (0,), "ends": (9,), "step": (1,)}),
        ("ttir.reshape", [torch.ones(3)], {}),
    ],
)
def test_what_torch_refuses_is_not_understood(
    run_op: Run, name: str, operands: list[torch.Tensor], attributes: Mapping[str, Any]
) -> None:
    with pytest.raises(NotUnderstood):
        run_op(name, operands, [F32], attributes)


def test_another_number_of_results_is_not_understood(run_op: Run) -> None:
    with pytest.raises(NotUnderstood, match=r"ttir\.abs with 2 results"):
        run_op("ttir.abs", [pair(1, 2)], [F32, F32], {})


def test_an_op_that_reads_a_value_from_around_its_region_is_not_understood() -> None:
    body = Function("body", (10,), (F32,), (op("stablehlo.add", (10, 0), (11,)), op("sdy.return", (11,), ())))
    with pytest.raises(NotUnderstood, match=r"stablehlo\.add inside body reads a value from around it"):
        on_devices(body).call(body, [[pair(1, 2)] * 4])


def test_a_region_that_returns_a_value_from_around_it_is_not_understood() -> None:
    body = Function("body", (10,), (F32,), (op("sdy.return", (0,), ()),))
    with pytest.raises(NotUnderstood, match="body returns a value from around it"):
        on_devices(body).call(body, [[pair(1, 2)] * 4])


def test_a_call_with_another_number_of_values_is_not_understood() -> None:
    callee = function("callee", 2, returned=(0,))
    main = function("main", 1, op("func.call", (0,), (1,), attributes={"callee": "callee"}), returned=(1,))
    with pytest.raises(NotUnderstood, match="callee takes 2 values, not 1"):
        on_devices(main, callee).run([[pair(1, 2)] * 4])


def test_a_call_of_nothing_is_not_understood() -> None:
    main = function("main", 1, op("func.call", (0,), (1,), attributes={"callee": "gone"}), returned=(1,))
    with pytest.raises(NotUnderstood, match="no function @gone"):
        on_devices(main).run([[pair(1, 2)] * 4])


def test_an_op_is_not_registered_twice(table: None) -> None:
    with pytest.raises(ValueError, match=r"op ttir\.add has two handlers"):
        machine.local("ttir.new ttir.add")(lambda op, a, b: a)


def test_the_table_has_ops_that_serve_all_three_dialects() -> None:
    served = understood()
    for name in ("add", "subtract", "multiply", "maximum", "abs", "constant", "all_gather", "reshape"):
        assert {"stablehlo", "ttir", "ttnn"} <= set(served[name])


# --- devices ---------------------------------------------------------------------------------------------------------


def counting(name: str, runs: list[int]) -> None:
    @machine.local(name)
    def count(op: Operation, *values: torch.Tensor) -> torch.Tensor:
        runs.append(len(values))
        return values[0] + 1 if values else torch.zeros(2)


def test_devices_that_hold_the_same_tensor_compute_once(table: None) -> None:
    runs: list[int] = []
    counting("test.count", runs)
    shared, other = pair(1, 2), pair(1, 2)
    main = function("main", 1, op("test.count", (0,), (1,)), returned=(1,))
    (result,) = on_devices(main).run([[shared, other, shared, other]])
    assert len(runs) == 2
    assert result[0] is result[2]
    assert result[1] is result[3]
    assert result[0] is not result[1]


def test_an_op_without_operands_is_computed_once(table: None) -> None:
    runs: list[int] = []
    counting("test.count", runs)
    main = function("main", 0, op("test.count", (), (1,)), returned=(1,))
    (result,) = on_devices(main).run([])
    assert len(runs) == 1
    assert len(result) == 4


def test_replicas_stay_one_tensor_through_a_change_of_element_type() -> None:
    """Else the op after it would be computed by every device."""
    half = TensorType((2,), "bf16")
    main = function("main", 1, op("stablehlo.convert", (0,), (1,), half), returned=(1,))
    (result,) = on_devices(main).run([[pair(1, 257)] * 4])
    assert result[0] is result[3]
    assert result[0].tolist() == [1, 256]


def test_every_device_computes_on_its_own_operands() -> None:
    main = function("main", 2, op("ttir.subtract", (0, 1), (2,)), returned=(2,))
    ones, numbers = [pair(1, 1)] * 4, [pair(device, 10 * device) for device in range(4)]
    (result,) = on_devices(main).run([numbers, ones])
    assert [value.tolist() for value in result] == [[d - 1, 10 * d - 1] for d in range(4)]


def test_results_are_held_in_the_carrier_of_the_declared_type() -> None:
    main = function("main", 1, op("ttir.add", (0, 0), (1,), TensorType((2,), "ui16")), returned=(1,))
    value = torch.tensor([40000, 1], dtype=torch.int32)
    (result,) = on_devices(main).run([[value] * 4])
    assert result[0].tolist() == [14464, 2]
    (wide,) = on_devices(main, numerics=WIDE).run([[value] * 4])
    assert wide[0].tolist() == [80000, 2]


# --- in place --------------------------------------------------------------------------------------------------------

CACHE = TensorType((1, 1, 3, 2), "f32")


def fill(cache: int, value: int) -> Operation:
    return Operation("ttnn.fill_cache", (cache, value), (), (), {"batch_offset": 0})


def test_an_op_in_place_changes_what_is_read_after_it_and_not_what_was_before() -> None:
    double = Operation("ttnn.add", (0, 0), (2,), (CACHE,), {})
    again = Operation("ttnn.add", (0, 0), (3,), (CACHE,), {})
    main = function("main", 2, double, fill(0, 1), again, returned=(0, 2, 3))
    cache, value = torch.ones(1, 1, 3, 2), torch.full((1, 1, 2, 2), 5.0)
    filled, before, after = on_devices(main).run([[cache] * 4, [value] * 4])
    assert filled[0][0, 0].tolist() == [[5, 5], [5, 5], [1, 1]]
    assert before[0].unique().tolist() == [2]
    assert after[0][0, 0].tolist() == [[10, 10], [10, 10], [2, 2]]


def test_an_op_in_place_leaves_the_callers_tensor_alone() -> None:
    main = function("main", 2, fill(0, 1), returned=(0,))
    cache = torch.ones(1, 1, 3, 2)
    on_devices(main).run([[cache] * 4, [torch.zeros(1, 1, 2, 2)] * 4])
    assert cache.unique().tolist() == [1]


# --- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "attribute"),
    [("func.call", "callee"), ("ttcore.load_cached", "callee"), ("stablehlo.composite", "decomposition")],
)
def test_a_call_means_what_its_function_does(name: str, attribute: str) -> None:
    callee = Function(
        "callee", (10, 11), (F32, F32), (op("ttir.subtract", (10, 11), (12,)), op("func.return", (12,), ()))
    )
    main = function("main", 2, op(name, (1, 0), (2,), attributes={attribute: "callee"}), returned=(2,))
    (result,) = on_devices(main, callee).run([[pair(1, 2)] * 4, [pair(10, 20)] * 4])
    assert result[0].tolist() == [9, 18]


def manual(in_shardings: str, out_shardings: str, axes: str, body: Function, type_: TensorType) -> Operation:
    attributes = {"in_shardings": in_shardings, "out_shardings": out_shardings, "manual_axes": axes}
    return Operation("sdy.manual_computation", (0,), (1,), (type_,), attributes, (body,))


def doubling(local: TensorType) -> Function:
    return Function("body", (10,), (local,), (op("stablehlo.add", (10, 10), (11,), local), op("sdy.return", (11,), ())))


def test_a_manual_computation_inside_a_program_cuts_and_joins_whole_values() -> None:
    """Each device sees a quarter; all hold the whole again afterwards."""
    local, whole = TensorType((2, 3), "f32"), TensorType((4, 6), "f32")
    body = doubling(local)
    sharding = '#sdy.sharding_per_value<[<@mesh, [{"x"}, {"y"}]>]>'
    main = function("main", 1, manual(sharding, sharding, 'manual_axes{"x", "y"}', body, whole), returned=(1,))
    value = torch.arange(24.0).reshape(4, 6)
    (result,) = on_devices(main).run([[value] * 4])
    assert all(torch.equal(shard, value * 2) for shard in result)


def test_a_manual_computation_over_no_axes_is_an_ordinary_region() -> None:
    """So it stands between two passes: its shapes are still whole."""
    whole = TensorType((4, 6), "f32")
    sharding = '#sdy.sharding_per_value<[<@mesh, [{"x"}, {"y"}]>]>'
    main = function("main", 1, manual(sharding, sharding, "manual_axes{}", doubling(whole), whole), returned=(1,))
    value = torch.arange(24.0).reshape(4, 6)
    (result,) = on_devices(main, mesh=Mesh((1,), ("device",))).run([[value]])
    assert torch.equal(result[0], value * 2)


def test_uneven_blocks_of_a_manual_computation_are_not_understood() -> None:
    local, whole = TensorType((2, 6), "f32"), TensorType((3, 6), "f32")
    sharding = '#sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>'
    main = function(
        "main", 1, manual(sharding, sharding, 'manual_axes{"x", "y"}', doubling(local), whole), returned=(1,)
    )
    with pytest.raises(NotUnderstood, match="unevenly"):
        on_devices(main).run([[torch.ones(3, 6)] * 4])


def test_a_sharding_over_a_part_of_an_axis_is_not_understood() -> None:
    whole = TensorType((4, 6), "f32")
    sharding = '#sdy.sharding_per_value<[<@mesh, [{"x":(1)2}, {}]>]>'
    main = function("main", 1, manual(sharding, sharding, 'manual_axes{"x"}', doubling(whole), whole), returned=(1,))
    with pytest.raises(NotUnderstood, match="splits an axis"):
        on_devices(main).run([[torch.ones(4, 6)] * 4])


def test_resharding_is_the_identity_on_a_whole_value_and_unknown_on_blocks() -> None:
    main = function("main", 1, op("sdy.all_gather", (0,), (1,), attributes={"gathering_axes": ""}), returned=(1,))
    (result,) = on_devices(main, mesh=Mesh((1,), ("device",))).run([[pair(1, 2)]])
    assert result[0].tolist() == [1, 2]
    with pytest.raises(NotUnderstood, match="on blocks"):
        on_devices(main).run([[pair(1, 2)] * 4])
