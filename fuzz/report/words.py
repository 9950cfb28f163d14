# SPDX-License-Identifier: Apache-2.0
"""Sentences about findings that the terminal and the pages share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from fuzz.case import Case, CaseError, Mesh, Sharding
from fuzz.facts import title
from fuzz.finding import Finding, Script, State
from fuzz.ops import source_line
from oracles.explanation import Decoded, Element, Explanation
from oracles.outcome import MISMATCHING

LISTED = 3  # devices that form no rectangle of the mesh


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def coordinate(mesh: Mesh, device: int) -> str:
    """For example `x=0 y=1`."""
    return where(mesh, [device])


def where(mesh: Mesh, devices: Sequence[int]) -> str:
    """`place` in one line."""
    lines = place(mesh, devices)
    return (", " if any(" " in line for line in lines) else " ").join(lines)


def place(mesh: Mesh, devices: Sequence[int]) -> tuple[str, ...]:
    """Where devices are, one line per mesh axis; one line per device if they form no rectangle."""
    positions = [mesh.coordinate(device) for device in sorted(set(devices))]
    along = {axis: sorted({position[axis] for position in positions}) for axis in mesh.axes}
    if len(list(itertools.product(*along.values()))) == len(positions):
        return tuple(f"{axis}={_numbers(values)}" for axis, values in along.items())
    lines = tuple(" ".join(f"{axis}={position[axis]}" for axis in mesh.axes) for position in positions)
    return lines if len(lines) <= LISTED + 1 else (*lines[:LISTED], f"and {len(lines) - LISTED} more")


def _numbers(values: Sequence[int]) -> str:
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        return f"{values[0]}..{values[-1]}"
    return ",".join(map(str, values))


def ops(case: Case) -> str:
    return " ".join(dict.fromkeys(node.op for node in case.nodes)) or "resharding"


def headline(finding: Finding) -> str:
    """Op, condition and effect, as the bug report is titled."""
    try:
        return title(finding.case, finding.outcome, finding.explanation)
    except CaseError:  # an op that this version does not know
        return f"{ops(finding.case)}: {finding.outcome.verdict}"


def further(finding: Finding) -> str:
    """The explanation, unless the headline has it."""
    sentence = finding.explanation.sentence if finding.explanation is not None else ""
    return "" if sentence in headline(finding) else sentence


def confirmation(explanation: Explanation | None) -> str:
    """How much the explanation has been put to the test; empty if there is nothing to test."""
    if explanation is None or not explanation.model:
        return ""
    return explanation.confirmation


def quoted(finding: Finding) -> list[tuple[str, str]]:
    """The compiler's own words about the failure: (- replaced, + written, or nothing in an error; line)."""
    if finding.localisation is None:
        return []
    quote = finding.localisation.quote
    sign = "+" if finding.localisation.verdict in MISMATCHING else " "
    return [("-", line) for line in quote.replaced] + [(sign, line) for line in quote.wrote]


def quote_heading(finding: Finding) -> str:
    """What the quoted lines are."""
    if finding.localisation is None:
        return ""
    if finding.localisation.verdict in MISMATCHING:
        return "What the pass replaced (-) and what it wrote (+):"
    return "The op it fails on:"


def examples(decoded: Decoded, count: int) -> list[Element]:
    """Some of the wrong elements: of every cause first, then on every device."""
    spread = _in_turns(_in_turns(decoded.elements, lambda element: element.device), lambda element: element.cause)
    chosen = set(spread[:count])
    return [element for element in decoded.elements if element in chosen]


def _in_turns(elements: Sequence[Element], key: Callable[[Element], object]) -> list[Element]:
    groups: dict[object, list[Element]] = {}
    for element in elements:
        groups.setdefault(key(element), []).append(element)
    turns = itertools.zip_longest(*groups.values())
    return [element for turn in turns for element in turn if element is not None]


def reduction(finding: Finding) -> str:
    """How small the case has been made."""
    if finding.state is State.NEW:
        return "not done: the time was up; meshfuzz run --resume does it"
    if finding.state is State.FLAKY:
        return "not done: the case does not fail every time"
    return f"{finding.runs} runs, {'1-minimal' if finding.minimal else 'stopped by its budget before 1-minimal'}"


def proof(script: Script) -> str:
    """Whether a script has shown its bug in a clean process, and what it said."""
    return f"{'proven' if script.proven else 'not proven'}, {script.detail.removeprefix('not proven: ')}"


def sharding(value: Sharding) -> str:
    """As Shardy writes it, for example `[{x}, {}]`."""
    return "[" + ", ".join("{" + ", ".join(axes) + "}" for axes in value) + "]"


def source_lines(case: Case) -> list[str]:
    """The case as a program to read. Raises CaseError for an op that this version does not know."""
    lines = [f"# mesh {case.mesh}, axes {', '.join(case.mesh.axes)}"]
    for value in case.inputs:
        spec, recipe = value.spec, value.payload
        numbers = f" in [{recipe.low}, {recipe.high})" if recipe.high > recipe.low else ""
        split = f", sharded {sharding(value.sharding)}" if any(value.sharding) else ""
        lines.append(f"{value.name}: {spec.dtype}{list(spec.shape)}{split}  # {recipe.kind}{numbers}")
    for node in case.nodes:
        constraint = f"  # sharded {sharding(node.sharding)}" if node.sharding is not None else ""
        lines.append(f"{node.name} = {source_line(node)}{constraint}")
    returned = [o.name + (f" sharded {sharding(o.sharding)}" if o.sharding is not None else "") for o in case.outputs]
    return [*lines, f"return {', '.join(returned)}"]
