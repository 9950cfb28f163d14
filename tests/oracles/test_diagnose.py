# SPDX-License-Identifier: Apache-2.0
"""The diagnosis: each fault model on an output made as the fault makes it, and on ones that it must not take."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planted_outputs import (
    COLUMNS,
    FOUR_ROWS,
    ROWS,
    WHOLE,
    Faulty,
    Known,
    Whole,
    data,
    diagnosed,
    index,
    one_op,
    own_inputs,
    returned,
    seen,
)

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Attribute, Case, Input, Mesh, Payload, Sharding
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space
from oracles.diagnose import diagnose, hypotheses
from oracles.explanation import FRESH, RESHARDINGS
from oracles.models.execution import spans
from oracles.models.shards import ORDERS
from oracles.reference import InvalidCase
from oracles.stages.numerics import round_significand

GRID = Mesh((2, 2), ("x", "y"))
VECTOR: Sharding = (("x",),)


def said(case: Case, faulty: Faulty, *larger: Case) -> tuple[str, str]:
    found = diagnosed(case, faulty, *larger)
    return ("", "") if found is None else (found.model, found.sentence)


def gather(rows: Sharding = ROWS, mesh: Mesh = FOUR_ROWS, dtype: str = "f32") -> Case:
    table = data("scores", 64, 160, sharding=rows, dtype=dtype)
    return one_op(
        "gather", table, index("chosen", 64, 8, below=160, sharding=rows), output=rows, mesh=mesh, dim=1
    )  # fmt: skip


def first_rows(known: Known, shards: int = 4) -> torch.Tensor:
    """Every shard takes the rows of the first one."""
    local = torch.arange(64) % (64 // shards)
    return known["scores"][local.unsqueeze(1), known["chosen"]]


# --- offsets ----------------------------------------------------------------------------------------------------------


def test_lines_of_one_hot_that_go_to_the_wrong_shard_are_a_lost_offset() -> None:
    """It is a scatter with the numbers of its lines, and those of later shards lie outside of each local part."""
    case = one_op("one_hot", index("x", 8, below=3, sharding=((),)), output=ROWS, mesh=FOUR_ROWS, classes=3)

    def first_lines(known: Known) -> torch.Tensor:
        return torch.nn.functional.one_hot(known["x"][:2], 3).repeat(4, 1)

    assert said(case, first_lines)[0] == "shard offset missing"


def test_a_write_past_the_shard_hits_the_last_place_of_each() -> None:
    """As dynamic_update_slice does: it moves a start that is too far to the last one there is."""
    case = one_op(
        "select_scatter", data("x", 8, 3, sharding=ROWS), data("row", 3, sharding=((),)), output=ROWS, mesh=FOUR_ROWS,
        dim=0, index=7,
    )  # fmt: skip

    def each_alone(known: Known) -> torch.Tensor:
        return torch.cat([part.select_scatter(known["row"], 0, 1) for part in known["x"].chunk(4)])

    assert said(case, each_alone)[0] == "each shard alone"


@pytest.mark.parametrize("dtype", ["f32", "bf16", "i64"])
def test_a_lost_row_offset_of_a_gather_names_the_mesh_rows(dtype: str) -> None:
    assert said(gather(dtype=dtype), first_rows) == ("shard offset missing", "mesh rows 1-3 used mesh row 0's offset")


def test_columns_of_the_mesh_are_called_columns_and_two_axes_shards() -> None:
    columns, both = gather((("y",), ()), GRID), gather((("x", "y"), ()), GRID)
    assert said(columns, lambda known: first_rows(known, 2))[1] == "mesh column 1 used mesh column 0's offset"
    assert said(both, lambda known: first_rows(known, 4))[1] == "shards 1-3 used shard 0's offset"


def mask() -> Case:
    groups = index("groups", 64, 4, below=8, sharding=ROWS, kind="permutation")
    return one_op("scatter_value", data("zeros", 64, 8, kind="constant"), groups, output=WHOLE, dim=1, value=1)


def all_in_the_first_rows(known: Known) -> torch.Tensor:
    """Every shard writes to rows 0 to 15 of its own copy, and the copies are added up."""
    copies = [known["zeros"].scatter(1, known["groups"][at : at + 16], 1.0) for at in range(0, 64, 16)]
    return torch.stack(copies).sum(0)


def test_a_lost_row_offset_of_a_scatter_names_the_mesh_rows() -> None:
    assert said(mask(), all_in_the_first_rows) == ("shard offset missing", "mesh rows 1-3 used mesh row 0's offset")


def test_global_row_numbers_on_a_local_base_are_a_missing_offset() -> None:
    """Only the rows of the first shard exist on a device, and each device writes those into its own."""
    case = pair("scatter_value", data("x", 4, 6, sharding=ROWS), index("at", 4, 2, below=6), dim=1, value=0)

    def first_lines(known: Known) -> torch.Tensor:
        return torch.cat([part.scatter(1, known["at"][:2], 0) for part in halves(known, "x")])

    assert said(case, first_lines) == ("shard offset missing", "mesh row 1 used mesh row 0's offset")


def test_a_wrong_shard_offset_is_told_from_a_missing_one() -> None:
    """Each of two devices holds two rows of the table and believes that it holds four."""
    case = pair("embedding", index("at", 3, below=4), data("table", 4, 2, sharding=ROWS))

    def twice(known: Known) -> torch.Tensor:
        total = torch.zeros(3, 2, dtype=torch.float64)
        for device, rows in enumerate(known["table"].chunk(2)):
            local = known["at"] - 4 * device
            inside = (local >= 0) & (local < 2)
            total += torch.where(inside.unsqueeze(1), rows[local.clamp(0, 1)], 0.0)
        return total

    sentence = "table over x: a device takes 2 times the offset of its part off its indices"
    assert said(case, twice) == ("wrong shard offset", sentence)


def test_one_element_otherwise_than_predicted_makes_it_unexplained() -> None:
    """Even one that is right in the output: a model that gets it wrong is no explanation."""

    def right_after_all(known: Known) -> torch.Tensor:
        got = first_rows(known)
        got[20, 3] = known["out"][20, 3]
        return got

    def written_elsewhere(known: Known) -> torch.Tensor:
        got = all_in_the_first_rows(known)
        got[40, 0] = 1
        return got

    assert said(gather(), right_after_all) == ("", "")
    assert said(mask(), written_elsewhere) == ("", "")


def test_a_model_that_fits_the_case_and_no_other_input_is_not_believed() -> None:
    """The first rows are read only while the table is the case's own."""
    own = own_inputs(gather())["scores"].double()

    def once(known: Known) -> torch.Tensor:
        return first_rows(known) if torch.equal(known["scores"], own) else known["out"].flip(0)

    assert said(gather(), once) == ("", "")


# --- indices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half_up", [True, False])
@pytest.mark.parametrize(("bits", "columns"), [(11, 160), (8, 40)])
def test_a_rounded_flat_index_names_the_bits(bits: int, half_up: bool, columns: int) -> None:
    case = one_op("gather", data("scores", 64, columns), index("chosen", 64, 8, below=columns), dim=1)

    def rounded(known: Known) -> torch.Tensor:
        flat = torch.arange(64).unsqueeze(1) * columns + known["chosen"]
        flat = round_significand(flat.double(), bits, half_up).long().clamp(max=64 * columns - 1)
        return known["scores"].flatten()[flat]

    model, sentence = said(case, rounded)
    assert model == f"flat index {bits} significant bits"
    before, after = (int(word.strip(":")) for word in sentence.split() if word.strip(":").isdigit() and len(word) > 2)
    assert float(round_significand(torch.tensor(float(before)).double(), bits, half_up)) == after != before


def test_a_flat_index_beyond_24_bits_is_told_from_one_right_one() -> None:
    table = data("scores", 1, (1 << 24) + 2, dtype="i64")
    chosen = index("chosen", 1, 3, below=2)
    chosen = type(chosen)("chosen", chosen.spec, Payload("monotone", (1 << 24) - 1, (1 << 24) + 2), WHOLE)

    def rounded(known: Known) -> torch.Tensor:
        return known["scores"].flatten()[known["chosen"].float().long()]

    case = one_op("gather", table, chosen, dim=1)
    assert said(case, rounded)[1] == "flat index 16777217 became 16777216: 24 significant bits"


@pytest.mark.parametrize(
    ("model", "change"),
    [("index modulo 65536", lambda i: i % 65536), ("index 8 significant bits", lambda i: round_significand(i, 8))],
)
def test_a_narrowed_index_of_a_write_is_named(model: str, change: object) -> None:
    rows = 66000 if "65536" in model else 513  # 511 rounds to 512
    case = one_op("index_fill", data("base", rows), index("at", 40, below=rows, kind="boundary"), dim=0, value=0)

    def narrowed(known: Known) -> torch.Tensor:
        at = change(known["at"].double()).long()  # type: ignore[operator]
        return known["base"].index_fill(0, at, 0)

    assert said(case, narrowed)[0] == model


def test_an_index_that_is_not_read_is_named() -> None:
    case = one_op("index_copy", data("x", 5, 3), index("at", 3, below=5, kind="permutation"), data("y", 3, 3), dim=0)

    def counting(known: Known) -> torch.Tensor:
        return known["x"].index_copy(0, torch.arange(3), known["y"])

    assert said(case, counting) == ("index ignored", "index at is ignored: positions 0, 1, 2, .. are used instead")


def test_an_index_collapsed_to_its_first_column_is_named() -> None:
    case = one_op("scatter_value", data("x", 4, 4), index("at", 2, 4, below=4), dim=0, value=0)

    def collapsed(known: Known) -> torch.Tensor:
        return known["x"].scatter(0, known["at"][:, :1].expand(2, 4), 0)

    model, sentence = said(case, collapsed)
    assert model == "index collapsed"
    assert sentence == "index at differs along dim 1, and its first entry there is used for all"


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [24, 11, 8])
def test_lost_digits_are_told_from_lost_places(bits: int) -> None:
    table = data("x", 1 << 20, dtype="i64") if bits < 24 else data("x", 8, dtype="i64")
    low = 1 << bits
    if bits == 24:
        table = type(table)("x", table.spec, Payload("random", low, low + 1000), ((),))
    case = one_op("flip", table, dims=(0,))

    def rounded(known: Known) -> torch.Tensor:
        return round_significand(known["out"].double(), bits).long()

    assert said(case, rounded)[0] == f"values {bits} significant bits"


def test_a_base_that_counts_once_per_device_is_a_partial_sum() -> None:
    case = one_op("index_fill", data("x", 8), index("at", 4, below=8, sharding=VECTOR), dim=0, value=0)

    def added(known: Known) -> torch.Tensor:
        return sum(known["x"].index_fill(0, known["at"][i : i + 1], 0) for i in range(4))  # type: ignore[return-value]

    model, sentence = said(case, added)
    assert model == "partial results added up"
    assert sentence == (
        "at over x: every device does its part of index_fill on a copy of the whole base, and the copies are added up"
    )


POSITIONS = index("at", 6, below=2)
WRONG_VALUES: dict[str, tuple[Case, Faulty]] = {
    "constant lost": (
        one_op("pad", data("x", 3), pads=(1, 1), value=7),
        lambda known: torch.cat([torch.zeros(1), known["x"], torch.zeros(1)]),
    ),
    "base lost": (
        one_op("scatter_add", data("x", 2), POSITIONS, data("y", 6), dim=0),
        lambda known: known["out"] - known["x"],
    ),
    "writes lost": (
        one_op("index_copy", data("x", 4), index("at", 2, below=4, kind="permutation"), data("y", 2), dim=0),
        lambda known: known["x"],
    ),
    "truth values": (one_op("cumsum", data("x", 4, dtype="i64"), dim=0), lambda known: (known["out"] != 0).long()),
    "duplicates overwrite": (
        one_op("scatter_add", data("x", 2), POSITIONS, data("y", 6), dim=0),
        lambda known: known["x"] + torch.zeros(2).double().scatter(0, known["at"], known["y"]),
    ),
    "sum instead of amax": (
        one_op("amax", data("x", 3, 4), dim=1, keepdim=False),
        lambda known: known["x"].sum(1),
    ),
    "padding leaks in": (one_op("amin", data("x", 3, 4), dim=1, keepdim=False), lambda known: torch.zeros(3)),
    "last line never written": (
        one_op("gather", data("x", 9), index("at", 5, below=9), dim=0),
        lambda known: torch.cat([known["out"][:-1], torch.zeros(1)]),
    ),
    "inverse permutation": (
        one_op("permute", data("x", 2, 2, 2), dims=(2, 0, 1)),
        lambda known: known["x"].permute(1, 2, 0),
    ),
}


@pytest.mark.parametrize("model", WRONG_VALUES)
def test_a_wrong_value_names_its_cause(model: str) -> None:
    assert said(*WRONG_VALUES[model])[0] == model


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", sorted(RESHARDINGS))
def test_parts_put_together_wrongly_are_told_apart(model: str) -> None:
    """By any of these on a grid of 2 x 3 devices; no op has a part in it."""
    mesh = Mesh((2, 3), ("x", "y"))
    case = returned(data("x", 12, sharding=(("x", "y"),)), mesh)
    parts = [range(2 * piece, 2 * piece + 2) for piece in range(6)]
    own = {device: torch.tensor([at for _ in parts for at in parts[device]]) for device in range(6)}
    order: dict[str, Whole] = {
        "parts in minor-axis-first order": torch.tensor([at for p in (0, 3, 1, 4, 2, 5) for at in parts[p]]),
        "parts in reverse order": torch.tensor([at for part in reversed(parts) for at in part]),
        "the next device's part": torch.arange(12).roll(-2),
        "the previous device's part": torch.arange(12).roll(2),
        "own part for all": own,
        "first part for all": torch.tensor([0, 1] * 6),
    }

    def faulty(known: Known) -> Whole:
        if model not in order:
            return torch.cat([known["x"][:2], torch.zeros(10)])
        places = order[model]
        if isinstance(places, torch.Tensor):
            return known["x"][places]
        return {device: known["x"][at] for device, at in places.items()}

    assert said(case, faulty)[0] == model


def test_every_wrong_order_of_parts_is_a_resharding() -> None:
    assert {model for model, _, _ in ORDERS} == RESHARDINGS


def halves(known: Known, name: str) -> tuple[torch.Tensor, ...]:
    return known[name].chunk(2)


def pair(op: str, *inputs: Input, **keywords: Attribute) -> Case:
    return one_op(op, *inputs, mesh=Mesh((2, 1), ("x", "y")), **keywords)


@pytest.mark.parametrize(("model", "turn"), [("the next device's part", -1), ("parts in reverse order", None)])
def test_what_looks_the_same_on_two_devices_is_told_apart_on_four(model: str, turn: int | None) -> None:
    def parts(devices: int) -> Case:
        return returned(data("x", devices, sharding=VECTOR), Mesh((devices, 1), ("x", "y")))

    def faulty(known: Known) -> torch.Tensor:
        return known["x"].flip(0) if turn is None else known["x"].roll(turn)

    assert said(parts(2), faulty, parts(4))[0] == model
    assert said(parts(2), faulty)[0] == "parts in reverse order"


def test_shards_that_are_reversed_alone_are_told_from_ones_that_change_places() -> None:
    """On two elements both leave the result as the operand was."""

    def flip(size: int) -> Case:
        return pair("flip", data("x", size, sharding=VECTOR), dims=(0,))

    def alone(known: Known) -> torch.Tensor:
        return torch.cat([part.flip(0) for part in halves(known, "x")])

    assert said(flip(2), alone, flip(6))[0] == "each shard alone"


def test_positions_that_count_from_the_shard_are_named() -> None:
    case = one_op("argmax", data("x", 3, 8, sharding=COLUMNS), dim=1, keepdim=False)
    assert said(case, lambda known: known["out"] % 2)[0] == "positions within the shard"


def test_concatenation_by_each_device_for_itself_interleaves() -> None:
    case = pair("concat", data("a", 4, sharding=VECTOR), data("b", 8, sharding=VECTOR), dim=0)

    def each(known: Known) -> torch.Tensor:
        both = zip(halves(known, "a"), halves(known, "b"), strict=True)
        return torch.cat([part for parts in both for part in parts])

    sentence = "dim 0 over x: every device joins its own parts of pieces of 4, 8 elements"
    assert said(case, each) == ("parts interleave", sentence)


def test_a_roll_interleaves_as_the_concatenation_that_it_is_written_as() -> None:
    case = pair("roll", data("x", 8, sharding=VECTOR), dim=0, shift=2)

    def rolled(known: Known) -> torch.Tensor:
        first, second = halves(known, "x")
        return torch.cat([first, first, second, second])[6:14]

    assert said(case, rolled)[0] == "parts interleave"


def test_a_tile_interleaves_as_well() -> None:
    case = pair("tile", data("x", 4, sharding=VECTOR), repeats=(3,))

    def tiled(known: Known) -> torch.Tensor:
        return torch.cat([part.repeat(3) for part in halves(known, "x")])

    assert said(case, tiled) == ("parts interleave", "dim 0 over x: every device joins its own part with itself")


def test_a_window_of_a_concatenation_is_no_order_of_parts() -> None:
    """What an op reads in another order of its parts explains itself; only concatenations interleave."""
    case = pair("flip", data("x", 8, sharding=VECTOR), dims=(0,))
    mixed = torch.tensor([0, 1, 4, 5, 2, 3, 6, 7])
    assert said(case, lambda known: known["out"][mixed])[0] != "parts interleave"


# --- what all have in common ------------------------------------------------------------------------------------------


def test_the_number_of_other_inputs_that_agree_is_told() -> None:
    found = diagnosed(gather(), first_rows)
    assert found is not None
    assert found.confirmed == FRESH


def test_copies_that_differ_fit_no_model_of_one_output() -> None:
    case = one_op("flip", data("x", 4), dims=(0,))

    def differing(known: Known) -> Whole:
        return {device: known["out"] + device for device in range(4)}

    assert said(case, differing) == ("", "")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 97))
@example(25, 1)  # an op that adds a dim past the operand's
def test_no_output_whatsoever_stops_the_diagnosis(number: int, turn: int) -> None:
    """Any drawn case with its elements moved about: an answer, and a sentence for every hypothesis."""
    case = sample(Space((FOUR_ROWS, GRID)), 0, number)
    first = case.outputs[0].name

    def moved(known: Known) -> torch.Tensor:
        return known[first].flatten().roll(turn).reshape(known[first].shape)

    try:
        scene = seen(Case(case.mesh, case.inputs, case.nodes, case.outputs[:1]).live(), moved)
    except InvalidCase:
        return
    small = all(operand.numel() <= 4096 for operand in (*scene.operands, scene.wanted))
    if small and not all(bool(scene.right(block).all()) for block in scene.blocks):
        diagnose(scene, ())
    for hypothesis in itertools.islice(hypotheses(scene), 50):
        assert hypothesis.model


def test_spans_are_short() -> None:
    assert [spans([1]), spans([1, 2, 3]), spans([1, 2, 3, 5])] == ["1", "1-3", "1-3, 5"]
