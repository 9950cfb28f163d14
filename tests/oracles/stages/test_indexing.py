# SPDX-License-Identifier: Apache-2.0
"""Gather, scatter and dynamic slices: the stage executor against XLA on generated dimension numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.stages.program import NotUnderstood, TensorType

Run = Callable[..., Any]
ELEMENTS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.int32: "i32", torch.int64: "i64", torch.bool: "i1"}
EXAMPLES = 30


def tensor_type(shape: Sequence[int], element: str) -> str:
    return f"tensor<{'x'.join(map(str, (*shape, element)))}>"


@dataclass(frozen=True)
class Windows:
    """Windows of an operand, as gather reads and scatter writes them."""

    operand: tuple[int, ...]
    indices: torch.Tensor
    sizes: tuple[int, ...]  # per operand dim
    single: tuple[int, ...]  # operand dims without a window dim
    batching: tuple[int, ...]  # operand dims that belong to dims of the indices
    indices_batching: tuple[int, ...]
    index_map: tuple[int, ...]
    vector_dim: int
    offsets: tuple[int, ...]  # window dims in the result
    result: tuple[int, ...]

    @property
    def gather(self) -> str:
        return (
            f"#stablehlo.gather<offset_dims = {list(self.offsets)}, collapsed_slice_dims = {list(self.single)}, "
            f"operand_batching_dims = {list(self.batching)}, start_indices_batching_dims = "
            f"{list(self.indices_batching)}, start_index_map = {list(self.index_map)}, "
            f"index_vector_dim = {self.vector_dim}>"
        )

    @property
    def scatter(self) -> str:
        return (
            f"#stablehlo.scatter<update_window_dims = {list(self.offsets)}, inserted_window_dims = {list(self.single)},"
            f" input_batching_dims = {list(self.batching)}, scatter_indices_batching_dims = "
            f"{list(self.indices_batching)}, scatter_dims_to_operand_dims = {list(self.index_map)}, "
            f"index_vector_dim = {self.vector_dim}>"
        )


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    operand = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    kinds = [draw(st.sampled_from(("single", "window", "window", "batching"))) for _ in operand]
    single, batching = (
        tuple(dim for dim, kind in enumerate(kinds) if kind == wanted) for wanted in ("single", "batching")
    )
    sizes = tuple(
        draw(st.integers(1, size)) if kind == "window" else 1 for size, kind in zip(operand, kinds, strict=True)
    )
    started = draw(st.permutations([dim for dim in range(len(operand)) if dim not in batching]))
    index_map = tuple(started[: draw(st.integers(0, len(started)))])
    # Batch dims of the indices: free ones, and one for each batching dim, in any order.
    owners = draw(st.permutations([*batching, *([None] * draw(st.integers(0, 2)))]))
    batch = [draw(st.integers(1, 3)) if owner is None else operand[owner] for owner in owners]
    vector_dim = draw(st.integers(0, len(batch)))
    implicit = len(index_map) == 1 and vector_dim == len(batch) and draw(st.booleans())
    shape = batch if implicit else [*batch[:vector_dim], len(index_map), *batch[vector_dim:]]
    places = {owner: place + (place >= vector_dim) for place, owner in enumerate(owners) if owner is not None}
    window = [size for size, kind in zip(sizes, kinds, strict=True) if kind == "window"]
    rank = len(batch) + len(window)
    offsets = tuple(sorted(draw(st.permutations(range(rank)))[: len(window)]))
    remaining = iter(batch)
    inner = iter(window)
    result = tuple(next(inner) if dim in offsets else next(remaining) for dim in range(rank))
    count = int(torch.tensor(shape).prod())
    values = draw(st.lists(st.integers(-2, 5), min_size=count, max_size=count))
    indices = torch.tensor(values, dtype=draw(st.sampled_from((torch.int32, torch.int64)))).reshape(shape)
    return Windows(
        operand, indices, sizes, single, batching, tuple(places[dim] for dim in batching), index_map, vector_dim,
        offsets, result,
    )  # fmt: skip


# With empty index vectors, which nothing produces, XLA's CPU client applies only the last of several updates to the
# same window, where the spec asks for all of them.
indexed_windows = windows().filter(lambda case: bool(case.index_map))


def counted(shape: Sequence[int], dtype: torch.dtype = torch.int32, first: int = 1) -> torch.Tensor:
    """Distinct values."""
    return torch.arange(first, first + int(torch.tensor(tuple(shape)).prod())).reshape(tuple(shape)).to(dtype)


def gather_function(case: Windows) -> str:
    indices = tensor_type(case.indices.shape, ELEMENTS[case.indices.dtype])
    operand, result = tensor_type(case.operand, "i32"), tensor_type(case.result, "i32")
    return f"""
    func.func @main(%operand: {operand}, %indices: {indices}) -> {result} {{
      %0 = "stablehlo.gather"(%operand, %indices) <{{dimension_numbers = {case.gather},
          slice_sizes = array<i64: {", ".join(map(str, case.sizes))}>}}> : ({operand}, {indices}) -> {result}
      return %0 : {result}
    }}
    """


def scatter_function(case: Windows, element: str, body: str) -> str:
    """`body` combines %a, what is there, and %b, the update, into %c."""
    indices = tensor_type(case.indices.shape, ELEMENTS[case.indices.dtype])
    operand, update = tensor_type(case.operand, element), tensor_type(case.result, element)
    return f"""
    func.func @main(%operand: {operand}, %indices: {indices}, %update: {update}) -> {operand} {{
      %0 = "stablehlo.scatter"(%operand, %indices, %update) <{{scatter_dimension_numbers = {case.scatter}}}> ({{
        ^bb0(%a: tensor<{element}>, %b: tensor<{element}>):
          {body}
      }}) : ({operand}, {indices}, {update}) -> {operand}
      return %0 : {operand}
    }}
    """


def combine(name: str, element: str) -> str:
    if name == "overwrite":
        return f"stablehlo.return %b : tensor<{element}>"
    return f"%c = stablehlo.{name} %a, %b : tensor<{element}>\n stablehlo.return %c : tensor<{element}>"


@settings(max_examples=EXAMPLES)
@given(case=windows())
def test_gather_reads_the_windows_that_xla_reads(with_xla: Run, case: Windows) -> None:
    ours, theirs = with_xla(gather_function(case), counted(case.operand), case.indices)
    assert torch.equal(ours[0], theirs[0])


@settings(max_examples=EXAMPLES)
@given(
    case=indexed_windows,
    dtype=st.sampled_from((torch.int32, torch.int64, torch.float32)),
    name=st.sampled_from(("overwrite", "add", "multiply", "maximum", "minimum", "subtract")),
)
def test_scatter_combines_in_the_order_of_xla(with_xla: Run, case: Windows, dtype: torch.dtype, name: str) -> None:
    """Duplicates overwrite each other in order, and windows that leave the operand are dropped."""
    element = ELEMENTS[dtype]
    function = scatter_function(case, element, combine(name, element))
    update = counted(case.result, dtype, first=2) % 5 + 1  # small: products of floats stay exact
    ours, theirs = with_xla(function, counted(case.operand, dtype), case.indices, update)
    assert torch.equal(ours[0], theirs[0])


@settings(max_examples=EXAMPLES // 2)
@given(
    case=indexed_windows,
    name=st.sampled_from(("overwrite", "add", "multiply", "or", "and", "xor")),
    seed=st.integers(0),
)
def test_scatter_of_truth_values_combines_like_xla(with_xla: Run, case: Windows, name: str, seed: int) -> None:
    function = scatter_function(case, "i1", combine(name, "i1"))
    generator = torch.Generator().manual_seed(seed % 2**32)
    operand, update = (torch.rand(shape, generator=generator) < 0.5 for shape in (case.operand, case.result))
    ours, theirs = with_xla(function, operand, case.indices, update)
    assert torch.equal(ours[0], theirs[0])


def test_scatter_wraps_what_overflows(with_xla: Run) -> None:
    case = Windows((2,), torch.zeros(3, 1, dtype=torch.int64), (1,), (0,), (), (), (0,), 1, (), (3,))
    large = torch.full((3,), 2**30 + 1, dtype=torch.int32)
    for name in ("add", "multiply"):
        ours, theirs = with_xla(
            scatter_function(case, "i32", combine(name, "i32")), counted((2,)), case.indices, large
        )  # fmt: skip
        assert torch.equal(ours[0], theirs[0])


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_scatter_keeps_nan(with_xla: Run, name: str) -> None:
    case = Windows((3,), torch.tensor([[0], [0], [1]]), (1,), (0,), (), (), (0,), 1, (), (3,))
    function = scatter_function(case, "f32", combine(name, "f32"))
    operand, update = torch.tensor([1.0, torch.nan, 2.0]), torch.tensor([torch.nan, 5.0, 5.0])
    ours, theirs = with_xla(function, operand, case.indices, update)
    assert ours[0].isnan().tolist() == theirs[0].isnan().tolist() == [True, True, False]


def test_scatter_of_two_operands_passes_both_to_its_region(with_xla: Run) -> None:
    """The larger value wins, together with where it comes from."""
    ours, theirs = with_xla(
        """
        func.func @main(%x: tensor<3xi32>, %y: tensor<3xi32>, %indices: tensor<4x1xi64>, %u: tensor<4xi32>,
                        %v: tensor<4xi32>) -> (tensor<3xi32>, tensor<3xi32>) {
          %0:2 = "stablehlo.scatter"(%x, %y, %indices, %u, %v) <{scatter_dimension_numbers = #stablehlo.scatter<
              inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({
            ^bb0(%a: tensor<i32>, %i: tensor<i32>, %b: tensor<i32>, %j: tensor<i32>):
              %larger = stablehlo.compare GT, %b, %a : (tensor<i32>, tensor<i32>) -> tensor<i1>
              %c = stablehlo.select %larger, %b, %a : tensor<i1>, tensor<i32>
              %k = stablehlo.select %larger, %j, %i : tensor<i1>, tensor<i32>
              stablehlo.return %c, %k : tensor<i32>, tensor<i32>
          }) : (tensor<3xi32>, tensor<3xi32>, tensor<4x1xi64>, tensor<4xi32>, tensor<4xi32>)
              -> (tensor<3xi32>, tensor<3xi32>)
          return %0#0, %0#1 : tensor<3xi32>, tensor<3xi32>
        }
        """,
        torch.tensor([5, 5, 5], dtype=torch.int32),
        torch.tensor([-1, -1, -1], dtype=torch.int32),
        torch.tensor([[2], [0], [2], [2]]),
        torch.tensor([7, 3, 9, 9], dtype=torch.int32),
        torch.tensor([10, 11, 12, 13], dtype=torch.int32),
    )
    assert [x.tolist() for x in ours] == [x.tolist() for x in theirs] == [[5, 5, 9], [-1, -1, 12]]


def test_an_unsigned_index_beyond_the_operand_clamps_to_its_end(with_xla: Run) -> None:
    """-1 as ui32 is 4294967295: beyond the end, not before the start."""
    ours, theirs = with_xla(
        """
        func.func @main(%operand: tensor<4xi32>, %signed: tensor<2x1xi64>) -> tensor<2xi32> {
          %indices = stablehlo.convert %signed : (tensor<2x1xi64>) -> tensor<2x1xui32>
          %0 = "stablehlo.gather"(%operand, %indices) <{dimension_numbers = #stablehlo.gather<
              collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1>}>
              : (tensor<4xi32>, tensor<2x1xui32>) -> tensor<2xi32>
          return %0 : tensor<2xi32>
        }
        """,
        counted((4,), first=10),
        torch.tensor([[-1], [1]]),
    )
    assert ours[0].tolist() == theirs[0].tolist() == [13, 11]


def test_a_marked_gather_gives_zeros_for_windows_outside(run_op: Run) -> None:
    """A window of two rows from row 2 of three leaves the operand: the compiler's mark makes it zero, not row 1."""
    numbers = {"offset_dims": (1,), "start_index_map": (0,), "index_vector_dim": 1}
    (result,) = run_op(
        "stablehlo.gather",
        [counted((3,)), torch.tensor([[-1], [1], [2]])],
        [TensorType((3, 2), "i32")],
        {"dimension_numbers": numbers, "slice_sizes": (2,), "tt.fill_out_of_bounds": True},
    )
    assert result.tolist() == [[0, 0], [2, 3], [0, 0]]


def test_an_unknown_mark_is_not_understood(run_op: Run) -> None:
    attributes = {"dimension_numbers": {}, "slice_sizes": (3,), "tt.something_new": True}
    with pytest.raises(NotUnderstood, match=r"tt\.something_new"):
        run_op(
            "stablehlo.gather",
            [counted((3,)), torch.zeros(0, dtype=torch.int64)],
            [TensorType((3,), "i32")],
            attributes,
        )


@settings(max_examples=EXAMPLES // 2)
@given(
    starts=st.lists(st.integers(-3, 6), min_size=2, max_size=2),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 3)),
)
def test_dynamic_slices_are_clamped_like_xla(with_xla: Run, starts: list[int], sizes: tuple[int, int]) -> None:
    whole, part = "tensor<4x3xi32>", tensor_type(sizes, "i32")
    function = f"""
    func.func @main(%x: {whole}, %u: {part}, %i: tensor<i64>, %j: tensor<i64>) -> ({part}, {whole}) {{
      %0 = stablehlo.dynamic_slice %x, %i, %j, sizes = {list(sizes)} : ({whole}, tensor<i64>, tensor<i64>) -> {part}
      %1 = stablehlo.dynamic_update_slice %x, %u, %i, %j : ({whole}, {part}, tensor<i64>, tensor<i64>) -> {whole}
      return %0, %1 : {part}, {whole}
    }}
    """
    update = counted(sizes, first=100)
    ours, theirs = with_xla(function, counted((4, 3)), update, *(torch.tensor(start) for start in starts))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
