# SPDX-License-Identifier: Apache-2.0
"""Where the elements of an output come from, found by running the case again on inputs that label every element.

Data that is only moved: each input element has a number, written in digits small enough for every dtype, one digit per
run. A second run per digit holds its complement; the sum of the two tells a moved element (complement of itself) from a
constant, a sum of several and garbage. Data that is also added up: one run per input element, which alone is 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from fuzz.case import Case, Input, Sharding
from fuzz.ops.core import TORCH_DTYPES, Accumulates, Moves, get
from fuzz.payloads import F32_POSITIONS, decode_position
from oracles.models.outside import writes
from oracles.placement import take_block
from oracles.reference import reference
from oracles.scene import Inputs, Observe, Scene
from oracles.targets.base import Block

DIGITS = 128  # bf16 holds whole numbers up to 256
LABELS = 1 << 20  # input elements; larger inputs are told by their own values
IMPULSES = 24  # input elements of a graph that adds up; each costs a run
ADDING = frozenset({"sum", "cumsum", "add", "sub", "index_add", "scatter_add", "scatter_reduce_sum",
                    "index_put_accumulate", "matmul", "einsum", "neg", "add_scalar", "mul_scalar"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labels:
    """Data inputs whose elements are numbered, one input after the other."""

    case: Case
    inputs: tuple[Input, ...]

    @property
    def count(self) -> int:
        return sum(value.spec.elements for value in self.inputs)

    def split(self, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        """A value per element, as input tensors."""
        parts = torch.split(numbers, [value.spec.elements for value in self.inputs])
        return {
            value.name: part.reshape(value.spec.shape).to(TORCH_DTYPES[value.spec.dtype])
            for value, part in zip(self.inputs, parts, strict=True)
        }

    def name(self, label: int) -> str:
        """The element with a number: its input, its place in it, and on which devices it lies if it is split."""
        for value in self.inputs:
            if label < value.spec.elements:
                at: list[int] = []
                for size in reversed(value.spec.shape):
                    label, place = divmod(label, size)
                    at.insert(0, place)
                return f"{value.name}{at}{_home(self.case, value.sharding, value.spec.shape, at)}"
            label -= value.spec.elements
        raise IndexError(f"there is no element {label}")


def _home(case: Case, sharding: Sharding, shape: Sequence[int], at: Sequence[int]) -> str:
    """The mesh coordinate of an element, along the axes that split its tensor."""
    place: dict[str, int] = {}
    for axes, size, position in zip(sharding, shape, at, strict=True):
        count = math.prod(case.mesh.sizes[axis] for axis in axes)
        piece = position // -(-size // count)
        for axis in reversed(axes):
            place[axis] = piece % case.mesh.sizes[axis]
            piece //= case.mesh.sizes[axis]
    split = [f"{axis}={place[axis]}" for axis in case.mesh.axes if axis in place and case.mesh.sizes[axis] > 1]
    return f" of {' '.join(split)}" if split else ""


@dataclass(frozen=True, slots=True)
class Source:
    """What one element of an output is made of: input elements with their weights; or a constant."""

    weights: tuple[tuple[int, float], ...] = ()
    constant: float | None = None  # equal in all runs
    sum_of: float = 0.0  # number of elements, where it is not known which


Sources = Sequence[Source]  # of all elements of an output, or of a device's part of it, row-major


# --- what to label ----------------------------------------------------------------------------------------------------


def labelled(case: Case) -> Labels | None:
    """The inputs whose elements can be followed to the outputs; None where values decide what happens."""
    live = case.live()
    data = {value.name for value in live.inputs}
    for node in live.nodes:
        op = get(node.op)
        if not (isinstance(op.semantics, Moves) or op.name in ADDING):
            return None
        data -= {name for position, name in enumerate(node.operands) if position not in op.data}
        if op.name in ("matmul", "einsum"):
            data.discard(node.operands[1])  # linear in one operand at a time
    # What an index or a mask is computed from decides too.
    for node in reversed(live.nodes):
        op = get(node.op)
        deciding = {name for position, name in enumerate(node.operands) if position not in op.data}
        if any(live.node(name) is not None for name in deciding):
            return None
    chosen = tuple(value for value in live.inputs if value.name in data)
    return Labels(live, chosen) if chosen else None


def _adds(case: Case) -> bool:
    return any(isinstance(get(node.op).semantics, Accumulates) or node.op == "neg" for node in case.nodes)


# --- runs on labels ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Traced:
    """Of every element of an output, what it is made of."""

    wanted: Sources
    got: tuple[Sources, ...]  # per block
    base: Sources | None  # what lies where a write should go, if the op writes


def traced(labels: Labels, scene: Scene, own: Inputs, observe: Observe) -> Traced | None:
    """What the elements of the output are made of; None if it takes too many runs to know.

    `own`: the case's input values; `observe`: the guilty stage.
    """
    if labels.count > LABELS:
        return _by_values(labels, scene, own)
    return _by_runs(labels, scene, own, observe)


def _by_values(labels: Labels, scene: Scene, own: Inputs) -> Traced | None:
    """What the values themselves say, of a single input that holds positions: runs on large inputs take long."""
    (value, *others) = labels.inputs
    if others or value.payload.kind != "position" or _adds(labels.case):
        return None

    numbered = {**own, value.name: torch.arange(labels.count).reshape(value.spec.shape)}
    wanted = reference(scene.case, numbered)[scene.output].values.long()

    def read(block: Block) -> Iterator[Source]:
        found = decode_position(value.spec.dtype, value.spec.shape, block.values).flatten().tolist()
        right = take_block(wanted, block.start, block.values.shape).flatten().tolist()
        for label, near, number in zip(found, right, block.values.flatten().tolist(), strict=True):
            # Values repeat beyond the wrap: of the elements that hold this one, that nearest to the right one.
            candidates = range(label, labels.count, F32_POSITIONS)
            if label < 0:
                yield Source(constant=number)
            else:
                yield Source(weights=((min(candidates, key=lambda other: abs(other - near)), 1.0),))

    right = [Source(weights=((label, 1.0),)) for label in wanted.flatten().tolist()]
    return Traced(right, tuple(list(read(block)) for block in scene.blocks), None)


def _by_runs(labels: Labels, scene: Scene, own: Inputs, observe: Observe) -> Traced | None:
    number = [output.name for output in scene.case.outputs].index(scene.output)
    if not _adds(scene.case.live()):
        digits = 2 if any(value.spec.dtype == "bool" for value in labels.inputs) else DIGITS
        planes = max(1, math.ceil(math.log(max(labels.count, 2), digits) - 1e-9))
        probes = list(_digit_probes(labels, own, digits, planes))

        def read(runs: Sequence[torch.Tensor]) -> Sources:
            return _from_digits(runs, digits, labels.count)

    elif labels.count <= IMPULSES and all(value.spec.dtype != "bool" for value in labels.inputs):
        probes = list(_impulse_probes(labels, own))
        read = _from_impulses
    else:
        return None
    right = [reference(scene.case, probe) for probe in probes]
    seen = [observe(probe)[number] for probe in probes]
    base = None
    if scene.node is not None and scene.op is not None and writes(scene.op):
        name = scene.node.operands[scene.op.data[0]]
        if right[0][name].values.shape == scene.wanted.shape:
            base = read([values[name].values.flatten() for values in right])
    return Traced(
        read([values[scene.output].values.flatten() for values in right]),
        tuple(read([blocks[place].values.flatten() for blocks in seen]) for place in range(len(scene.blocks))),
        base,
    )


def _digit_probes(labels: Labels, own: Inputs, digits: int, planes: int) -> Iterator[Inputs]:
    lowest = 0 if digits == 2 else 1  # where there is room, zero says that nothing was written
    numbers = torch.arange(labels.count)
    for digit in (*(numbers // digits**plane % digits for plane in range(planes)), _check(numbers, digits)):
        yield {**own, **labels.split(digit + lowest)}
        yield {**own, **labels.split(digits - 1 - digit + lowest)}


def _check(numbers: torch.Tensor, digits: int) -> torch.Tensor:
    """A digit that is no linear function of the others: of two elements it adds up to that of no third one."""
    return (numbers * numbers * 31 + numbers // 7) % digits


def _from_digits(runs: Sequence[torch.Tensor], digits: int, count: int) -> Sources:
    lowest = 0 if digits == 2 else 1
    values = torch.stack([run.double() for run in runs], 1)
    one, other = values[:, ::2], values[:, 1::2]
    weights = (one + other) / (digits - 1 + 2 * lowest)
    weight = weights[:, 0]
    constant = (values == values[:, :1]).all(1)
    # Whole numbers from 1 on; what is no number is equal to nothing.
    summed = (weights == weight[:, None]).all(1) & (weight >= 1) & (weight == weight.floor()) & weight.isfinite()
    parts = one / weight[:, None] - lowest
    label = (parts[:, :-1] * digits ** torch.arange(parts.shape[1] - 1)).sum(1)
    single = summed & (parts == parts.floor()).all(1) & (label >= 0) & (label < count)
    label = torch.where(single, label, 0).long()
    single &= _check(label, digits) == parts[:, -1]
    return [
        Source(constant=value) if equal
        else Source(weights=((number, times),)) if found
        else Source(sum_of=times) if several
        else Source()
        for value, equal, number, found, times, several in zip(
            values[:, 0].tolist(), constant.tolist(), label.tolist(), single.tolist(), weight.tolist(),
            summed.tolist(), strict=True,
        )
    ]  # fmt: skip


def _impulse_probes(labels: Labels, own: Inputs) -> Iterator[Inputs]:
    yield {**own, **labels.split(torch.zeros(labels.count))}
    for label in range(labels.count):
        impulse = torch.zeros(labels.count)
        impulse[label] = 1
        yield {**own, **labels.split(impulse)}


def _from_impulses(runs: Sequence[torch.Tensor]) -> Sources:
    found = []
    for zero, *ones in torch.stack([run.double() for run in runs], 1).tolist():
        weights = tuple((label, value - zero) for label, value in enumerate(ones) if value != zero)
        found.append(Source(weights=weights) if weights else Source(constant=zero))
    return found
