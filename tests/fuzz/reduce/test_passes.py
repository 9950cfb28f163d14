# SPDX-License-Identifier: Apache-2.0
"""What every pass must keep, on generated cases; and single edits whose result is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec, replicated
from fuzz.ops.core import specs
from fuzz.reduce.edits import index_extents, narrowed
from fuzz.reduce.order import canonical_names, complexity
from fuzz.reduce.passes import PASSES, Pass, dims, graph, mesh, payloads, ranks, values
from fuzz.reduce.passes.numbers import smaller
from fuzz.reduce.passes.reshape import regrouped
from fuzz.strategies.cases import cases
from fuzz.strategies.space import Space

MESH = Mesh((2, 2), ("x", "y"))
SMALL_CASES = cases(Space((MESH, Mesh((1, 4), ("x", "y"))), memory_limit=1 << 16))
EACH_PASS = pytest.mark.parametrize("simplify", PASSES, ids=lambda simplify: simplify.__name__)


def data(name: str, *shape: int, sharding: Sharding | None = None) -> Input:
    return Input(name, TensorSpec(shape, "f32"), Payload("position"), sharding or replicated(len(shape)))


def index(name: str, *shape: int, high: int, kind: str = "random") -> Input:
    return Input(name, TensorSpec(shape, "i64"), Payload(kind, 0, high), replicated(len(shape)))


def case_of(inputs: tuple[Input, ...], *nodes: Node, mesh: Mesh = MESH) -> Case:
    return Case(mesh, inputs, nodes, (Output(nodes[-1].name),))


# --- laws ------------------------------------------------------------------------------------------------------------


@EACH_PASS
@settings(max_examples=15, deadline=None)
@given(case=SMALL_CASES)
def test_every_candidate_is_valid_and_strictly_simpler(simplify: Pass, case: Case) -> None:
    for candidate in simplify(case):
        specs(candidate)
        assert complexity(candidate) < complexity(case)


@EACH_PASS
@settings(max_examples=10, deadline=None)
@given(case=SMALL_CASES)
def test_a_pass_proposes_the_same_candidates_every_time(simplify: Pass, case: Case) -> None:
    assert list(simplify(case)) == list(simplify(case))


@settings(max_examples=10, deadline=None)
@given(case=SMALL_CASES)
def test_candidates_hold_nothing_unused_and_have_canonical_names(case: Case) -> None:
    for simplify in PASSES:
        for candidate in simplify(case):
            assert candidate == candidate.live()
            assert all(old == new for old, new in canonical_names(candidate).items())


@settings(max_examples=10, deadline=None)
@given(case=SMALL_CASES)
def test_no_candidate_has_an_empty_value(case: Case) -> None:
    """What has no elements is right whatever was computed."""
    if all(spec.elements for spec in specs(case).values()):
        for simplify in PASSES:
            for candidate in simplify(case):
                assert all(spec.elements for spec in specs(candidate).values())


# --- graph -----------------------------------------------------------------------------------------------------------


def test_a_computed_index_becomes_one_of_distinct_positions_in_range() -> None:
    """A write needs distinct positions; the fed index must not be what makes the case invalid."""
    case = case_of(
        (data("x0", 16, 8), index("x1", 4, 8, high=16), data("x2", 4, 8)),
        Node("v0", "flip", ("x1",), (("dims", (0,)),)),
        Node("v1", "scatter", ("x0", "v0", "x2"), (("dim", 0),)),
    )
    candidate = next(graph.cut_graph(case))
    assert [node.op for node in candidate.nodes] == ["flip"]
    fed = next(c for c in graph.cut_graph(case) if [node.op for node in c.nodes] == ["scatter"])
    assert Payload("permutation", 0, 16, 0) in [value.payload for value in fed.inputs]


def test_a_value_that_becomes_an_input_keeps_its_likely_layout() -> None:
    split: Sharding = (("x",), ("y",))
    case = case_of(
        (data("x0", 4, 8, sharding=split), data("x1", 4, 8)),
        Node("v0", "add", ("x0", "x1")),
        Node("v1", "cumsum", ("v0",), (("dim", 1),)),
    )
    fed = [c for c in graph.cut_graph(case) if [node.op for node in c.nodes] == ["cumsum"]]
    assert [c.inputs[0].sharding for c in fed[:2]] == [split, replicated(2)]


def test_a_concat_loses_one_operand_at_a_time() -> None:
    case = case_of(
        (data("x0", 2), data("x1", 3), data("x2", 4)), Node("v0", "concat", ("x0", "x1", "x2"), (("dim", 0),))
    )
    shapes = [[value.spec.shape for value in c.inputs] for c in graph.drop_operands(case)]
    assert shapes == [[(3,), (4,)], [(2,), (4,)], [(2,), (3,)]]


def test_inputs_of_different_sizes_are_merged_where_torch_allows_it() -> None:
    case = case_of(
        (data("x0", 8), index("x1", 4, high=4, kind="permutation"), data("x2", 4)),
        Node("v0", "scatter", ("x0", "x1", "x2"), (("dim", 0),)),
    )
    assert (8,) in [
        c.inputs[0].spec.shape for c in graph.merge_inputs(case) if c.nodes[0].operands == ("x0", "x1", "x0")
    ]


def test_a_value_that_becomes_an_input_may_hold_what_it_held() -> None:
    case = case_of((data("x0", 4),), Node("v0", "neg", ("x0",)), Node("v1", "clamp", ("v0",), (("max", 0), ("min", 0))))
    fed = [c.inputs[0].payload for c in graph.drop_nodes(case) if [node.op for node in c.nodes] == ["clamp"]]
    assert Payload("monotone", -4, 0) in fed


def test_inputs_in_another_role_are_not_merged() -> None:
    written = replace(data("x2", 4), spec=TensorSpec((4,), "i64"))
    case = case_of((written, index("x1", 4, high=4)), Node("v0", "gather", ("x2", "x1"), (("dim", 0),)))
    assert list(graph.merge_inputs(case)) == []


@pytest.mark.parametrize(
    ("op", "attributes", "extents"),
    [
        ("gather", (("dim", 1),), {"x1": 7}),
        ("index_select", (("dim", -1),), {"x1": 7}),
        ("index", (), {"x1": 5}),
        ("index_dim1", (), {"x1": 7}),
        ("take", (), {"x1": 35}),
    ],
)
def test_the_extent_an_index_names_positions_in_is_known(
    op: str, attributes: tuple[tuple[str, int], ...], extents: dict[str, int]
) -> None:
    rank_1 = op == "index_select"
    rows = index("x1", *((3,) if rank_1 else (3, 2)), high=5)
    assert index_extents(case_of((data("x0", 5, 7), rows), Node("v0", op, ("x0", "x1"), attributes))) == extents


def test_a_computed_index_has_the_extent_of_what_it_indexes() -> None:
    case = case_of(
        (data("x0", 5, 7), index("x1", 3, high=2)),
        Node("v0", "add", ("x1", "x1")),
        Node("v1", "index2", ("x0", "v0", "x1")),
    )
    assert index_extents(case) == {"v0": 5, "x1": 5}


# --- mesh ------------------------------------------------------------------------------------------------------------


def test_a_mesh_shrinks_to_one_device_first_and_then_to_a_row() -> None:
    case = case_of((data("x0", 8, 8, sharding=(("x",), ("y",))),), Node("v0", "abs", ("x0",)))
    found = dict.fromkeys((c.mesh.shape, c.inputs[0].sharding) for c in mesh.shrink_mesh(case))
    assert list(found)[:4] == [
        ((1, 1), ((), ())),
        ((1, 2), ((), ("y",))),
        ((1, 2), (("y",), ())),
        ((1, 4), ((), ("y",))),
    ]


# --- extents ---------------------------------------------------------------------------------------------------------


def test_an_extent_shrinks_everywhere_at_once() -> None:
    case = case_of(
        (data("x0", 64, 8), index("x1", 5, 8, high=64)),
        Node("v0", "gather", ("x0", "x1"), (("dim", 0),)),
    )
    candidate = next(c for c in dims.shrink_extents(case) if c.inputs[0].spec.shape == (32, 8))
    assert candidate.inputs[1].payload.high == 32


def test_an_index_out_of_range_is_not_brought_into_range() -> None:
    """Where an op defines what happens then, it may be the very thing that fails."""
    wild = case_of((data("x0", 8), index("x1", 4, high=9)), Node("v0", "gather", ("x0", "x1"), (("dim", 0),)))
    smaller_data = replace(wild, inputs=(data("x0", 4), wild.inputs[1]))
    assert narrowed(smaller_data, wild).inputs[1].payload.high == 9


def test_an_index_in_range_stays_in_range_when_its_data_shrink() -> None:
    case = case_of((data("x0", 8), index("x1", 4, high=8)), Node("v0", "gather", ("x0", "x1"), (("dim", 0),)))
    smaller_data = replace(case, inputs=(data("x0", 4), case.inputs[1]))
    assert narrowed(smaller_data, case).inputs[1].payload.high == 4


def test_the_halves_of_a_concat_shrink_with_what_is_added_to_the_whole() -> None:
    case = case_of(
        (data("x0", 8), data("x1", 8), data("x2", 16)),
        Node("v0", "concat", ("x0", "x1"), (("dim", 0),)),
        Node("v1", "add", ("v0", "x2")),
    )
    shapes = [[value.spec.shape for value in c.inputs] for c in dims.collapse_extents(case)]
    assert [(2,), (2,), (4,)] in shapes


def test_the_only_position_read_stays_the_last_one_when_its_dim_shrinks() -> None:
    last = replace(index("x1", 1, high=9), payload=Payload("monotone", 8, 9))
    case = case_of((data("x0", 9), last), Node("v0", "gather", ("x0", "x1"), (("dim", 0),)))
    found = {c.inputs[0].spec.shape: c.inputs[1].payload for c in dims.shrink_extents(case)}
    assert found[(4,)] == Payload("monotone", 3, 4)


def test_what_is_left_of_a_small_input_is_tried_with_other_numbers() -> None:
    case = case_of((replace(data("x0", 8), payload=Payload("small")),), Node("v0", "abs", ("x0",)))
    seeds = [c.inputs[0].payload.seed for c in dims.shrink_extents(case) if c.inputs[0].spec.shape == (1,)]
    assert seeds == [0, 1, 2, 3]


def test_an_extent_may_shrink_in_two_tensors_alone() -> None:
    """Where one small number stands everywhere, only some of its places belong together."""
    case = case_of(
        (data("x0", 2, 2), data("x1", 2)), Node("v0", "select_scatter", ("x0", "x1"), (("dim", 0), ("index", 1)))
    )
    assert [(2, 1), (1,)] in [[value.spec.shape for value in c.inputs] for c in dims.collapse_extents(case)]


def test_two_large_dims_become_one() -> None:
    case = case_of((data("x0", 16, 32),), Node("v0", "flip", ("x0",), (("dims", (0,)),)))
    assert [c.inputs[0].spec.shape for c in dims.flatten_dims(case)] == [(1, 512), (512, 1)]


@pytest.mark.parametrize("threshold", [1, 2, 3, 5, 257, 1000, 2048, 2049, 4096])
def test_taking_smaller_numbers_that_still_fail_finds_the_smallest(threshold: int) -> None:
    number, probes = 4096, set()
    while True:
        for probe in smaller(number):
            probes.add(probe)
            if probe >= threshold:
                number = probe
                break
        else:
            break
    assert number == threshold
    assert len(probes) <= 20


def test_smaller_numbers_rise_to_the_next_below() -> None:
    assert list(smaller(1)) == []
    assert list(smaller(2)) == [1]
    assert list(smaller(23)) == [1, 2, 3, 4, 16, 20, 22]


@pytest.mark.parametrize(
    ("source", "resized", "target", "wanted", "result"),
    [
        ((4, 8), (2, 8), (32,), (32,), (16,)),
        ((32,), (16,), (4, 8), (4, 8), (2, 8)),
        ((2, 3, 5), (2, 1, 5), (6, 5), (6, 5), (2, 5)),
        ((2, 6, 5), (2, 3, 5), (4, 3, 5), (4, 3, 5), (2, 3, 5)),
        ((4, 1), (2, 1), (4,), (4,), (2,)),
        ((4,), (2,), (1, 4, 1), (1, 4, 1), (1, 2, 1)),
        ((4, 8), (3, 8), (8, 4), (8, 3), (8, 3)),
        ((4, 6), (4, 5), (3, 8), (3, 8), (20, 1)),
    ],
)
def test_a_reshape_follows_its_operand(
    source: tuple[int, ...],
    resized: tuple[int, ...],
    target: tuple[int, ...],
    wanted: tuple[int, ...],
    result: tuple[int, ...],
) -> None:
    assert regrouped(source, resized, target, wanted) == result


# --- ranks -----------------------------------------------------------------------------------------------------------


def test_dims_named_in_attributes_and_layouts_follow_a_dropped_dim() -> None:
    case = Case(
        MESH,
        (data("x0", 3, 4, 8, sharding=((), ("x",), ("y",))),),
        (Node("v0", "flip", ("x0",), (("dims", (0, 2)),)), Node("v1", "cumsum", ("v0",), (("dim", -1),))),
        (Output("v1", ((), ("x",), ("y",))),),
    )
    candidate = next(ranks.drop_dims(case))
    assert candidate.inputs[0].sharding == (("x",), ("y",))
    assert [node.attributes for node in candidate.nodes] == [(("dims", (1,)),), (("dim", 1),)]
    assert candidate.outputs[0].sharding == (("x",), ("y",))


def test_no_input_loses_its_last_dim() -> None:
    case = case_of((data("x0", 8),), Node("v0", "abs", ("x0",)))
    assert list(ranks.drop_dims(case)) == []


def test_two_dims_change_places_everywhere() -> None:
    case = Case(
        MESH,
        (data("x0", 4, 3, sharding=(("x",), ())), index("x1", 4, 2, high=3)),
        (Node("v0", "gather", ("x0", "x1"), (("dim", 1),)),),
        (Output("v0", (("x",), ())),),
    )
    (turned,) = ranks.turn_dims(case)
    assert [value.spec.shape for value in turned.inputs] == [(3, 4), (2, 4)]
    assert turned.nodes[0].keywords == {"dim": 0}
    assert (turned.inputs[0].sharding, turned.outputs[0].sharding) == (((), ("x",)), ((), ("x",)))


# --- values ----------------------------------------------------------------------------------------------------------


def test_one_of_the_numbers_an_index_holds_is_tried_alone() -> None:
    case = case_of(
        (data("x0", 2049, 2), index("x1", 4, 2, high=2049, kind="boundary")),
        Node("v0", "gather", ("x0", "x1"), (("dim", 0),)),
    )
    alone = [c.inputs[1] for c in payloads.pin_values(case) if c.inputs[1].spec.elements == 1]
    assert Payload("monotone", 2048, 2049) in [value.payload for value in alone]


def test_an_index_jumps_to_where_indices_have_failed_with_the_table_behind_it() -> None:
    rows = replace(index("x1", 1, high=5000), payload=Payload("monotone", 4321, 4322))
    case = case_of((data("x0", 5000), rows), Node("v0", "gather", ("x0", "x1"), (("dim", 0),)))
    tight = {c.inputs[1].payload.low: c.inputs[0].spec.shape for c in payloads.shrink_values(case)}
    assert tight[257] == (258,)
    assert tight[2049] == (2050,)


def test_a_number_computed_with_is_searched_for_between_its_value_and_the_simplest() -> None:
    case = case_of((data("x0", 1),), Node("v0", "mul_scalar", ("x0",), (("value", 17),)))
    tried = [c.nodes[0].keywords["value"] for c in values.simplify_attributes(case)]
    assert tried == [1, 2, 3, 4, 5, 9, 13, 15, 16]
