# SPDX-License-Identifier: Apache-2.0
"""Where an investigation starts."""

from dataclasses import replace

import fuzz.ops  # noqa: F401 (registers the ops)
from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec, replicated
from fuzz.investigation import starting_point
from oracles.outcome import Outcome, Verdict

WRONG = Outcome(Verdict.WRONG, "ttir")
GRAPH = Case(
    Mesh((1, 2), ("x", "y")),
    (Input("x0", TensorSpec((4, 8), "f32"), Payload("position"), replicated(2)),),
    (
        Node("order", "sort_indices", ("x0",), (("descending", False), ("dim", 1))),
        Node("read", "gather", ("x0", "order"), (("dim", 1),)),
        Node("after", "neg", ("read",)),
    ),
    (Output("after"),),
)


def compiled(case: Case) -> Outcome:
    """A compiler whose every gather is wrong; what else it made of the graph stands in `became`."""
    ops = tuple(sorted(node.op for node in case.nodes))
    return replace(WRONG, op=case.nodes[-1].op, became=ops) if "gather" in ops else Outcome(Verdict.PASS)


def test_an_op_that_is_wrong_alone_is_investigated_alone() -> None:
    """Else the sort that feeds it would be part of the signature, and the reducer could never drop it."""
    start = starting_point(0, GRAPH, compiled(GRAPH), compiled)
    assert [node.op for node in start.case.nodes] == ["gather"]
    assert start.outcome.became == ("gather",)


def test_an_op_that_fails_otherwise_alone_keeps_what_feeds_it() -> None:
    """A planted bug that needs the graph must not become a bug that the compiler has."""

    def only_in_company(case: Case) -> Outcome:
        outcome = compiled(case)
        planted = "sort_indices" in outcome.became
        return replace(outcome, injected="local_row_iota" if planted else "")

    start = starting_point(0, GRAPH, only_in_company(GRAPH), only_in_company)
    assert [node.op for node in start.case.nodes] == ["sort_indices", "gather"]


def test_the_case_itself_is_not_run_again() -> None:
    case = replace(GRAPH, nodes=GRAPH.nodes[:2], outputs=(Output("read"),))  # its first wrong op is its last
    tried: list[Case] = []

    def run(candidate: Case) -> Outcome:
        tried.append(candidate)
        return compiled(candidate)

    start = starting_point(0, case, compiled(case), run)
    assert [node.op for node in start.case.nodes] == ["gather"]
    assert tried
    assert case not in tried
