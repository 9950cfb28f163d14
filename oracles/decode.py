# SPDX-License-Identifier: Apache-2.0
"""What each wrong element of an output really is, in words, with examples and a picture for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from oracles.explanation import RIGHT_CELL, Decoded, Element, Part
from oracles.labels import Labels, Source, Traced, labelled, traced
from oracles.placement import take_block
from oracles.scene import Inputs, Observe, Scene
from oracles.stages.numerics import round_significand

EXAMPLES = 4  # elements shown per cause and device
CELLS = 4096  # elements of a part that are still a picture

ANOTHER = "another element"
ROUNDED = "right element, rounded"
CHANGED = "right element, changed"
NEVER = "never written"
OVERWRITTEN = "written, should not be"
COUNTED = "right element, counted more than once"
SUMMED = "sum of several elements"
MISSING = "part of a sum is missing"
ZERO = "zero"
OTHER = "another value"


@dataclass(frozen=True, slots=True)
class _Wrong:
    """One wrong element."""

    device: int
    local: int  # its place in the device's part, row-major
    place: int  # in the whole output, row-major
    want: float
    got: float
    bits: int | None  # if it is the right value rounded: the significant bits left
    # What it should be made of, what it is, and what lies where a write should go; None: not known.
    sources: tuple[Source, Source, Source | None] | None


def decode(scene: Scene, own: Inputs, observe: Observe) -> Decoded:
    """The wrong elements of an output. `own`: the case's input values; `observe`: the guilty stage."""
    labels = labelled(scene.case)
    told = traced(labels, scene, own, observe) if labels is not None else None
    found = list(_wrong(scene, told))
    causes = [_cause(wrong) for wrong in found]
    counts = Counter(causes)
    letters = {cause: chr(ord("a") + place) for place, (cause, _) in enumerate(counts.most_common())}
    shown: Counter[tuple[str, int]] = Counter()
    examples = []
    cells = {block.device: [RIGHT_CELL] * block.values.numel() for block in scene.blocks}
    for wrong, cause in zip(found, causes, strict=True):
        shown[cause, wrong.device] += 1
        if shown[cause, wrong.device] <= EXAMPLES:
            examples.append(_element(labels, scene.wanted.shape, wrong, cause))
        cells[wrong.device][wrong.local] = letters[cause]
    parts = tuple(
        Part(
            block.device,
            block.start,
            tuple(block.values.shape),
            "".join(cells[block.device]) if block.values.numel() <= CELLS else "",
        )
        for block in scene.blocks
    )
    return Decoded(
        scene.output, tuple(scene.wanted.shape), len(found), dict(counts.most_common()), tuple(examples), parts
    )


def _wrong(scene: Scene, told: Traced | None) -> Iterator[_Wrong]:
    places = torch.arange(scene.wanted.numel()).reshape(scene.wanted.shape)
    for position, block in enumerate(scene.blocks):
        wrong = ~scene.right(block).flatten()
        where = take_block(places, block.start, block.values.shape).flatten()[wrong]
        want, got = scene.wanted.flatten()[where], block.values.flatten()[wrong]
        rows = zip(wrong.nonzero().flatten().tolist(), where.tolist(), want.tolist(), got.tolist(),
                   _bits_left(want, got), strict=True)  # fmt: skip
        for local, place, right, seen, bits in rows:
            sources = None
            if told is not None:
                base = None if told.base is None else told.base[place]
                sources = told.wanted[place], told.got[position][local], base
            yield _Wrong(block.device, local, place, right, seen, bits, sources)


def _bits_left(want: torch.Tensor, got: torch.Tensor) -> list[int | None]:
    """The most significant bits to which each right value was rounded, in either tie rule; None if it was not."""
    exact, seen = want.double(), got.double()
    left = torch.zeros(want.shape, dtype=torch.long)
    for bits in range(2, 25):
        for half_up in (False, True):
            left[round_significand(exact, bits, half_up) == seen] = bits
    return [bits or None for bits in left.tolist()]


def _cause(wrong: _Wrong) -> str:
    if wrong.sources is None:
        if _is_rounded(wrong):
            return ROUNDED
        return ZERO if wrong.got == 0 else OTHER
    want, got, base = wrong.sources
    if got == want:
        return CHANGED if wrong.bits is None else ROUNDED
    if base is not None and got == base:
        return NEVER
    times = _multiple(want, got)
    known = len(got.weights) == 1 or got.constant not in (None, 0)
    if base is not None and want == base and known and times is None:
        return OVERWRITTEN
    if times is not None:
        return COUNTED
    if got.constant == 0:
        return ZERO
    if len(got.weights) == 1 and len(want.weights) <= 1:
        return ANOTHER
    if got.weights and dict(got.weights).items() < dict(want.weights).items():
        return MISSING
    return SUMMED if got.weights or got.sum_of else OTHER


def _is_rounded(wrong: _Wrong) -> bool:
    """Where nothing else is known than the values: whether they are close, and rounding explains how far."""
    near = wrong.want != wrong.got and abs(wrong.got - wrong.want) < abs(wrong.want) / 4
    return near and wrong.bits is not None and abs(wrong.want) >= 1 << wrong.bits


# --- in words ---------------------------------------------------------------------------------------------------------


def _element(labels: Labels | None, shape: Sequence[int], wrong: _Wrong, cause: str) -> Element:
    at = tuple(int(part) for part in torch.unravel_index(torch.tensor(wrong.place), tuple(shape)))
    if labels is None or wrong.sources is None:
        words = _rounded(wrong) if cause == ROUNDED else _number(wrong.got)
        return Element(at, wrong.device, cause, _number(wrong.want), words)
    want, got, _ = wrong.sources
    return Element(at, wrong.device, cause, _words(labels, want, wrong.want), _instead(labels, got, wrong, cause))


def _instead(labels: Labels, source: Source, wrong: _Wrong, cause: str) -> str:
    words = _words(labels, source, wrong.got)
    if cause == ROUNDED:
        return _rounded(wrong)
    if cause == CHANGED:
        return f"{_number(wrong.got)}, not {_number(wrong.want)}"
    if cause == NEVER:
        return f"still {words}"
    if cause == ZERO:
        return "0"
    if cause == COUNTED and wrong.sources is not None and len(source.weights) == 1:
        return f"{_multiple(wrong.sources[0], source):g} x {words.partition(' x ')[2] or words}"
    return words


def _rounded(wrong: _Wrong) -> str:
    return f"{_number(wrong.got)}: {_number(wrong.want)} rounded to {wrong.bits} significant bits"


def _multiple(wanted: Source, got: Source) -> float | None:
    """By how much all weights of the right sources are too large; None if it is something else."""
    right, seen = dict(wanted.weights), dict(got.weights)
    if not right or right.keys() != seen.keys():
        return None
    ratios = {seen[label] / right[label] for label in right}
    times = max(ratios)
    return times if times > 1 and ratios <= {1.0, times} else None


def _words(labels: Labels, source: Source, value: float) -> str:
    if source.weights:
        return " + ".join(
            (f"{weight:g} x " if weight != 1 else "") + labels.name(label) for label, weight in source.weights
        )
    if source.sum_of:
        return f"sum of {source.sum_of:g} elements"
    return _number(source.constant if source.constant is not None else value)


def _number(value: float) -> str:
    if isinstance(value, bool) or not math.isfinite(value) or value != int(value):
        return f"{value}" if isinstance(value, bool) else f"{value:g}"
    return str(int(value))
