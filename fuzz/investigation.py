# SPDX-License-Identifier: Apache-2.0
"""From a failing case to a finding: where it starts, whether it repeats, and how small it gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from fuzz.case import Case, CaseError
from fuzz.case_file import dump
from fuzz.evidence import Neighbour
from fuzz.finding import Finding, State, Witness
from fuzz.mechanism import blame_op, blame_resharding, mechanism
from fuzz.reduce.order import complexity
from fuzz.reduce.passes.graph import feed
from fuzz.signature import signature
from fuzz.triage import ANY_CASE, Pattern, earliest_wrong, pattern
from oracles.explanation import Explanation
from oracles.outcome import MISMATCHING, Outcome, Verdict

LARGE = 1 << 16  # elements of the inputs: to explain more takes longer than to reduce them first

Run = Callable[[Case], Outcome]
Explain = Callable[[Case], Explanation]  # see `Pool.explain`


class Reduced(Protocol):
    """What a reducer returns."""

    @property
    def case(self) -> Case: ...
    @property
    def runs(self) -> int: ...
    @property
    def minimal(self) -> bool: ...


Reduce = Callable[[Case, Callable[[Case], bool]], Reduced]


@dataclass(frozen=True, slots=True)
class Start:
    """Where the investigation of a failing case starts: for a wrong result, the part of the graph that makes it."""

    number: int
    original: Case
    case: Case
    outcome: Outcome

    @property
    def signature(self) -> str:
        return signature(self.outcome)


def starting_point(number: int, case: Case, outcome: Outcome, run: Run) -> Start:
    """Cut a wrong case down to the first op that is wrong, alone if that fails; others start from the live graph."""

    def run_once(candidate: Case) -> Outcome:
        # Three in ten candidates are the case itself, whose outcome is known; `investigate` is where it must repeat.
        return outcome if candidate == case else run(candidate)

    if outcome.verdict in MISMATCHING:
        found = earliest_wrong(case, run_once)
        if found is not None:
            return Start(number, case, *(_alone(*found, run_once) or found))
    return Start(number, case, case.live(), outcome)


def _alone(case: Case, outcome: Outcome, run: Run) -> tuple[Case, Outcome] | None:
    """The last op with inputs for operands, if that fails as the case does.

    What its operands come from must not get into the signature: the reducer would have to keep it.
    """
    *before, last = case.nodes
    try:
        candidates = tuple(feed(case, [node.name for node in before], case.outputs))
    except CaseError:  # a target may fail on a graph that torch rejects, and then nobody knows the operands' shapes
        return None
    for candidate in candidates:
        found = replace(run(candidate), op=last.op)
        if signature(replace(found, became=())) == signature(replace(outcome, became=())):
            return candidate, found
    return None


def unreduced(start: Start) -> Finding:
    """The finding as far as it is known without running anything more."""
    return _finding(start, start.signature, pattern(start.case), State.NEW, start.case, start.outcome)


def investigate(
    start: Start, run: Run, reduce: Reduce, explain: Explain, known: Mapping[str, Finding] = MappingProxyType({})
) -> Finding:
    """Run the case again, reduce it while the same failure stays, explain what is left, and name the bucket.

    A failure that does not repeat becomes a NONDETERMINISTIC finding, not reduced: no smaller case could be trusted.
    One that is explained as a known finding is, by its key, is another way into that and not reduced either.
    """
    wanted = start.signature
    again = observed(run, start.case)
    if signature(again) != wanted:
        return _unsteady(start, again)
    if (recognised := _recognised(start, again, explain, known)) is not None:
        return recognised
    reduction = reduce(start.case, lambda candidate: signature(observed(run, candidate)) == wanted)
    final = observed(run, reduction.case)
    if signature(final) != wanted:
        return _unsteady(start, final)
    case, of = reduction.case, pattern(reduction.case)
    if final.verdict is Verdict.WRONG:
        case, final = _deeper(case, final, run, reduce)
    found = _finding(start, wanted, of, State.REDUCED, case, final)
    explanation = explain(case) if final.verdict in MISMATCHING else None
    key = mechanism(case, final, explanation)
    before = () if start.case == case else (Neighbour("before it was reduced", start.case),)
    return replace(
        found,
        key=key,
        runs=reduction.runs,
        minimal=reduction.minimal,
        explanation=explanation,
        neighbours=before,
    )


def _recognised(start: Start, outcome: Outcome, explain: Explain, known: Mapping[str, Finding]) -> Finding | None:
    """The failure under the key of a known finding, if it has that before it is reduced.

    Of one op only: of a larger graph it is not certain whose mechanism it is. And only if the known case is the simpler
    one, because it goes on to speak for the bucket.
    """
    large = sum(value.spec.elements for value in start.case.inputs) > LARGE
    if outcome.verdict not in MISMATCHING or len(start.case.nodes) > 1 or large:
        return None
    explanation = explain(start.case)
    key = mechanism(start.case, outcome, explanation)
    if key not in known or not (explanation.model or outcome.number_format):
        return None
    if complexity(start.case) < complexity(known[key].case):
        return None
    found = _finding(start, start.signature, pattern(start.case), State.REDUCED, start.case, outcome)
    return replace(found, key=key, explanation=explanation)


def _deeper(case: Case, outcome: Outcome, run: Run, reduce: Reduce) -> tuple[Case, Outcome]:
    """A case that fails without most of what the reduced one needs: one op alone, or no op at all."""
    try:
        alone = blame_op(case, run)
    except CaseError:  # a target may fail on a graph that torch rejects, and then nobody knows the operands' shapes
        return case, outcome
    if alone is not None:
        wanted = signature(observed(run, alone[0]))
        case = reduce(alone[0], lambda candidate: signature(observed(run, candidate)) == wanted).case
        outcome = observed(run, case)
    return blame_resharding(case, run) or (case, outcome)


def observed(run: Run, case: Case) -> Outcome:
    """The outcome of a case, named by the op whose value is wrong; one output leaves no doubt which it is."""
    outcome = run(case)
    if outcome.verdict in MISMATCHING and len(case.outputs) == 1:
        node = case.node(case.outputs[0].name)
        outcome = replace(outcome, op=node.op if node else "input")
    return outcome


def _unsteady(start: Start, again: Outcome) -> Finding:
    outcome = replace(
        start.outcome,
        verdict=Verdict.NONDETERMINISTIC,
        message=f"{start.signature}, then {'PASS' if again.verdict is Verdict.PASS else signature(again)}",
    )
    # Which cases are hit varies from run to run, so a pattern would only split the bucket.
    return _finding(start, f"NONDETERMINISTIC: {start.signature}", ANY_CASE, State.FLAKY, start.case, outcome)


def _finding(start: Start, name: str, of: Pattern, state: State, case: Case, outcome: Outcome) -> Finding:
    return Finding(
        key=name,
        witnesses=(Witness(name, of),),
        state=state,
        first=start.number,
        original=dump(start.original),
        reduced=dump(case),
        outcome=outcome,
    )


def merged(known: Finding, other: Finding) -> Finding:
    """Two reductions that ended in one bucket: the simpler case speaks for it, both ways in are remembered."""
    witnesses = known.witnesses + tuple(w for w in other.witnesses if w not in known.witnesses)
    if known.state is State.NEW or (other.state is State.REDUCED and _rank(other) < _rank(known)):
        best = replace(other, first=min(known.first, other.first))
    else:
        best = known
    return replace(best, witnesses=witnesses)


def _rank(finding: Finding) -> tuple[int, ...]:
    return (*complexity(finding.case), finding.first)
