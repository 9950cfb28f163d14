# SPDX-License-Identifier: Apache-2.0
"""The comparison policy on hand-made observations."""

import torch

from fuzz.case import Case, Input, Mesh, Output, Payload, Sharding, TensorSpec
from oracles.outcome import Verdict
from oracles.placement import block_shape, block_start, take_block
from oracles.reference import Expected
from oracles.targets.base import Block, Observation
from oracles.verdict import compare, same

MESH = Mesh((2, 2), ("x", "y"))
ROWS: Sharding = (("x",), ())


def case(sharding: Sharding = ROWS) -> Case:
    value = Input("x0", TensorSpec((4, 2), "f32"), Payload("position"), sharding)
    return Case(MESH, (value,), (), (Output("x0", sharding),))


def observe(tensor: torch.Tensor, sharding: Sharding = ROWS) -> Observation:
    shape = block_shape(tensor.shape, sharding, MESH)
    starts = [block_start(tensor.shape, sharding, MESH, device) for device in range(4)]
    return Observation(
        (tuple(Block(device, start, take_block(tensor, start, shape).clone()) for device, start in enumerate(starts)),)
    )


WANT = torch.arange(1.0, 9.0).reshape(4, 2)


def test_equal_parts_on_every_device_pass() -> None:
    assert compare(case(), {"x0": Expected(WANT.double(), None)}, observe(WANT)).verdict is Verdict.PASS


def test_one_wrong_element_on_one_device_is_wrong_and_says_where() -> None:
    observation = observe(WANT)
    observation.outputs[0][3].values[1, 0] = 40.0
    outcome = compare(case(), {"x0": Expected(WANT.double(), None)}, observation)
    assert outcome.verdict is Verdict.WRONG
    (mismatch,) = outcome.mismatches
    assert (mismatch.device, mismatch.wrong, mismatch.samples) == (3, 1, (("(3, 0)", "7", "40"),))


def test_pcc_does_not_excuse_a_wrong_index() -> None:
    table = torch.arange(4096.0).reshape(4, 1024)
    got = table.clone()
    got[2, 561] += 1  # 2609 became 2610
    value = Input("x0", TensorSpec((4, 1024), "f32"), Payload("position"), ROWS)
    large = Case(MESH, (value,), (), (Output("x0", ROWS),))
    outcome = compare(large, {"x0": Expected(table.double(), None)}, observe(got))
    assert outcome.verdict is Verdict.WRONG
    assert outcome.pcc is not None
    assert outcome.pcc > 0.9999


def test_a_value_within_its_bound_passes_and_outside_fails() -> None:
    bound = torch.full((4, 2), 0.5, dtype=torch.float64)
    expected = {"x0": Expected(WANT.double(), bound)}
    assert compare(case(), expected, observe(WANT + 0.5)).verdict is Verdict.PASS
    assert compare(case(), expected, observe(WANT + 0.75)).verdict is Verdict.WRONG


def test_replicas_that_disagree_within_the_bound_are_wrong() -> None:
    bound = torch.full((4, 2), 0.5, dtype=torch.float64)
    observation = observe(WANT)
    observation.outputs[0][1].values[0, 0] += 0.25
    outcome = compare(case(), {"x0": Expected(WANT.double(), bound)}, observation)
    assert outcome.verdict is Verdict.WRONG
    assert "replicas" in outcome.message


def test_nan_passes_only_where_nan_is_right() -> None:
    want = WANT.double()
    want[0, 0] = torch.nan
    got = WANT.clone()
    got[0, 0] = torch.nan
    assert compare(case(), {"x0": Expected(want, None)}, observe(got)).verdict is Verdict.PASS
    assert compare(case(), {"x0": Expected(want, None)}, observe(WANT)).verdict is Verdict.WRONG
    assert compare(case(), {"x0": Expected(WANT.double(), None)}, observe(got)).verdict is Verdict.WRONG


def choose(got: list[int]) -> Verdict:
    """Judge positions of the two largest of 7, 9, 9, 3 in one row."""
    mesh = Mesh((1, 1), ("x", "y"))
    value = Input("x0", TensorSpec((1, 2), "i64"), Payload("position"), ((), ()))
    source = torch.tensor([[7.0, 9.0, 9.0, 3.0]]).double()
    expected = Expected(torch.tensor([[1, 2]]), None, chosen_from=source, chosen_dim=1)
    observation = Observation(((Block(0, (0, 0), torch.tensor([got])),),))
    return compare(Case(mesh, (value,), (), (Output("x0"),)), {"x0": expected}, observation).verdict


def test_any_order_of_tied_positions_is_right() -> None:
    assert choose([1, 2]) is Verdict.PASS
    assert choose([2, 1]) is Verdict.PASS


def test_a_position_named_twice_out_of_range_or_with_another_value_is_wrong() -> None:
    assert choose([1, 1]) is Verdict.WRONG
    assert choose([1, 4]) is Verdict.WRONG
    assert choose([1, 0]) is Verdict.WRONG


def test_same_notices_a_changed_element() -> None:
    first, second = observe(WANT), observe(WANT)
    assert same(first, second)
    second.outputs[0][0].values[0, 0] = 99.0
    assert not same(first, second)
