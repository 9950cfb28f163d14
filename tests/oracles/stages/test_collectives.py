# SPDX-License-Identifier: Apache-2.0
"""Ops between devices: who gets what, on every mesh, and the laws that tie the ops to one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles.stages.handlers  # noqa: F401 - fills the machine's table
from fuzz.case import Mesh
from oracles.stages.handlers.collectives import cluster_groups
from oracles.stages.machine import Machine, Shards
from oracles.stages.program import Function, NotUnderstood, Operation, Program, TensorType

GRIDS = [Mesh((2, 2), ("x", "y")), Mesh((1, 4), ("x", "y")), Mesh((2, 4), ("x", "y")), Mesh((4, 1), ("x", "y"))]
MESH = GRIDS[0]
meshes = st.sampled_from(GRIDS)
axes = st.integers(0, 1)
dims = st.integers(0, 1)
WHERE = {"sum": torch.add, "max": torch.maximum, "min": torch.minimum, "prod": torch.mul}


def run(
    name: str,
    mesh: Mesh,
    *operands: Shards,
    shape: Sequence[int],
    element: str = "i64",
    regions: tuple[Function, ...] = (),
    **attributes: Any,
) -> Shards:
    numbers = tuple(range(len(operands)))
    op = Operation(name, numbers, (9,), (TensorType(tuple(shape), element),), attributes, regions)
    return Machine(Program({}, mesh)).execute(op, list(operands))[0]


def distinct(mesh: Mesh, rows: int = 8, columns: int = 8) -> Shards:
    """Every element of every device is another number."""
    base = torch.arange(rows * columns).reshape(rows, columns)
    return [base + 1000 * device for device in range(mesh.size)]


def neighbours(mesh: Mesh, axis: int, device: int) -> list[int]:
    """The group of a device in the order of coordinates, found through the coordinates themselves."""
    here = mesh.coordinate(device)
    moving, resting = (mesh.axes[axis], mesh.axes[1 - axis])
    group = [other for other in range(mesh.size) if mesh.coordinate(other)[resting] == here[resting]]
    return sorted(group, key=lambda other: mesh.coordinate(other)[moving])


def reducer(name: str) -> Function:
    """A region of one StableHLO op on its two parameters."""
    scalar = TensorType((), "i64")
    op = Operation(f"stablehlo.{name}", (100, 101), (102,), (scalar,), {})
    return Function("reducer", (100, 101), (scalar, scalar), (op, Operation("stablehlo.return", (102,), (), ())))


def every_group(mesh: Mesh, axis: int) -> torch.Tensor:
    return torch.tensor([list(group) for group in cluster_groups(mesh, axis)])


def same(first: Shards, second: Shards) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# --- groups ----------------------------------------------------------------------------------------------------------


@given(mesh=meshes, axis=axes)
def test_a_cluster_axis_says_which_coordinate_varies_in_a_group(mesh: Mesh, axis: int) -> None:
    groups = cluster_groups(mesh, axis)
    assert sorted(device for group in groups for device in group) == list(range(mesh.size))
    for group in groups:
        assert list(group) == neighbours(mesh, axis, group[0])


def test_axis_0_varies_over_rows_and_axis_1_over_columns() -> None:
    mesh = Mesh((2, 4), ("x", "y"))
    assert cluster_groups(mesh, 0)[1] == [1, 5]
    assert cluster_groups(mesh, 1)[1] == [4, 5, 6, 7]


def test_a_mesh_of_one_dim_is_one_row() -> None:
    assert cluster_groups(Mesh((4,), ("x",)), 1) == [[0, 1, 2, 3]]
    assert cluster_groups(Mesh((4,), ("x",)), 0) == [[0], [1], [2], [3]]


@pytest.mark.parametrize(("mesh", "axis"), [(Mesh((2, 2, 2), ("x", "y", "z")), 0), (MESH, 2), (MESH, -1)])
def test_what_is_no_axis_of_a_grid_is_not_understood(mesh: Mesh, axis: int) -> None:
    with pytest.raises(NotUnderstood):
        cluster_groups(mesh, axis)


# --- TTIR and TTNN ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["ttir", "ttnn"])
@given(mesh=meshes, axis=axes, dim=dims)
def test_all_gather_gives_everyone_the_shards_of_its_group_in_order(
    dialect: str, mesh: Mesh, axis: int, dim: int
) -> None:
    shards = distinct(mesh)
    shape = [8, 8]
    shape[dim] *= mesh.shape[axis]
    result = run(f"{dialect}.all_gather", mesh, shards, shape=shape, all_gather_dim=dim, cluster_axis=axis)
    for device in range(mesh.size):
        assert torch.equal(result[device], torch.cat([shards[o] for o in neighbours(mesh, axis, device)], dim))


@pytest.mark.parametrize("dialect", ["ttir", "ttnn"])
@given(mesh=meshes, axis=axes, dim=dims)
def test_mesh_partition_keeps_the_chunk_at_the_own_coordinate_of_the_own_tensor(
    dialect: str, mesh: Mesh, axis: int, dim: int
) -> None:
    shards = distinct(mesh)
    shape = [8, 8]
    shape[dim] //= mesh.shape[axis]
    result = run(f"{dialect}.mesh_partition", mesh, shards, shape=shape, dim=dim, cluster_axis=axis)
    for device in range(mesh.size):
        start = mesh.coordinate(device)[mesh.axes[axis]] * shape[dim]
        assert torch.equal(result[device], shards[device].narrow(dim, start, shape[dim]))


@given(mesh=meshes, axis=axes, dim=dims)
def test_mesh_partition_undoes_all_gather(mesh: Mesh, axis: int, dim: int) -> None:
    shards = distinct(mesh)
    shape = [8, 8]
    shape[dim] *= mesh.shape[axis]
    whole = run("ttir.all_gather", mesh, shards, shape=shape, all_gather_dim=dim, cluster_axis=axis)
    assert same(run("ttir.mesh_partition", mesh, whole, shape=(8, 8), dim=dim, cluster_axis=axis), shards)


@pytest.mark.parametrize("dialect", ["ttir", "ttnn"])
@pytest.mark.parametrize("reduction", sorted(WHERE))
@given(mesh=meshes, axis=axes)
def test_all_reduce_combines_a_group(dialect: str, reduction: str, mesh: Mesh, axis: int) -> None:
    shards = distinct(mesh)
    result = run(f"{dialect}.all_reduce", mesh, shards, shape=(8, 8), cluster_axis=axis, reduce_type=reduction)
    for device in range(mesh.size):
        first, *others = (shards[other] for other in neighbours(mesh, axis, device))
        for other in others:
            first = WHERE[reduction](first, other)
        assert torch.equal(result[device], first)


@pytest.mark.parametrize("dialect", ["ttir", "ttnn"])
@given(mesh=meshes, axis=axes, dim=dims, reduction=st.sampled_from(sorted(WHERE)))
def test_reduce_scatter_is_all_reduce_and_then_mesh_partition(
    dialect: str, mesh: Mesh, axis: int, dim: int, reduction: str
) -> None:
    shards = distinct(mesh)
    shape = [8, 8]
    shape[dim] //= mesh.shape[axis]
    reduced = run("ttir.all_reduce", mesh, shards, shape=(8, 8), cluster_axis=axis, reduce_type=reduction)
    expected = run("ttir.mesh_partition", mesh, reduced, shape=shape, dim=dim, cluster_axis=axis)
    result = run(
        f"{dialect}.reduce_scatter", mesh, shards, shape=shape,
        cluster_axis=axis, reduce_type=reduction, scatter_dim=dim,
    )  # fmt: skip
    assert same(result, expected)


def exchanged(mesh: Mesh, shards: Shards, axis: int, split: int, concat: int, shape: Sequence[int]) -> Shards:
    return run(
        "ttir.all_to_all", mesh, shards, shape=shape, split_dim=split, concat_dim=concat,
        split_count=mesh.shape[axis], replica_groups=every_group(mesh, axis),
    )  # fmt: skip


@given(mesh=meshes, axis=axes, split=dims)
def test_all_to_all_gives_member_i_the_chunk_i_of_every_member(mesh: Mesh, axis: int, split: int) -> None:
    shards, count = distinct(mesh), mesh.shape[axis]
    concat, size = 1 - split, 8 // count
    shape = [8, 8]
    shape[split], shape[concat] = size, 8 * count
    result = exchanged(mesh, shards, axis, split, concat, shape)
    for device in range(mesh.size):
        group = neighbours(mesh, axis, device)
        mine = group.index(device)
        chunks = [shards[member].narrow(split, mine * size, size) for member in group]
        assert torch.equal(result[device], torch.cat(chunks, concat))


@given(mesh=meshes, axis=axes, split=dims)
def test_all_to_all_twice_with_its_dims_swapped_is_the_identity(mesh: Mesh, axis: int, split: int) -> None:
    shards, count = distinct(mesh), mesh.shape[axis]
    shape = [8, 8]
    shape[split], shape[1 - split] = 8 // count, 8 * count
    there = exchanged(mesh, shards, axis, split, 1 - split, shape)
    assert same(exchanged(mesh, there, axis, 1 - split, split, (8, 8)), shards)


@given(mesh=meshes, data=st.data())
def test_point_to_point_changes_the_receiver_alone(mesh: Mesh, data: st.DataObject) -> None:
    sender, receiver = (data.draw(st.integers(0, mesh.size - 1)) for _ in range(2))
    shards, target = distinct(mesh), [torch.full((8, 8), -device) for device in range(mesh.size)]
    coordinates = [divmod(device, mesh.shape[1]) for device in (sender, receiver)]
    result = run(
        "ttnn.point_to_point", mesh, shards, target, shape=(8, 8),
        sender_coord=coordinates[0], receiver_coord=coordinates[1],
    )  # fmt: skip
    for device in range(mesh.size):
        assert torch.equal(result[device], shards[sender] if device == receiver else target[device])


@pytest.mark.parametrize("name", ["stablehlo.collective_permute", "ttir.collective_permute"])
@given(mesh=meshes, data=st.data())
def test_collective_permute_leaves_zeros_where_nothing_arrives(name: str, mesh: Mesh, data: st.DataObject) -> None:
    targets = data.draw(st.permutations(range(mesh.size)))
    pairs = [[source, target] for source, target in enumerate(targets)][: data.draw(st.integers(1, mesh.size))]
    shards = [shard + 1 for shard in distinct(mesh)]
    result = run(name, mesh, shards, shape=(8, 8), source_target_pairs=torch.tensor(pairs))
    came_from = {target: source for source, target in pairs}
    for device in range(mesh.size):
        expected = shards[came_from[device]] if device in came_from else torch.zeros(8, 8, dtype=torch.int64)
        assert torch.equal(result[device], expected)


# --- StableHLO -------------------------------------------------------------------------------------------------------


@given(mesh=meshes, axis=axes, dim=dims)
def test_the_ops_of_stablehlo_do_on_listed_groups_what_those_of_ttir_do_along_an_axis(
    mesh: Mesh, axis: int, dim: int
) -> None:
    shards, count, groups = distinct(mesh), mesh.shape[axis], every_group(mesh, axis)
    wide, narrow = [8, 8], [8, 8]
    wide[dim], narrow[dim] = 8 * count, 8 // count
    add = (reducer("add"),)
    assert same(
        run("stablehlo.all_gather", mesh, shards, shape=wide, all_gather_dim=dim, replica_groups=groups),
        run("ttir.all_gather", mesh, shards, shape=wide, all_gather_dim=dim, cluster_axis=axis),
    )
    assert same(
        run("stablehlo.all_reduce", mesh, shards, shape=(8, 8), regions=add, replica_groups=groups),
        run("ttir.all_reduce", mesh, shards, shape=(8, 8), cluster_axis=axis, reduce_type="sum"),
    )
    assert same(
        run(
            "stablehlo.reduce_scatter", mesh, shards, shape=narrow, regions=add,
            scatter_dimension=dim, replica_groups=groups,
        ),
        run("ttir.reduce_scatter", mesh, shards, shape=narrow, cluster_axis=axis, reduce_type="sum", scatter_dim=dim),
    )  # fmt: skip
    shape = [8, 8]
    shape[dim], shape[1 - dim] = 8 // count, 8 * count
    assert same(
        run(
            "stablehlo.all_to_all", mesh, shards, shape=shape, split_dimension=dim, concat_dimension=1 - dim,
            split_count=count, replica_groups=groups,
        ),
        exchanged(mesh, shards, axis, dim, 1 - dim, shape),
    )  # fmt: skip


def test_groups_list_their_members_in_the_order_that_counts() -> None:
    shards = distinct(MESH, 1, 1)
    gathered = run(
        "stablehlo.all_gather",
        MESH,
        shards,
        shape=(2, 1),
        all_gather_dim=0,
        replica_groups=torch.tensor([[2, 0], [1, 3]]),
    )
    assert [shard.flatten().tolist() for shard in gathered] == [[2000, 0], [1000, 3000], [2000, 0], [1000, 3000]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("add", 11), ("multiply", 30), ("maximum", 6), ("minimum", 5), ("or", 7), ("and", 4)],
)
def test_a_reducer_of_one_op_is_understood(name: str, expected: int) -> None:
    """5 and 6: `or` of integers is bit by bit, not their maximum."""
    mesh, values = Mesh((1, 2), ("x", "y")), [torch.tensor([5]), torch.tensor([6])]
    result = run(
        "stablehlo.all_reduce",
        mesh,
        values,
        shape=(1,),
        regions=(reducer(name),),
        replica_groups=torch.tensor([[0, 1]]),
    )
    assert [shard.item() for shard in result] == [expected, expected]


@pytest.mark.parametrize(("name", "expected"), [("add", True), ("or", True), ("and", False), ("multiply", False)])
def test_truth_values_are_reduced_as_such(name: str, expected: bool) -> None:
    mesh, values = Mesh((1, 2), ("x", "y")), [torch.tensor([True]), torch.tensor([False])]
    result = run(
        "stablehlo.all_reduce", mesh, values, shape=(1,), element="i1",
        regions=(reducer(name),), replica_groups=torch.tensor([[0, 1]]),
    )  # fmt: skip
    assert [shard.item() for shard in result] == [expected, expected]


def test_all_reduce_of_several_values_reduces_each() -> None:
    type_ = TensorType((1,), "i64")
    attributes: Mapping[str, Any] = {"replica_groups": torch.tensor([[0, 1, 2, 3]])}
    op = Operation("stablehlo.all_reduce", (0, 1), (2, 3), (type_, type_), attributes, (reducer("add"),))
    ones, devices = [torch.tensor([1])] * 4, [torch.tensor([device]) for device in range(4)]
    first, second = Machine(Program({}, MESH)).execute(op, [ones, devices])
    assert (first[3].item(), second[0].item()) == (4, 6)


def test_partition_id_is_the_id_of_the_device() -> None:
    assert [shard.item() for shard in run("stablehlo.partition_id", MESH, shape=(), element="ui32")] == [0, 1, 2, 3]


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [[[0, 1]], [[0, 1], [1, 2]], [[0, 1], [2, -1]], [[0, 1, 2, 3, 4]]])
def test_groups_that_do_not_cover_the_devices_once_are_not_understood(groups: list[list[int]]) -> None:
    with pytest.raises(NotUnderstood):
        run(
            "stablehlo.all_gather", MESH, distinct(MESH), shape=(16, 8),
            all_gather_dim=0, replica_groups=torch.tensor(groups),
        )  # fmt: skip


def test_a_reducer_with_an_op_that_is_no_scalar_function_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match=r"stablehlo\.reshape in the region"):
        run(
            "stablehlo.all_reduce", MESH, distinct(MESH), shape=(8, 8), regions=(reducer("reshape"),),
            replica_groups=torch.tensor([[0, 1, 2, 3]]),
        )  # fmt: skip


def test_an_unknown_reduction_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="reduction mean"):
        run("ttir.all_reduce", MESH, distinct(MESH), shape=(8, 8), cluster_axis=0, reduce_type="mean")


def test_chunks_that_do_not_come_out_even_are_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="3 elements in 2 chunks"):
        run("ttnn.mesh_partition", MESH, distinct(MESH, 3, 2), shape=(2, 2), dim=0, cluster_axis=0)


def test_another_split_count_than_members_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="split_count 4"):
        run(
            "ttir.all_to_all", MESH, distinct(MESH), shape=(8, 8), split_dim=0, concat_dim=1, split_count=4,
            replica_groups=every_group(MESH, 0),
        )  # fmt: skip
