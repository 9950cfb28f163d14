# SPDX-License-Identifier: Apache-2.0
"""Decoding: for each wrong element, which element it really is, whatever values the case has."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted_outputs import (
    ROWS,
    WHOLE,
    Faulty,
    Known,
    Whole,
    data,
    index,
    observing,
    one_op,
    own_inputs,
    seen,
)

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Case, Mesh, Node, Output
from oracles import decode as decoding
from oracles.decode import decode
from oracles.explanation import Decoded, Explanation
from oracles.labels import LABELS

TWO = Mesh((2, 1), ("x", "y"))


def decoded(case: Case, faulty: Faulty) -> Decoded:
    return decode(seen(case, faulty), own_inputs(case), observing(case, faulty))


def told(case: Case, faulty: Faulty) -> list[tuple[tuple[int, ...], str, str, str]]:
    return [(e.at, e.cause, e.wanted, e.got) for e in decoded(case, faulty).elements if e.device == 0]


@pytest.mark.parametrize("dtype", ["f32", "bf16", "i32", "i64"])
def test_a_moved_element_is_named_with_its_place_and_its_mesh_coordinate(dtype: str) -> None:
    case = one_op("flip", data("x", 4, 2, sharding=ROWS, dtype=dtype), mesh=TWO, dims=(0,))
    assert told(case, lambda known: known["x"])[:2] == [
        ((0, 0), decoding.ANOTHER, "x[3, 0] of x=1", "x[0, 0] of x=0"),
        ((0, 1), decoding.ANOTHER, "x[3, 1] of x=1", "x[0, 1] of x=0"),
    ]


def test_equal_values_do_not_hide_where_an_element_comes_from() -> None:
    """The case holds two distinct values only; its elements are told apart on labelled inputs."""
    case = one_op("flip", data("x", 6, kind="small"), dims=(0,))
    places = {element.got for element in decoded(case, lambda known: known["x"].roll(1)).elements}
    assert places <= {f"x[{at}]" for at in range(6)}


def test_truth_values_are_followed_bit_by_bit() -> None:
    case = one_op("flip", data("x", 5, dtype="bool", kind="mask"), dims=(0,))
    elements = decoded(case, lambda known: known["x"].roll(1)).elements
    assert elements
    assert all(e.cause == decoding.ANOTHER and e.got == f"x[{(e.at[0] - 1) % 5}]" for e in elements)


def test_chains_of_moves_are_followed_to_the_input() -> None:
    nodes = (
        Node("t", "transpose", ("x",), (("dim0", 0), ("dim1", 1))),
        Node("out", "reshape", ("t",), (("shape", (6,)),)),
    )
    case = Case(TWO, (data("x", 2, 3),), nodes, (Output("out"),))

    def untransposed(known: Known) -> torch.Tensor:
        return known["x"].reshape(6)

    assert told(case, untransposed)[0] == ((1,), decoding.ANOTHER, "x[1, 0]", "x[0, 1]")


def test_a_rounded_element_is_the_right_one_with_fewer_digits() -> None:
    case = one_op("slice", data("x", 600), dim=0, start=510, end=520, step=1)

    def rounded(known: Known) -> torch.Tensor:
        return known["out"].bfloat16().double()

    element = decoded(case, rounded).elements[0]
    assert (element.cause, element.wanted) == (decoding.ROUNDED, "x[510]")
    assert element.got == "512: 511 rounded to 8 significant bits"


def write(kind: str = "position") -> Case:
    at = index("at", 2, below=4, kind="permutation")
    return one_op("index_copy", data("x", 4, kind=kind), at, data("y", 2, kind=kind), dim=0)


def test_a_lost_write_leaves_what_was_there() -> None:
    place = own_inputs(write())["at"].tolist()
    assert told(write(), lambda known: known["x"])[0] == (
        (min(place),),
        decoding.NEVER,
        f"y[{place.index(min(place))}]",
        f"still x[{min(place)}]",
    )


def test_a_write_in_another_place_is_named_as_such() -> None:
    place = own_inputs(write())["at"]
    other = next(at for at in range(4) if at not in place.tolist())

    def elsewhere(known: Known) -> torch.Tensor:
        got = known["out"].clone()
        got[other] = known["y"][1]
        return got

    assert told(write(), elsewhere) == [((other,), decoding.OVERWRITTEN, f"x[{other}]", "y[1]")]


@pytest.mark.parametrize("times", [2, 4])
def test_an_element_that_is_summed_over_shards_is_counted(times: int) -> None:
    case = one_op("flip", data("x", 3), dims=(0,))
    element = decoded(case, lambda known: known["out"] * times).elements[0]
    assert (element.cause, element.wanted, element.got) == (decoding.COUNTED, "x[2]", f"{times} x x[2]")


def test_a_sum_of_different_elements_is_told_even_if_not_which() -> None:
    case = one_op("flip", data("x", 3), dims=(0,))
    element = decoded(case, lambda known: known["out"] + known["x"]).elements[0]
    assert (element.cause, element.got) == (decoding.SUMMED, "sum of 2 elements")


def test_zeros_and_foreign_values_are_called_so() -> None:
    case = one_op("flip", data("x", 3), dims=(0,))
    assert told(case, lambda known: known["x"] * 0)[0][1:] == (decoding.ZERO, "x[2]", "0")
    assert told(case, lambda known: known["x"] / 3 + 0.1)[0][1] == decoding.OTHER


def test_accumulated_elements_are_followed_one_at_a_time() -> None:
    case = one_op("cumsum", data("x", 3), dim=0)

    def forgetful(known: Known) -> torch.Tensor:
        got = known["out"].clone()
        got[2] = known["x"][2]
        return got

    assert told(case, forgetful) == [((2,), decoding.MISSING, "x[0] + x[1] + x[2]", "x[2]")]


def test_a_base_that_is_counted_twice_is_told_from_the_source() -> None:
    case = one_op("index_add", data("x", 2), index("at", 1, below=1), data("y", 1), dim=0)

    def doubled(known: Known) -> torch.Tensor:
        return known["out"] + known["x"]

    assert told(case, doubled)[0] == ((0,), decoding.COUNTED, "x[0] + y[0]", "2 x x[0] + y[0]")


def test_what_decides_by_value_is_not_guessed_at() -> None:
    case = one_op("argmax", data("x", 2, 4), dim=1, keepdim=False)
    assert told(case, lambda known: known["out"] - 1)[0][1:] == (decoding.OTHER, "3", "2")


def test_large_tables_are_told_by_their_values() -> None:
    case = one_op("take", data("x", LABELS + 5), index("at", 4, below=LABELS, kind="boundary"))
    at = own_inputs(case)["at"]

    def next_one(known: Known) -> torch.Tensor:
        return known["x"][known["at"] + 1]

    assert told(case, next_one)[0][2:] == (f"x[{int(at[0])}]", f"x[{int(at[0]) + 1}]")


def test_a_picture_has_a_letter_for_every_element_of_every_device() -> None:
    case = one_op("flip", data("x", 4, 2, sharding=ROWS), output=ROWS, mesh=TWO, dims=(0,))

    def second_shard_zero(known: Known) -> torch.Tensor:
        got = known["out"].clone()
        got[2:] = 0
        return got

    found = decoded(case, second_shard_zero)
    assert [(part.device, part.start, part.shape, part.cells) for part in found.parts] == [
        (0, (0, 0), (2, 2), "...."),
        (1, (2, 0), (2, 2), "aaaa"),
    ]
    assert (found.wrong, found.causes) == (4, {decoding.ZERO: 4})


def test_copies_are_decoded_each_for_itself() -> None:
    case = one_op("flip", data("x", 2), mesh=TWO, dims=(0,))

    def second_copy(known: Known) -> Whole:
        return {0: known["out"], 1: known["x"]}

    found = decoded(case, second_copy)
    assert [part.cells for part in found.parts] == ["..", "aa"]
    assert {element.device for element in found.elements} == {1}


@given(st.permutations(range(8)))
def test_any_rearrangement_is_read_back(order: list[int]) -> None:
    case = one_op("reshape", data("x", 2, 4, sharding=WHOLE), shape=(8,))
    elements = decoded(case, lambda known: known["x"].flatten()[order]).elements
    assert all(e.got == f"x[{order[e.at[0]] // 4}, {order[e.at[0]] % 4}]" for e in elements)
    assert {e.at[0] for e in elements} <= {at for at in range(8) if order[at] != at}


def test_an_explanation_survives_the_way_to_the_driver() -> None:
    case = one_op("flip", data("x", 4, 2, sharding=ROWS), output=ROWS, mesh=TWO, dims=(0,))
    explanation = Explanation("said", "model", 3, (decoded(case, lambda known: known["x"]),))
    assert Explanation.from_plain(explanation.to_plain()) == explanation
