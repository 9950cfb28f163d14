# SPDX-License-Identifier: Apache-2.0
"""A finding in words, for those who never heard of us: op, condition and effect, and what speaks for each of them."""

from __future__ import annotations

import contextlib
import math
import platform
from collections.abc import Iterable, Iterator, Sequence

from fuzz.case import Case
from fuzz.controls import blame
from fuzz.evidence import Boundary, Control
from fuzz.mechanism import SUBJECTS, mechanism
from fuzz.ops.core import Decides, Moves, check_size, get, specs
from fuzz.payloads import values
from oracles.explanation import Explanation
from oracles.localisation import Localisation
from oracles.outcome import MISMATCHING, RIGHT, UNEXPLAINED, Mismatch, Outcome, Verdict
from oracles.targets.config import TargetConfig
from oracles.targets.environment import versions
from repros.emit import torch_name
from repros.facts import Facts, Failure, Wrong

# What torch_xla makes before the compiler under test sees anything.
TORCH_XLA_STAGES = ("lower", "shlo")
# Compiled from the partitioned program: no script executes these without chips.
LATE_STAGES = ("ttir", "ttnn")
FAILURES: dict[Verdict, Failure] = {
    Verdict.COMPILE_ERROR: "compile error",
    Verdict.CRASH: "crash",
    Verdict.HANG: "hang",
}
EFFECT_LIMIT = 110  # characters of a title's last part
BF16_INTEGERS = 256  # up to here every integer is exact in bf16
MATRIX_INTEGERS = 2048  # up to here in the 11 bits that a matrix unit keeps of an f32


def facts(
    case: Case,
    outcome: Outcome,
    config: TargetConfig,
    localisation: Localisation | None = None,
    explanation: Explanation | None = None,
    boundaries: Sequence[Boundary] = (),
    controls: Sequence[Control] = (),
) -> Facts:
    """All that is known of a failure, as text."""
    mismatching = outcome.verdict in MISMATCHING
    quote = localisation.quote if localisation is not None else None
    late = mismatching and outcome.stage in LATE_STAGES
    error = "" if mismatching else outcome.message
    return Facts(
        what=title(case, outcome, explanation),
        where=_where(outcome, localisation),
        versions=", ".join(f"{name} {version}" for name, version in versions().items()),
        bucket=mechanism(case, outcome, explanation),
        plugin_hint=f"Target: {config}.",
        failure=FAILURES.get(outcome.verdict, "wrong numbers"),
        error=outcome.message.removeprefix("torch_xla: ").split("; ")[0].split(" Error:")[0],
        message=error,
        explanation=explanation.sentence if explanation is not None else "",
        confirmation=_confirmation(explanation),
        wrong=tuple(_wrong(case, outcome, explanation)),
        right=_right(case, outcome),
        exactness=_exactness(case, outcome) if mismatching else "",
        ruled_out=_ruled_out(case, outcome, config),
        seen_by=_seen_by(outcome, config) if mismatching else "",
        wrote=quote.wrote if quote is not None else (),
        replaced=quote.replaced if quote is not None else (),
        boundaries=tuple(_limits(boundaries)),
        controls=(blame(controls),) if controls else (),
        system=_system(),
        devices=_devices(case, outcome, config),
        late_stage=outcome.stage if late else "",
    )


# --- the title -------------------------------------------------------------------------------------------------------


def title(case: Case, outcome: Outcome, explanation: Explanation | None = None) -> str:
    """Op, condition, effect, in one line."""
    return f"{_subject(case, outcome)} {_condition(case)}{_effect(case, outcome, explanation)}"


def _subject(case: Case, outcome: Outcome) -> str:
    """The torch ops, and what the compiler sees of them."""
    names = " ".join(dict.fromkeys(torch_name(node) for node in case.nodes)) or "resharding"
    lowered = next((name for name in SUBJECTS if name in outcome.operations), "")
    return f"{names} (stablehlo.{lowered})" if lowered and case.nodes else names


def _condition(case: Case) -> str:
    """Which dims are sharded, and over how many devices."""
    if case.mesh.size == 1:
        return "on one device"
    sharded = [(_role(case, value.name), value.sharding) for value in case.inputs]
    sharded += [(node.name, node.sharding) for node in case.nodes if node.sharding is not None]
    sharded += [("the result", output.sharding) for output in case.outputs if output.sharding is not None]
    groups: dict[str, list[str]] = {}  # how split -> what is
    for role, sharding in sharded:
        for dim, axes in enumerate(sharding):
            if axes:
                groups.setdefault(_split(axes, case), []).append(f"dim {dim} of {role}")
    if not groups:
        return f"with nothing sharded on {case.mesh.size} devices"
    parts = [f"{_listed(dict.fromkeys(dims))} sharded over {split}" for split, dims in groups.items()]
    return f"with {_listed(parts)}"


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _split(axes: Sequence[str], case: Case) -> str:
    count = math.prod(case.mesh.sizes[axis] for axis in axes)
    return f"{count} devices" + (f" ({' then '.join(axes)})" if len(axes) > 1 else "")


def _role(case: Case, name: str) -> str:
    """What the only op makes of an input; in a larger graph its name."""
    if len(case.nodes) != 1 or name not in case.nodes[0].operands:
        return name
    position, op = case.nodes[0].operands.index(name), get(case.nodes[0].op)
    if position in {number for number, _ in op.indices}:
        return "the index"
    return "the data" if position == 0 else "the source" if position in op.data else f"operand {position}"


def _effect(case: Case, outcome: Outcome, explanation: Explanation | None) -> str:
    plain = {
        Verdict.COMPILE_ERROR: f" does not compile: {outcome.message.split('; ')[0]}",
        Verdict.CRASH: f" crashes the compiler: {outcome.message}",
        Verdict.HANG: ": the compiler never finishes",
        Verdict.SUSPECTED: f" loses digits if the chip computes as its simulator does ({outcome.number_format})",
        Verdict.NONDETERMINISTIC: " does not fail every time",
    }
    if outcome.verdict in plain:
        text = plain[outcome.verdict]
        return text if len(text) <= 2 * EFFECT_LIMIT else f"{text[: 2 * EFFECT_LIMIT - 1]}…"
    sentence = explanation.sentence if explanation is not None else ""
    if sentence and not sentence.startswith(UNEXPLAINED) and len(sentence) <= EFFECT_LIMIT:
        return f": {sentence}"
    wrong, total = sum(m.wrong for m in outcome.mismatches), sum(m.total for m in outcome.mismatches)
    devices = len({mismatch.device for mismatch in outcome.mismatches})
    return f": {wrong} of {total} elements wrong on {devices} of {case.mesh.size} devices"


# --- what speaks for it ----------------------------------------------------------------------------------------------


def _where(outcome: Outcome, localisation: Localisation | None) -> str:
    if outcome.stage in TORCH_XLA_STAGES:
        return f"torch_xla, before any compiler{f', op {outcome.op}' if outcome.op else ''}"
    blamed = f", on the way {outcome.transition}" if outcome.transition else ""
    if localisation is not None and localisation.passes:
        blamed = f"; {localisation}"
    elif localisation is not None and outcome.verdict not in MISMATCHING:
        blamed = f"; {localisation.unknown}"
    op = f", op {outcome.op}" if outcome.op not in ("", "input") else ""
    return f"stage {outcome.stage}{op}{blamed}"


def _limits(boundaries: Sequence[Boundary]) -> Iterator[str]:
    """Where the failure begins and ends; then, in one sentence, all that has no part in it."""
    yield from (str(boundary) for boundary in boundaries if boundary.largest_passing is not None)
    same = [b for b in boundaries if b.largest_passing is None and b.samples]
    if same:
        ranges = (f"{b.what} ({b.samples[0][0]} to {b.samples[-1][0]})" for b in same)
        yield f"it does not depend on {_listed(ranges)}"


def _confirmation(explanation: Explanation | None) -> str:
    if explanation is None or not explanation.model:
        return ""
    return f"accounts for every element, right and wrong; {explanation.confirmation}"


def _wrong(case: Case, outcome: Outcome, explanation: Explanation | None) -> list[Wrong]:
    """One row per output and device with wrong elements; indices where they are known, else values."""
    first = {
        (decoded.output, element.device): element
        for decoded in (explanation.decoded if explanation is not None else ())
        for element in reversed(decoded.elements)
    }
    rows = []
    for mismatch in outcome.mismatches:
        at, expected, got = mismatch.samples[0] if mismatch.samples else ("", "", "")
        if (element := first.get((mismatch.output, mismatch.device))) is not None:
            told = {sample[0]: sample[1:] for sample in mismatch.samples}.get(str(element.at), ("", ""))
            at = str(element.at)
            expected, got = (_both(a, b) for a, b in zip((element.wanted, element.got), told, strict=True))
        coordinate = _coordinate(case, mismatch)
        rows.append(Wrong(coordinate, mismatch.output, f"{mismatch.wrong} of {mismatch.total}", at, expected, got))
    return rows


def _both(source: str, value: str) -> str:
    """Where an element comes from, and its value if that is known and not said yet."""
    said = source == value or source.startswith(f"{value}:") or source.endswith(f" {value}")
    return source or value if said or not (source and value) else f"{source} = {value}"


def _coordinate(case: Case, mismatch: Mismatch) -> str:
    position = case.mesh.coordinate(mismatch.device)
    return ", ".join(f"{axis}={position[axis]}" for axis in case.mesh.axes)


def _right(case: Case, outcome: Outcome) -> str:
    wrong = {mismatch.device for mismatch in outcome.mismatches}
    right = case.mesh.size - len(wrong)
    if not wrong or not right:
        return ""
    return f"The other {right} devices are right." if right > 1 else "The other device is right."


def _exactness(case: Case, outcome: Outcome) -> str:
    if outcome.number_format:
        return f"Rounding: digits are lost and nothing is misplaced ({outcome.number_format})."
    known = specs(case)
    names = {mismatch.output for mismatch in outcome.mismatches} & known.keys()
    if all(known[name].dtype in ("i32", "i64", "bool") for name in names):
        return "Not rounding: the result holds integers and is compared exactly."
    nodes = [node for node in case.nodes if node.name in names]
    if all(isinstance(get(node.op).semantics, Moves) for node in nodes):
        return "Not rounding: elements are only moved, so the result is compared exactly."
    return "Not rounding: the errors exceed what the number of terms and their magnitudes allow."


def _ruled_out(case: Case, outcome: Outcome, config: TargetConfig) -> str:
    """Casts to bf16 and flat indices in floats are known to change numbers in this stack; where they cannot, say so."""
    wrong = outcome.verdict is Verdict.WRONG and not outcome.number_format
    if config.kind != "tt" or outcome.stage in TORCH_XLA_STAGES or not wrong:
        return ""
    check_size(case)
    causes = []
    numbers = [values(value.spec, value.payload).double() for value in case.inputs if value.spec.elements]
    largest = max((each.abs().max().item() for each in numbers), default=0)
    if largest <= BF16_INTEGERS and all(isinstance(get(n.op).semantics, Moves | Decides) for n in case.nodes):
        causes.append(f"no value exceeds {BF16_INTEGERS}, so a cast to bf16 (tt-xla#5321) changes none")
    extent = max(spec.elements for spec in specs(case).values())
    if extent <= MATRIX_INTEGERS and any(get(node.op).indices for node in case.nodes):
        causes.append(f"no tensor has more than {MATRIX_INTEGERS} elements, so a flat index in a float is exact")
    return "; ".join(causes)


def _seen_by(outcome: Outcome, config: TargetConfig) -> str:
    if config.kind != "tt" or not config.mock or not outcome.stages:
        return ""
    if outcome.stage in TORCH_XLA_STAGES:
        return "the StableHLO module that torch_xla makes, executed op by op in software"
    right = [f"`{stage}`" for stage, said in outcome.stages.items() if said == RIGHT]
    before = f"; executed the same way, {_listed(right)} {'is' if len(right) == 1 else 'are'} right" if right else ""
    how = "by the documentation of its ops" if outcome.stage in LATE_STAGES else "op by op"
    return f"module `{outcome.stage}` as the compiler wrote it, executed {how} on a simulated mesh{before}"


# --- the environment -------------------------------------------------------------------------------------------------


def _system() -> str:
    name = platform.system()
    with contextlib.suppress(OSError, KeyError):  # not every Linux has the file
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"{name}, {platform.machine()}"


def _devices(case: Case, outcome: Outcome, config: TargetConfig) -> str:
    if config.kind != "tt" or outcome.stage in TORCH_XLA_STAGES:
        return f"XLA's CPU mesh {case.mesh}"
    return f"mock mesh {config.topology}, no chips" if config.mock else f"{config.topology} chips"
