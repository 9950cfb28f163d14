# SPDX-License-Identifier: Apache-2.0
"""Ops that make values of attributes, move them between layouts, or write into a cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles.stages.handlers  # noqa: F401 - fills the machine's table
from fuzz.case import Mesh
from oracles.stages.machine import Machine
from oracles.stages.numerics import EXACT, TT
from oracles.stages.program import Function, NotUnderstood, Operation, Program, TensorType

Run = Callable[..., Any]
DEVICE = torch.empty(0)  # what ttnn.get_device gives: no value, but an operand


# --- creation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stablehlo.constant", "ttir.constant", "ttnn.constant"])
def test_a_constant_is_its_attribute(run_op: Run, name: str) -> None:
    value = torch.tensor([[1, 2], [3, 4]])
    operands = [DEVICE] if name.startswith("ttnn") else []
    assert torch.equal(run_op(name, operands, [TensorType((2, 2), "i64")], {"value": value})[0], value)


def test_a_constant_takes_the_element_type_of_its_result(run_op: Run) -> None:
    """TTNN's may be written in another type than the layout has."""
    (result,) = run_op("ttnn.constant", [], [TensorType((2,), "si32")], {"value": torch.tensor([1.0, 2.0])})
    assert (result.dtype, result.tolist()) == (torch.int32, [1, 2])


@pytest.mark.parametrize("dialect", ["ttir", "ttnn"])
@pytest.mark.parametrize(
    ("name", "attributes", "value"), [("full", {"fill_value": 7}, 7), ("zeros", {}, 0), ("ones", {}, 1)]
)
@pytest.mark.parametrize("element", ["si32", "bf16", "ui32", "i1"])
def test_filled_tensors_hold_one_value(
    run_op: Run, dialect: str, name: str, attributes: Mapping[str, Any], value: int, element: str
) -> None:
    (result,) = run_op(f"{dialect}.{name}", [], [TensorType((2, 3), element)], {"shape": (2, 3), **attributes})
    assert result.tolist() == [[bool(value) if element == "i1" else value] * 3] * 2


@pytest.mark.parametrize("fill", [float("-inf"), 2.5, -0.0])
def test_full_takes_any_float(run_op: Run, fill: float) -> None:
    (result,) = run_op("ttir.full", [], [TensorType((1,), "f32")], {"fill_value": fill, "shape": (1,)})
    assert result.item() == fill


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_iota_counts_along_its_dim(run_op: Run, dim: int) -> None:
    (result,) = run_op("stablehlo.iota", [], [TensorType((2, 3, 4), "i64")], {"iota_dimension": dim})
    for place in torch.cartesian_prod(*map(torch.arange, (2, 3, 4))).tolist():
        assert result[tuple(place)] == place[dim]


@given(start=st.integers(-5, 5), count=st.integers(1, 5), step=st.sampled_from((-3, -1, 1, 2)), dim=st.integers(0, 1))
def test_arange_counts_from_start_in_steps_along_its_dim(
    run_op: Run, start: int, count: int, step: int, dim: int
) -> None:
    shape = (count, 2) if dim == 0 else (2, count)
    attributes = {"start": start, "end": start + count * step, "step": step, "arange_dimension": dim}
    (result,) = run_op("ttir.arange", [], [TensorType(shape, "i64")], attributes)
    line = list(range(start, start + count * step, step))
    assert result.select(1 - dim, 0).tolist() == result.select(1 - dim, 1).tolist() == line


def test_arange_of_ttnn_has_one_dim_and_stops_before_its_end(run_op: Run) -> None:
    attributes = {"start": 0, "end": 5, "step": 2}
    (result,) = run_op("ttnn.arange", [DEVICE], [TensorType((3,), "si32")], attributes)
    assert result.tolist() == [0, 2, 4]


def test_arange_of_another_length_than_the_stage_says_is_not_understood(run_op: Run) -> None:
    with pytest.raises(NotUnderstood, match="of 5 numbers"):
        run_op("ttnn.arange", [], [TensorType((4,), "si32")], {"start": 0, "end": 5, "step": 1})


# --- layouts ---------------------------------------------------------------------------------------------------------

LAYOUTS = [
    "ttir.to_layout", "ttnn.to_layout", "ttnn.to_tensor_spec", "ttnn.to_memory_config", "ttnn.to_device",
    "ttnn.from_device", "ttnn.to_dtype",
]  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_change_of_layout_changes_no_value(run_op: Run, name: str) -> None:
    value = torch.tensor([[1, -2], [2**31 - 1, 4]], dtype=torch.int32)
    assert torch.equal(run_op(name, [value], [TensorType((2, 2), "si32")], {}, TT)[0], value)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_change_of_layout_may_be_a_typecast(run_op: Run, name: str) -> None:
    value = torch.tensor([2004], dtype=torch.int32)
    assert run_op(name, [value], [TensorType((1,), "bf16")], {}, TT)[0].item() == 2008
    assert run_op(name, [value], [TensorType((1,), "bf16")], {}, EXACT)[0].item() == 2000


def test_to_device_takes_a_device_along(run_op: Run) -> None:
    value = torch.tensor([1.0, 2.0])
    assert torch.equal(run_op("ttnn.to_device", [value, DEVICE], [TensorType((2,), "f32")], {})[0], value)


@pytest.mark.parametrize("name", ["ttnn.assign", "ttir.mesh_shard", "sdy.sharding_constraint"])
def test_these_give_what_they_get(run_op: Run, name: str) -> None:
    value = torch.tensor([1.0, 2.0])
    assert torch.equal(run_op(name, [value], [TensorType((2,), "f32")], {})[0], value)


def test_a_mesh_shard_that_cuts_is_not_understood(run_op: Run) -> None:
    """Of presharded arguments it is the identity; this one has attributes that say otherwise."""
    with pytest.raises(NotUnderstood, match="shard_direction"):
        run_op("ttir.mesh_shard", [torch.ones(4)], [TensorType((4,), "f32")], {"shard_direction": "full_to_shard"})


def test_a_device_is_no_tensor_and_may_be_an_operand() -> None:
    attributes = {"mesh_offset": "0x0", "mesh_shape": "2x2"}
    device = Operation("ttnn.get_device", (), (0,), (None,), attributes)
    type_ = TensorType((2,), "si32")
    made = Operation("ttnn.full", (0,), (1,), (type_,), {"fill_value": 3, "shape": (2,)})
    main = Function("main", (), (), (device, made, Operation("func.return", (1,), (), ())))
    (result,) = Machine(Program({"main": main}, Mesh((2, 2), ("x", "y")))).run([])
    assert [shard.tolist() for shard in result] == [[3, 3]] * 4


# --- caches ----------------------------------------------------------------------------------------------------------


def written(name: str, operands: list[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor:
    """The cache, the first operand, after the op."""
    op = Operation(name, tuple(range(len(operands))), (), (), attributes)
    machine = Machine(Program({}, Mesh((1,), ("x",))))
    return machine.execute(op, [[operand] for operand in operands])[0][0]


@pytest.mark.parametrize("name", ["ttir.fill_cache", "ttnn.fill_cache"])
def test_fill_cache_writes_the_first_positions_of_one_user(name: str) -> None:
    cache, value = torch.zeros(3, 2, 5, 4), torch.arange(1.0, 25).reshape(1, 2, 3, 4)
    result = written(name, [cache, value], {"batch_offset": 1})
    assert torch.equal(result[1, :, :3], value[0])
    result[1, :, :3] = 0
    assert not bool(result.any())


@pytest.mark.parametrize("name", ["ttir.update_cache", "ttnn.update_cache"])
def test_update_cache_writes_one_position_of_every_user(name: str) -> None:
    """The value has users and heads the other way round: [1, heads, users, width]."""
    cache, value = torch.zeros(3, 2, 5, 4), torch.arange(1.0, 25).reshape(1, 2, 3, 4)
    result = written(name, [cache, value, torch.tensor([4])], {"batch_offset": 0})
    for user in range(3):
        for head in range(2):
            assert torch.equal(result[user, head, 4], value[0, head, user])
    assert not bool(result[:, :, :4].any())


def test_update_cache_may_start_behind_the_first_user() -> None:
    cache, value = torch.zeros(3, 1, 2, 1), torch.tensor([7.0, 8.0]).reshape(1, 1, 2, 1)
    result = written("ttnn.update_cache", [cache, value, torch.tensor([0])], {"batch_offset": 1})
    assert result[:, 0, 0, 0].tolist() == [0, 7, 8]


def test_paged_update_cache_writes_each_user_at_a_position_of_its_own() -> None:
    """Its value is [1, users, heads, width]."""
    cache, value = torch.zeros(2, 3, 5, 4), torch.arange(1.0, 25).reshape(1, 2, 3, 4)
    result = written("ttnn.paged_update_cache", [cache, value, torch.tensor([4, 1])], {"share_cache": False})
    assert torch.equal(result[0, :, 4], value[0, 0])
    assert torch.equal(result[1, :, 1], value[0, 1])
    assert int((result != 0).sum()) == 24


FIVE = torch.zeros(2, 1, 5, 1)


@pytest.mark.parametrize(
    ("name", "operands", "attributes"),
    [
        ("ttir.fill_cache", [FIVE, torch.ones(2, 1, 3, 1)], {"batch_offset": 0}),  # two users at once
        ("ttir.fill_cache", [FIVE, torch.ones(1, 1, 3, 1)], {"batch_offset": 2}),
        ("ttir.fill_cache", [FIVE, torch.ones(1, 1, 6, 1)], {"batch_offset": 0}),
        ("ttir.update_cache", [FIVE, torch.ones(1, 1, 2, 1), torch.tensor([0, 1])], {"batch_offset": 0}),
        ("ttir.update_cache", [FIVE, torch.ones(1, 1, 2, 1), torch.tensor([5])], {"batch_offset": 0}),
        ("ttir.update_cache", [FIVE, torch.ones(1, 1, 2, 1), torch.tensor([-1])], {"batch_offset": 0}),
        ("ttir.update_cache", [FIVE, torch.ones(1, 1, 2, 1), torch.tensor([0])], {"batch_offset": 1}),
        ("ttnn.paged_update_cache", [FIVE, torch.ones(1, 2, 1, 1), torch.tensor([0, -1])], {"share_cache": False}),
        ("ttnn.paged_update_cache", [FIVE, torch.ones(1, 2, 1, 1), torch.tensor([0, 5])], {"share_cache": False}),
        ("ttnn.paged_update_cache", [FIVE, torch.ones(1, 2, 1, 1), torch.tensor([0, 1])], {"share_cache": True}),
        # A table of pages as fourth operand:
        (
            "ttnn.paged_update_cache",
            [FIVE, torch.ones(1, 2, 1, 1), torch.tensor([0, 1]), torch.tensor([[0], [1]])],
            {"share_cache": False},
        ),
    ],
)
def test_a_write_that_does_not_fit_its_cache_is_not_understood(
    name: str, operands: list[torch.Tensor], attributes: Mapping[str, Any]
) -> None:
    with pytest.raises(NotUnderstood):
        written(name, operands, attributes)
