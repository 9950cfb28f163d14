# SPDX-License-Identifier: Apache-2.0
"""Controls: a failing case in other settings. One that passes shows what the failure needs.

Every control is a case of its own, judged by its own reference on its own run; nothing here compares results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from fuzz.case import Case, Mesh, Sharding
from fuzz.evidence import Control
from fuzz.rewrites import forms
from fuzz.signature import normalise
from oracles.outcome import MISMATCHING, Outcome, Verdict

Run = Callable[[Case], Outcome]

# The TT compiler's, as its plugin reads them; 0 is what it takes where none is given.
LEVEL = "optimization_level"
LEVELS = ("0", "1", "2")


def controls(
    case: Case,
    outcome: Outcome,
    run: Run,
    others: Mapping[str, Run] | None = None,
    *,
    levels: Sequence[str] = LEVELS,
) -> tuple[Control, ...]:
    """The reduced case of a finding in every setting that could narrow the blame, one run each.

    `outcome` is the finding's, `run` its target; `others` runs the case, without compile options, on other targets by
    name. `levels` are optimisation levels the target has; none for targets without. What `run` raises propagates.
    """
    found = [_control(name, other, run, outcome) for name, other in settings(case, levels)]
    plain = replace(case, options=())
    found += [_control(f"on {name}", plain, elsewhere, outcome) for name, elsewhere in (others or {}).items()]
    return tuple(found)


def settings(case: Case, levels: Sequence[str] = LEVELS) -> Iterator[tuple[str, Case]]:
    """The settings that differ from the case and from each other: (name, case)."""
    seen = {case.digest}
    for name, other in (*_placements(case), *forms(case), *_levels(case, levels)):
        if other.digest not in seen:
            seen.add(other.digest)
            yield name, other


def _control(name: str, case: Case, run: Run, finding: Outcome) -> Control:
    outcome = run(case)
    return Control(name, outcome.verdict, _detail(outcome, finding))


def _detail(outcome: Outcome, finding: Outcome) -> str:
    """Empty for a pass and for the failure of the finding; else what happened instead, in one line."""
    if outcome.verdict is Verdict.PASS:
        return ""
    mine, theirs = _what(outcome), _what(finding)
    return "" if (outcome.verdict, mine) == (finding.verdict, theirs) else mine


def _what(outcome: Outcome) -> str:
    if outcome.verdict in MISMATCHING:
        where = outcome.transition or outcome.stage
        return f"{where}, {outcome.number_format}" if outcome.number_format else where
    if not outcome.verdict.failing:
        return outcome.message.partition("\n")[0]
    message = normalise(outcome.message)
    return f"{outcome.stage}: {message}" if outcome.stage and message else outcome.stage or message


# --- settings ---------------------------------------------------------------------------------------------------------


def _placements(case: Case) -> Iterator[tuple[str, Case]]:
    """Without sharding, without a mesh, over one axis at a time, over the other axis."""
    mesh = case.mesh
    used = case.used_axes
    if used:
        yield "unsharded", _over(case, {}, mesh)
    if mesh.size > 1:
        yield "on one device", _over(case, {}, replace(mesh, shape=(1,) * len(mesh.shape)))
    if len(used) > 1:
        for axis in used:
            yield f"sharded over {axis} only", _over(case, {axis: axis}, mesh)
    if used and len(mesh.axes) == 2:
        first, second = mesh.axes
        name = f"with {first} and {second} exchanged"
        if len(used) == 1:
            name = f"over {second if used == (first,) else first} instead of {used[0]}"
        turned = replace(mesh, shape=tuple(reversed(mesh.shape)))
        yield name, _over(case, {first: second, second: first}, turned)


def _levels(case: Case, levels: Sequence[str]) -> Iterator[tuple[str, Case]]:
    current = dict(case.options).get(LEVEL, LEVELS[0])
    for level in levels:
        if level != current:
            options = tuple(sorted((dict(case.options) | {LEVEL: level}).items()))
            yield f"at {LEVEL} {level}", replace(case, options=options)


def _over(case: Case, names: Mapping[str, str], mesh: Mesh) -> Case:
    """The case on another mesh with other names of axes; those without a new name shard nothing.

    Where that leaves a demand on a computed value empty, nothing is demanded: the compiler is free as for any user.
    """

    def moved(sharding: Sharding) -> Sharding:
        return tuple(tuple(names[axis] for axis in axes if axis in names) for axes in sharding)

    def demanded(sharding: Sharding | None) -> Sharding | None:
        if sharding is None or not any(sharding):
            return sharding
        return moved(sharding) if any(moved(sharding)) else None

    return replace(
        case,
        mesh=mesh,
        inputs=tuple(replace(value, sharding=moved(value.sharding)) for value in case.inputs),
        nodes=tuple(replace(node, sharding=demanded(node.sharding)) for node in case.nodes),
        outputs=tuple(replace(output, sharding=demanded(output.sharding)) for output in case.outputs),
    )


# --- what they say together -------------------------------------------------------------------------------------------


def blame(found: Sequence[Control]) -> str:
    """The row in one sentence: where the case passes, where it fails as it does, where otherwise, where nobody knows.

    Empty without controls.
    """
    failing = [control for control in found if control.verdict.failing]
    said = {
        "passes": _listed([control.name for control in found if control.verdict is Verdict.PASS]),
        "fails alike": _listed([control.name for control in failing if not control.detail]),
        "fails otherwise": _reasons([control for control in failing if control.detail]),
        "not known": _reasons([c for c in found if c.verdict is not Verdict.PASS and not c.verdict.failing]),
    }
    return "; ".join(f"{what} {names}" for what, names in said.items() if names)


def _reasons(found: Sequence[Control]) -> str:
    """Names with what was said there; those of which the same was said together."""
    reasons: dict[str, list[str]] = {}
    for control in found:
        reasons.setdefault(" ".join(filter(None, (str(control.verdict), control.detail))), []).append(control.name)
    return ", ".join(f"{_listed(names)} ({reason})" for reason, names in reasons.items())


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
