# SPDX-License-Identifier: Apache-2.0
"""What the reference calls exact, what it bounds, and what it refuses."""

import pytest
import torch

from fuzz.case import Attribute, Case, Input, Mesh, Node, Output, Payload, TensorSpec, replicated
from oracles.reference import Expected, InvalidCase, reference

MESH = Mesh((1, 1), ("x", "y"))


def run(op: str, *operands: torch.Tensor, then: Node | None = None, **attributes: Attribute) -> Expected:
    """The expected value of one op on the given tensors (or of `then`, applied to the op's result v0)."""
    names = {torch.float32: "f32", torch.bfloat16: "bf16", torch.int64: "i64", torch.int32: "i32", torch.bool: "bool"}
    inputs = tuple(
        Input(f"x{i}", TensorSpec(tuple(t.shape), names[t.dtype]), Payload("position"), replicated(t.dim()))
        for i, t in enumerate(operands)
    )
    nodes = (Node("v0", op, tuple(i.name for i in inputs), tuple(sorted(attributes.items()))),)
    if then is not None:
        nodes = (*nodes, then)
    case = Case(MESH, inputs, nodes, (Output(nodes[-1].name),))
    return reference(case, {f"x{i}": t for i, t in enumerate(operands)})[nodes[-1].name]


def test_moved_data_is_exact_even_in_bf16() -> None:
    x = torch.tensor([[1.0078125, 3.0], [0.1, 5.0]]).bfloat16()
    expected = run("gather", x, torch.tensor([[1, 0], [1, 1]]), dim=1)
    assert expected.exact
    assert torch.equal(expected.values.bfloat16(), x.gather(1, torch.tensor([[1, 0], [1, 1]])))


def test_a_sum_of_integers_that_fits_the_significand_is_exact() -> None:
    assert run("sum", torch.arange(1.0, 101.0), dim=0, keepdim=False).exact


def test_a_sum_that_leaves_the_significand_is_bounded_but_not_exact() -> None:
    expected = run("sum", torch.arange(1.0, 101.0).bfloat16(), dim=0, keepdim=False)
    assert expected.bound is not None
    assert 5050 / 2**8 < float(expected.bound) < 5050 / 2


def test_the_bound_of_a_sum_covers_bf16_accumulation_in_any_order() -> None:
    x = (torch.arange(1.0, 65.0) / 7).bfloat16()
    expected = run("sum", x, dim=0, keepdim=False)
    worst = 0.0
    for seed in range(5):
        order = torch.randperm(64, generator=torch.Generator().manual_seed(seed))
        total = torch.zeros((), dtype=torch.bfloat16)
        for value in x[order]:
            total = total + value
        worst = max(worst, abs(float(total) - float(expected.values)))
    assert expected.bound is not None
    assert 0 < worst <= float(expected.bound)


def test_a_lost_term_is_outside_the_bound() -> None:
    x = (torch.arange(1.0, 65.0) / 7).float()
    expected = run("sum", x, dim=0, keepdim=False)
    assert expected.bound is not None
    assert float(x[0]) > float(expected.bound)


def test_bounds_travel_with_moved_elements() -> None:
    x = torch.tensor([[1.0, 2.0], [2.0**24, 1.0]])  # the second sum does not fit f32's significand
    expected = run("sum", x, dim=1, keepdim=True, then=Node("v1", "flip", ("v0",), (("dims", (0,)),)))
    assert expected.bound is not None
    assert float(expected.bound[1, 0]) == 0.0  # 1 + 2 is exact, and moved to the end
    assert float(expected.bound[0, 0]) > 0.0


def test_integers_are_always_exact() -> None:
    expected = run("sum", torch.full((4,), 2**40), dim=0, keepdim=False)
    assert expected.exact
    assert int(expected.values) == 2**42


def test_conflicting_writes_are_refused() -> None:
    base, source = torch.zeros(1, 4), torch.tensor([[1.0, 2.0]])
    with pytest.raises(InvalidCase, match="conflicting writes"):
        run("scatter", base, torch.tensor([[2, 2]]), source, dim=1)


def test_duplicate_writes_of_the_same_value_are_defined() -> None:
    base, source = torch.zeros(1, 4), torch.tensor([[5.0, 5.0]])
    expected = run("scatter", base, torch.tensor([[2, 2]]), source, dim=1)
    assert expected.values.tolist() == [[0.0, 0.0, 5.0, 0.0]]


def test_an_index_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidCase, match="torch rejects"):
        run("gather", torch.zeros(1, 4), torch.tensor([[4]]), dim=1)


def test_deciding_on_rounded_values_is_refused() -> None:
    x = torch.tensor([0.1, 0.2, 0.3])
    with pytest.raises(InvalidCase, match="rounded"):
        run("sum", x, dim=0, keepdim=True, then=Node("v1", "gt", ("v0", "x0")))


def test_positions_of_ties_are_left_open_and_may_not_be_used_further() -> None:
    x = torch.tensor([[1.0, 1.0, 0.5]])
    assert run("argmax", x, dim=1, keepdim=True).chosen_from is not None
    with pytest.raises(InvalidCase, match="ties"):
        run("argmax", x, dim=1, keepdim=True, then=Node("v1", "gather", ("x0", "v0"), (("dim", 1),)))


def test_positions_without_ties_are_exact() -> None:
    expected = run("argmax", torch.tensor([[1.0, 3.0, 0.5]]), dim=1, keepdim=True)
    assert expected.chosen_from is None
    assert expected.values.tolist() == [[1]]
