# SPDX-License-Identifier: Apache-2.0
"""What each wrong element of an output really is, in words, with examples and a picture for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch

from oracles.explanation import RIGHT_CELL, Decoded, Element, Part
from oracles.labels import Labels, Source, labelled, traced
from oracles.scene import Inputs, Observe, Scene
from oracles.stages.numerics import round_significand
from oracles.targets.base import Block

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


def decode(scene: Scene, own: Inputs, observe: Observe) -> Decoded:
    """The wrong elements of an output. `own`: the case's input values; `observe`: the guilty stage."""
    labels = labelled(scene.case)
    told = traced(labels, scene, own, observe) if labels is not None else None
    rows: list[tuple[Block, tuple[int, ...], Element]] = []
    for position, block in enumerate(scene.blocks):
        for local in (~scene.right(block)).nonzero().tolist():
            at = tuple(start + offset for start, offset in zip(block.start, local, strict=True))
            want, got = scene.wanted[at].item(), block.values[tuple(local)].item()
            if told is None or labels is None:
                element = _undecoded(at, block.device, want, got)
            else:
                element = _element(labels, told.wanted[at], told.got[position][at], at, block.device, (want, got),
                                   None if told.base is None else told.base[at])  # fmt: skip
            rows.append((block, tuple(local), element))
    return _decoded(scene, rows)


def _decoded(scene: Scene, rows: Sequence[tuple[Block, tuple[int, ...], Element]]) -> Decoded:
    causes = Counter(element.cause for _, _, element in rows)
    letters = {cause: chr(ord("a") + place) for place, (cause, _) in enumerate(causes.most_common())}
    shown: Counter[tuple[str, int]] = Counter()
    examples = []
    cells = {block.device: [RIGHT_CELL] * block.values.numel() for block in scene.blocks}
    for block, local, element in rows:
        shown[element.cause, element.device] += 1
        if shown[element.cause, element.device] <= EXAMPLES:
            examples.append(element)
        cells[block.device][_flat(local, block.values.shape)] = letters[element.cause]
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
        scene.output, tuple(scene.wanted.shape), len(rows), dict(causes.most_common()), tuple(examples), parts
    )


def _flat(local: Sequence[int], shape: Sequence[int]) -> int:
    flat = 0
    for position, size in zip(local, shape, strict=True):
        flat = flat * size + position
    return flat


# --- in words ---------------------------------------------------------------------------------------------------------


def _element(
    labels: Labels,
    wanted: Source,
    got: Source,
    at: tuple[int, ...],
    device: int,
    values: tuple[float, float],
    base: Source | None,
) -> Element:
    cause, text = _cause(labels, wanted, got, values, base)
    return Element(at, device, cause, _words(labels, wanted, values[0]), text)


def _cause(
    labels: Labels, wanted: Source, got: Source, values: tuple[float, float], base: Source | None
) -> tuple[str, str]:
    words = _words(labels, got, values[1])
    if got == wanted:
        bits = _bits_left(*values)
        if bits is None:
            return CHANGED, f"{_number(values[1])}, not {_number(values[0])}"
        return ROUNDED, f"{_number(values[1])}: {_number(values[0])} rounded to {bits} significant bits"
    if base is not None and got == base:
        return NEVER, f"still {words}"
    times = _multiple(wanted, got)
    known = len(got.weights) == 1 or got.constant not in (None, 0)
    if base is not None and wanted == base and known and times is None:
        return OVERWRITTEN, words
    if times is not None:
        return COUNTED, f"{times:g} x {words.partition(' x ')[2] or words}" if len(got.weights) == 1 else words
    if got.constant == 0:
        return ZERO, "0"
    if len(got.weights) == 1 and len(wanted.weights) <= 1:
        return ANOTHER, words
    if got.weights and dict(got.weights).items() < dict(wanted.weights).items():
        return MISSING, words
    return (SUMMED, words) if got.weights or got.sum_of else (OTHER, words)


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


def _bits_left(want: float, got: float) -> int | None:
    """The most significant bits to which the right value was rounded, in either tie rule."""
    value = torch.tensor(want, dtype=torch.float64)
    for bits in range(24, 1, -1):
        if any(float(round_significand(value, bits, half_up)) == got for half_up in (False, True)):
            return bits
    return None


def _undecoded(at: tuple[int, ...], device: int, want: float, got: float) -> Element:
    bits = _bits_left(want, got) if want != got and abs(got - want) < abs(want) / 4 else None
    if bits is not None and abs(want) >= 1 << bits:
        text = f"{_number(got)}: {_number(want)} rounded to {bits} significant bits"
        return Element(at, device, ROUNDED, _number(want), text)
    return Element(at, device, ZERO if got == 0 else OTHER, _number(want), _number(got))


def _number(value: float) -> str:
    if isinstance(value, bool) or not math.isfinite(value) or value != int(value):
        return f"{value}" if isinstance(value, bool) else f"{value:g}"
    return str(int(value))
