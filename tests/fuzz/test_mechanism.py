# SPDX-License-Identifier: Apache-2.0
"""What buckets are named after: one cause, one name."""

from dataclasses import replace

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec
from fuzz.mechanism import blame_op, blame_resharding, mechanism, reshardings, single_ops
from fuzz.ops import specs
from oracles.explanation import Explanation
from oracles.outcome import Outcome, Verdict

MESH = Mesh((2, 2), ("x", "y"))
BOTH: Sharding = (("x", "y"), ())
ROWS: Sharding = (("x",), ())
WHOLE: Sharding = ((), ())
SCATTER = Outcome(Verdict.WRONG, "compare", op="index_fill", operations=("concatenate", "scatter"))


def case(data: Sharding, index: Sharding = ((),), result: Sharding | None = None, op: str = "index_fill") -> Case:
    inputs = (
        Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), data),
        Input("x1", TensorSpec((4,), "i64"), Payload("permutation", 0, 4), index),
    )
    node = Node("v0", op, ("x0", "x1"), (("dim", 0), ("value", 1)))
    return Case(MESH, inputs, (node,), (Output("v0", result),))


def test_torch_ops_that_become_one_compiler_op_share_a_bucket() -> None:
    names = {mechanism(case(ROWS, op=op), replace(SCATTER, op=op)) for op in ("index_fill", "index_copy")}
    assert names == {"WRONG scatter: data sharded"}


def test_which_side_is_sharded_tells_buckets_apart() -> None:
    sides = [case(ROWS), case(WHOLE, (("x",),)), case(ROWS, (("x",),)), case(WHOLE)]
    assert len({mechanism(side, SCATTER) for side in sides}) == 4


def test_a_demand_on_the_result_is_a_layout_of_the_data() -> None:
    assert mechanism(case(WHOLE, result=ROWS), SCATTER) == mechanism(case(ROWS), SCATTER)


def test_an_error_is_named_by_its_message_whatever_the_op() -> None:
    error = Outcome(Verdict.COMPILE_ERROR, "ttir", 'axis "x" overlaps')
    assert mechanism(case(ROWS), error) == mechanism(
        case(WHOLE, (("y",),)), replace(error, message='axis "y" overlaps')
    )


def test_a_reshard_that_is_wrong_alone_is_blamed_before_the_op() -> None:
    def run(candidate: Case) -> Outcome:
        wrong = not candidate.nodes and any(len(axes) > 1 for axes in candidate.inputs[0].sharding)
        return Outcome(Verdict.WRONG if wrong else Verdict.PASS)

    blamed = blame_resharding(case(BOTH), run)
    assert blamed is not None
    assert mechanism(*blamed) == "WRONG resharding: data, two axes on one dim sharded"
    assert blame_resharding(case(ROWS), run) is None


def test_layouts_of_intermediates_are_tried_as_reshards_too() -> None:
    wanted = case(WHOLE)
    constrained = replace(wanted, nodes=(replace(wanted.nodes[0], sharding=BOTH),))
    pairs = {(c.inputs[0].sharding, c.outputs[0].sharding) for c in reshardings(constrained)}
    assert (BOTH, WHOLE) in pairs


def test_a_crash_is_the_same_on_another_day_in_another_thread_and_build() -> None:
    check = "Check failed: IsScalar(value.shape())"
    lines = (
        f"SIGABRT: F1123 12:24:17.216166   28015 spmd_util.h:118] {check}",
        f"SIGABRT: 2026-11-24 03:10:44.548565: F external/xla/service/spmd/spmd_util.h:127] {check}",
    )
    names = {mechanism(case(ROWS), Outcome(Verdict.CRASH, "compile", line)) for line in lines}
    assert len(names) == 1
    assert "Check failed" in names.pop()


def test_a_stage_after_partitioning_adds_the_step_and_what_the_op_became() -> None:
    outcome = replace(SCATTER, stage="ttir", transition="shlo_compiler -> ttir", became=("fill_cache", "slice_static"))
    # What takes a graph for something else is one bug, whatever comes of it.
    assert mechanism(case(ROWS), outcome) == "WRONG shlo_compiler -> ttir, scatter as fill_cache"
    assert mechanism(case(ROWS), outcome, Explanation("said", "index ignored")) == mechanism(case(ROWS), outcome)


def chain() -> Case:
    """An op whose result is split because of what its user reads beside it."""
    value = Input("x0", TensorSpec((4,), "i64"), Payload("monotone", 0, 4), ((),))
    other = Input("x1", TensorSpec((4,), "f32"), Payload("position"), (("x",),))
    nodes = (Node("v0", "flip", ("x0",), (("dims", (0,)),)), Node("v1", "take", ("x1", "v0")))
    return Case(MESH, (value, other), nodes, (Output("v1"),))


def test_each_op_of_a_chain_is_tried_alone_with_its_result_split() -> None:
    tried = list(single_ops(chain()))
    assert {node.op for candidate in tried for node in candidate.nodes} == {"flip", "take"}
    assert all(len(candidate.nodes) == 1 and specs(candidate) for candidate in tried)
    demands = {(c.nodes[0].sharding, c.outputs[0].sharding) for c in tried if c.nodes[0].op == "flip"}
    assert demands == {(None, None), (None, (("x",),)), ((("x",),), None)}


def test_what_an_index_is_computed_from_is_replaced_by_an_index_in_range() -> None:
    (payload,) = {c.inputs[1].payload for c in single_ops(chain()) if c.nodes[0].op == "take"}
    assert (payload.low, payload.high) == (0, 4)


def test_a_case_of_one_op_has_no_op_to_blame() -> None:
    assert list(single_ops(case(ROWS))) == []


def test_the_first_op_that_is_wrong_alone_is_blamed() -> None:
    def run(candidate: Case) -> Outcome:
        split = candidate.outputs[0].sharding is not None
        return Outcome(Verdict.WRONG, op="flip") if candidate.nodes[0].op == "flip" and split else Outcome(Verdict.PASS)

    found = blame_op(chain(), run)
    assert found is not None
    assert [node.op for node in found[0].nodes] == ["flip"]
    assert blame_op(chain(), lambda _: Outcome(Verdict.PASS)) is None


def test_the_fault_model_names_the_bucket_whatever_is_sharded() -> None:
    explanation = Explanation("mesh row 1 used mesh row 0's offset", "shard offset missing")
    names = {mechanism(case(sharding), SCATTER, explanation) for sharding in (ROWS, BOTH)}
    assert names == {"WRONG scatter: shard offset missing"}


def test_without_a_fault_model_the_sharded_operands_name_it() -> None:
    assert mechanism(case(ROWS), SCATTER, Explanation("unexplained")) == mechanism(case(ROWS), SCATTER)


def test_parts_in_a_wrong_order_are_no_fault_of_the_op_that_reads_them() -> None:
    explanation = Explanation("x0: ..", "parts in minor-axis-first order")
    assert mechanism(case(ROWS), SCATTER, explanation) == "WRONG resharding: parts in minor-axis-first order"


def test_lost_digits_are_named_by_their_rule_whatever_is_sharded() -> None:
    outcome = replace(SCATTER, verdict=Verdict.SUSPECTED, transition="ttir -> ttnn", number_format="tf32_matmul")
    expected = "SUSPECTED ttir -> ttnn, scatter: suspected: number format tf32_matmul"
    assert mechanism(case(ROWS), outcome) == expected


def test_an_injected_fault_is_always_named() -> None:
    assert mechanism(case(ROWS), replace(SCATTER, injected="lost_base")).startswith("injected lost_base: WRONG ")
