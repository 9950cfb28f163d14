# SPDX-License-Identifier: Apache-2.0
"""The diagnosis: each fault model on an output made as the fault makes it, and on ones that it must not take.

An output is described by what every device holds; `held` cuts it from a whole tensor.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Attribute, Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec
from fuzz.payloads import values
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space
from oracles.diagnose import diagnose, first_wrong, misread, spans
from oracles.placement import block_shape, block_start, take_block
from oracles.reference import Expected, InvalidCase, reference
from oracles.stages.numerics import round_significand
from oracles.targets.base import Block, Outputs

ROWS: Sharding = (("x",), ())
WHOLE: Sharding = ((), ())
FOUR_ROWS = Mesh((4, 1), ("x", "y"))


def one_op(op: str, inputs: tuple[Input, ...], output: Sharding, mesh: Mesh = FOUR_ROWS, **keywords: Attribute) -> Case:
    node = Node("out", op, tuple(value.name for value in inputs), tuple(sorted(keywords.items())))
    return Case(mesh, inputs, (node,), (Output("out", output),))


def gather(
    tokens: int = 64, experts: int = 160, dtype: str = "f32", mesh: Mesh = FOUR_ROWS, rows: Sharding = ROWS
) -> Case:
    scores = Input("scores", TensorSpec((tokens, experts), dtype), Payload("position"), rows)
    chosen = Input("chosen", TensorSpec((tokens, 8), "i64"), Payload("permutation", 0, experts, 1, 38), rows)
    return one_op("gather", (scores, chosen), rows, mesh, dim=1)


def right_values(case: Case) -> dict[str, Expected]:
    return reference(case, {value.name: values(value.spec, value.payload) for value in case.inputs})


def held(case: Case, whole: torch.Tensor, sharding: Sharding | None = None) -> Outputs:
    """What the devices hold if the output is this tensor."""
    sharding = sharding or case.outputs[0].sharding or ((),) * whole.dim()
    shape = block_shape(whole.shape, sharding, case.mesh)
    starts = [block_start(whole.shape, sharding, case.mesh, device) for device in range(case.mesh.size)]
    return (tuple(Block(d, start, take_block(whole, start, shape)) for d, start in enumerate(starts)),)


def sentence(case: Case, change: Callable[[dict[str, torch.Tensor]], torch.Tensor]) -> str:
    expected = right_values(case)
    got = change({name: value.values for name, value in expected.items()})
    return diagnose(case, expected, held(case, got))


def flat_positions(known: dict[str, torch.Tensor]) -> torch.Tensor:
    tokens, experts = known["scores"].shape
    return torch.arange(tokens).unsqueeze(1) * experts + known["chosen"]


# --- reads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f32", "bf16", "i64"])
def test_a_lost_row_offset_of_a_gather_names_the_mesh_rows(dtype: str) -> None:
    def first_rows(known: dict[str, torch.Tensor]) -> torch.Tensor:
        local = torch.arange(64) % 16
        return known["scores"][local.unsqueeze(1), known["chosen"]]

    assert sentence(gather(dtype=dtype), first_rows) == "mesh rows 1-3 used mesh row 0's offset"


def test_columns_of_the_mesh_are_called_columns_and_two_axes_shards() -> None:
    def first_rows(known: dict[str, torch.Tensor], shards: int) -> torch.Tensor:
        local = torch.arange(64) % (64 // shards)
        return known["scores"][local.unsqueeze(1), known["chosen"]]

    grid = Mesh((2, 2), ("x", "y"))
    columns, both = gather(mesh=grid, rows=(("y",), ())), gather(mesh=grid, rows=(("x", "y"), ()))
    assert sentence(columns, lambda known: first_rows(known, 2)) == "mesh column 1 used mesh column 0's offset"
    assert sentence(both, lambda known: first_rows(known, 4)) == "shards 1-3 used shard 0's offset"


def test_one_right_element_more_than_predicted_makes_it_unexplained() -> None:
    """A model that gets one element wrong, even one that is right in the output, is no explanation."""

    def nearly(known: dict[str, torch.Tensor]) -> torch.Tensor:
        got = known["scores"][(torch.arange(64) % 16).unsqueeze(1), known["chosen"]]
        got[20, 3] = known["out"][20, 3]
        return got

    assert sentence(gather(), nearly).startswith("unexplained")


@pytest.mark.parametrize(
    ("bits", "half_up", "tokens", "said"),
    [
        (11, True, 64, "flat index 2059 became 2060: 11 significant bits"),
        (11, False, 64, "flat index 2059 became 2060: 11 significant bits"),
        (8, False, 16, "flat index 271 became 272: 8 significant bits"),
        (24, False, 4, "flat index 16777217 became 16777216: 24 significant bits"),
    ],
)
def test_a_rounded_flat_index_names_the_bits(bits: int, half_up: bool, tokens: int, said: str) -> None:
    if bits == 24:
        # Positions above 2^24 need a dtype that holds them.
        table = Input("scores", TensorSpec((1, (1 << 24) + 2), "i64"), Payload("position"), WHOLE)
        index = Input("chosen", TensorSpec((1, 3), "i64"), Payload("monotone", (1 << 24) - 1, (1 << 24) + 2), WHOLE)
        case = one_op("gather", (table, index), WHOLE, dim=1)
    else:
        case = gather(tokens)

    def rounded(known: dict[str, torch.Tensor]) -> torch.Tensor:
        flat = round_significand(flat_positions(known).double(), bits, half_up).long()
        return known["scores"].flatten()[flat]

    assert sentence(case, rounded) == said


def test_values_that_repeat_prove_nothing() -> None:
    """Of a table that does not tell its elements apart, nobody knows which element was read."""
    case = gather()
    scores = Input("scores", case.inputs[0].spec, Payload("small"), ROWS)
    case = one_op("gather", (scores, case.inputs[1]), ROWS, dim=1)

    def rounded(known: dict[str, torch.Tensor]) -> torch.Tensor:
        return known["scores"].flatten()[round_significand(flat_positions(known).double(), 11).long()]

    assert sentence(case, rounded) == "unexplained"


def test_what_no_model_explains_is_told_by_its_first_wrong_element() -> None:
    def swapped(known: dict[str, torch.Tensor]) -> torch.Tensor:
        got = known["out"].clone()
        got[5, 2] = known["scores"][7, 11]
        return got

    expert = int(right_values(gather())["chosen"].values[5, 2])
    said = f"unexplained: element [5, 2] is scores[7, 11], not scores[5, {expert}]"
    assert sentence(gather(), swapped) == said


def test_every_wrong_element_is_decoded_and_foreign_values_are_called_so() -> None:
    case = gather()
    expected = right_values(case)
    got = expected["out"].values.clone()
    got[0, 0], got[63, 7] = 10240.0, -5.0
    scene = first_wrong(case, expected, held(case, got))
    assert scene is not None
    chosen = expected["chosen"].values
    assert list(misread(scene)) == [
        ((0, 0), (0, int(chosen[0, 0])), (63, 159)),
        ((63, 7), (63, int(chosen[63, 7])), None),
    ]


# --- writes -----------------------------------------------------------------------------------------------------------


def mask(base: Payload = Payload("constant")) -> Case:  # noqa: B008 - frozen
    zeros = Input("zeros", TensorSpec((64, 8), "f32"), base, WHOLE)
    groups = Input("groups", TensorSpec((64, 4), "i64"), Payload("permutation", 0, 8, 1), ROWS)
    return one_op("scatter_value", (zeros, groups), WHOLE, dim=1, value=1)


def all_in_the_first_rows(known: dict[str, torch.Tensor]) -> torch.Tensor:
    """Every shard writes to rows 0 to 15 of its own copy, and the copies are added up."""
    return sum(
        (torch.zeros(64, 8).scatter(1, known["groups"][first : first + 16], 1.0) for first in range(0, 64, 16)),
        start=torch.zeros(64, 8),
    ).double()


def test_a_lost_row_offset_of_a_scatter_names_the_mesh_rows() -> None:
    assert sentence(mask(), all_in_the_first_rows) == "mesh rows 1-3 used mesh row 0's offset"


def test_a_scatter_that_wrote_one_element_elsewhere_is_unexplained() -> None:
    def nearly(known: dict[str, torch.Tensor]) -> torch.Tensor:
        got = all_in_the_first_rows(known)
        got[40, 0] = 1
        return got

    assert sentence(mask(), nearly) == "unexplained"


def test_a_write_that_leaves_no_trace_explains_nothing() -> None:
    """The base holds what is written: where it was written cannot be seen."""
    assert sentence(mask(Payload("constant", 1)), all_in_the_first_rows) == "unexplained"


# --- what all have in common ------------------------------------------------------------------------------------------


def test_replicas_that_differ_are_not_one_output() -> None:
    case = gather(rows=WHOLE)
    expected = right_values(case)
    (blocks,) = held(case, expected["out"].values)
    blocks[2].values[0, 0] += 1
    copies = tuple(Block(b.device, b.start, b.values.clone()) for b in blocks)
    copies[1].values[0, 0] += 1
    assert diagnose(case, expected, (copies,)) == "unexplained"


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 1 << 30))
def test_no_output_whatsoever_stops_the_diagnosis(number: int, seed: int) -> None:
    """Any drawn case with its elements moved about: always an answer."""
    case = sample(Space((FOUR_ROWS, Mesh((2, 2), ("x", "y")))), 0, number)
    try:
        expected = right_values(case)
    except InvalidCase:
        return
    outputs = tuple(
        (Block(0, (0,) * value.dim(), torch.roll(value.flatten(), seed % 97 + 1).reshape(value.shape)),)
        for value in (expected[output.name].values for output in case.outputs)
    )
    assert diagnose(case, expected, outputs)


def test_spans_are_short() -> None:
    assert [spans([1]), spans([1, 2, 3]), spans([1, 2, 3, 5])] == ["1", "1-3", "1-3, 5"]
