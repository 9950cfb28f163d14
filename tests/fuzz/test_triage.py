# SPDX-License-Identifier: Apache-2.0
"""Buckets hold together what is one bug and keep apart what is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec, replicated
from fuzz.signature import last_meaningful_line, normalise, signature
from fuzz.triage import ANY_CASE, Pattern, bucket_id, earliest_wrong, pattern
from oracles.outcome import Outcome, Verdict

MESH = Mesh((2, 2), ("x", "y"))
ROWS: Sharding = (("x",), ())
REPLICATED = replicated(2)
COLUMNS: Sharding = ((), ("y",))
BOTH: Sharding = (("x",), ("y",))


def gather(x: Sharding, index: Sharding = REPLICATED, output: Sharding | None = None, size: int = 4) -> Case:
    """gather(dim=1) of two inputs."""
    return Case(
        MESH,
        (
            Input("x0", TensorSpec((size, size), "f32"), Payload("position"), x),
            Input("x1", TensorSpec((size, size), "i64"), Payload("random", 0, size), index),
        ),
        (Node("v0", "gather", ("x0", "x1"), (("dim", 1),)),),
        (Output("v0", output),),
    )


# --- signatures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("'sdy.all_reduce' op axis \"x\" overlaps", "'sdy.all_reduce' op axis \"y\" overlaps"),
        ("loc(\"scatter.18\"): error: 'a.b' op bad", "loc(\"scatter.5\"): error: 'a.b' op bad"),
        ("INTERNAL: no way; Failed to run pipeline", "INTERNAL: no way; INTERNAL: other; Failed to run pipeline"),
        ("use of %12#1 (tensor<4x8xf32>)", "use of %arg3 (tensor<2x2x?xbf16, #ttnn.layout<(d0) -> (d0)>>)"),
        ("shape [4, 8] and [1]", "shape [16] and [2, 2]"),
        ("/home/a/tt-mlir/lib/Op.cpp:123:4: no", "/build/lib/Op.cpp:77:19: no"),
        ("at 0x7ffc12ab", "at 0x1"),
        ("\x1b[31merror:\x1b[0m no", "error: no"),
        ("needs 4x8xf32 and 16 bytes", "needs 2x1x8xf32 and 9999 bytes"),
        ("no room\nsecond line 1", "no room\nanother line"),
    ],
)  # fmt: skip
def test_messages_that_differ_in_names_numbers_and_places_are_one(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("'ttir.gather' op failed", "'ttir.scatter' op failed"),
        ("unsupported type bf16", "unsupported type i64"),
        ("Op.cpp:12: no", "Pass.cpp:12: no"),
        ("conv2d failed", "conv3d failed"),
    ],
)
def test_messages_about_different_things_stay_apart(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@given(st.text(max_size=200))
def test_normalising_is_one_bounded_line(text: str) -> None:
    assert "\n" not in normalise(text)
    assert len(normalise(text)) <= 160


@given(st.integers(), st.integers())
def test_numbers_never_split_a_bucket(one: int, other: int) -> None:
    assert normalise(f"size {one} is too large") == normalise(f"size {other} is too large")


def test_the_signature_of_a_wrong_result_is_stage_and_op() -> None:
    assert signature(Outcome(Verdict.WRONG, "ttir", "7 elements differ", op="gather")) == "WRONG ttir: gather"


def test_an_injected_fault_never_looks_like_a_bug_of_the_compiler() -> None:
    """The reducer keeps the signature: it must not slip from a planted bug to one that the compiler really has."""
    planted = Outcome(Verdict.WRONG, "ttir", "7 elements differ", op="gather", injected="lost_base")
    assert signature(planted) == "injected lost_base: WRONG ttir: gather"


def test_the_stage_is_part_of_the_signature() -> None:
    assert signature(Outcome(Verdict.HANG, "compile")) != signature(Outcome(Verdict.HANG, "execute"))


def test_the_last_words_of_a_process_are_its_error_not_its_stack() -> None:
    text = """
2026-01-01 info | starting
terminate called after throwing an instance of 'std::runtime_error'
  what():  TT_FATAL @ /src/mesh.cpp:12: devices > 0
backtrace:
 --- /lib/libtt.so(+0x123) [0x7f]
 #0 0x00007f in main
Fatal Python error: Aborted

Thread 0x00007f (most recent call first):
  File "worker.py", line 3 in judge
"""
    assert last_meaningful_line(text) == "what():  TT_FATAL @ /src/mesh.cpp:12: devices > 0"


def test_a_process_that_said_nothing_has_no_last_words() -> None:
    assert last_meaningful_line("\n  #0 0x1 in f\n") == ""


# --- patterns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (gather(REPLICATED), "gather(replicated, replicated)"),
        (gather(COLUMNS), "gather(dim, replicated)"),
        (gather(ROWS, BOTH), "gather(other, both)"),
        (gather(COLUMNS, size=5), "gather(dim uneven, replicated)"),
        (gather(ROWS, output=COLUMNS), "gather(other, replicated)->dim"),
    ],
)
def test_a_pattern_says_how_operands_are_sharded_seen_from_the_op(case: Case, text: str) -> None:
    assert str(pattern(case)) == text


def test_a_negative_dim_is_the_same_dim() -> None:
    case = gather(COLUMNS)
    negative = replace(case, nodes=(replace(case.nodes[0], attributes=(("dim", -1),)),))
    assert pattern(negative) == pattern(case)


@pytest.mark.parametrize(
    ("reduced", "case", "expected"),
    [
        (gather(COLUMNS), gather(COLUMNS), True),
        (gather(COLUMNS), gather(BOTH), True),
        (gather(COLUMNS), gather(ROWS), False),
        (gather(COLUMNS), gather(REPLICATED), False),
        (gather(REPLICATED), gather(BOTH, ROWS), True),
        (gather(BOTH), gather(COLUMNS), False),
        (gather(COLUMNS, size=5), gather(COLUMNS), False),
        (gather(COLUMNS), gather(COLUMNS, size=5), True),
        (gather(ROWS, output=COLUMNS), gather(ROWS), False),
        (gather(ROWS), gather(ROWS, output=COLUMNS), True),
    ],
)
def test_a_case_matches_if_it_is_at_least_as_sharded(reduced: Case, case: Case, expected: bool) -> None:
    assert pattern(reduced).covers(pattern(case)) is expected


def test_an_operand_made_in_the_graph_matches_any_sharding() -> None:
    case = gather(REPLICATED)
    longer = replace(
        case,
        nodes=(Node("v9", "neg", ("x0",)), replace(case.nodes[0], operands=("v9", "x1"))),
    )
    assert pattern(gather(COLUMNS)).covers(pattern(longer))


def test_two_ops_of_a_pattern_need_two_ops_in_the_case() -> None:
    once = gather(COLUMNS)
    second = Node("v1", "gather", ("v0", "x1"), (("dim", 1),))
    twice = replace(once, nodes=(*once.nodes, second), outputs=(Output("v1"),))
    assert pattern(once).covers(pattern(twice))
    assert not pattern(twice).covers(pattern(once))


def test_dead_nodes_do_not_match() -> None:
    case = gather(COLUMNS)
    dead = replace(case, nodes=(*case.nodes, Node("v1", "neg", ("x0",))), outputs=(Output("v1"),))
    assert not pattern(case).covers(pattern(dead))


def test_the_empty_pattern_matches_every_case() -> None:
    assert ANY_CASE.covers(pattern(gather(COLUMNS)))


def test_a_pattern_survives_the_database() -> None:
    found = pattern(gather(COLUMNS, ROWS, BOTH, size=5))
    assert Pattern.from_plain(found.to_plain()) == found


def test_a_bucket_id_is_stable() -> None:
    assert bucket_id("WRONG gather: data sharded") == "f0c27664"


# --- where a wrong result starts --------------------------------------------------------------------------------------


def chain(*ops: str) -> Case:
    value = Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), ROWS)
    nodes = tuple(Node(f"v{i}", op, (f"v{i - 1}" if i else "x0",)) for i, op in enumerate(ops))
    return Case(MESH, (value,), nodes, (Output(nodes[-1].name, COLUMNS),))


def wrong_if(condition: Callable[[Case], bool]) -> Callable[[Case], Outcome]:
    return lambda case: Outcome(Verdict.WRONG if condition(case) else Verdict.PASS, "compare", op="whatever")


def test_the_first_wrong_op_names_a_failure_that_travels_along_the_graph() -> None:
    found = earliest_wrong(chain("neg", "flip", "abs"), wrong_if(lambda c: any(n.op == "flip" for n in c.nodes)))
    assert found is not None
    case, outcome = found
    assert [node.op for node in case.nodes] == ["neg", "flip"]
    assert outcome.op == "flip"


def test_the_last_op_keeps_the_sharding_of_its_output() -> None:
    found = earliest_wrong(chain("neg", "abs"), wrong_if(lambda c: c.outputs[0].sharding == COLUMNS))
    assert found is not None
    assert len(found[0].nodes) == 2


def test_nothing_is_returned_if_no_truncation_is_wrong() -> None:
    assert earliest_wrong(chain("neg", "abs"), wrong_if(lambda _: False)) is None
