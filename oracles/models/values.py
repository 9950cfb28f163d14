# SPDX-License-Identifier: Apache-2.0
"""Faults that leave elements in their places: lost digits, lost bases and constants, counts, padding, stale rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import torch

from fuzz.ops.core import Accumulates, Moves, Selects
from oracles.models.model import SIGNIFICANDS, Hypothesis, always, through
from oracles.models.outside import writes
from oracles.scene import Scene, pieces
from oracles.stages.numerics import round_significand

TILE = 32  # rows and columns of a tile of the TT chips; what a tensor does not fill is padding


def rounded_values(scene: Scene) -> Iterator[Hypothesis]:
    """The result, or what the op read, goes through a float."""
    for bits, half_up in itertools.product(SIGNIFICANDS, (False, True)):
        change = partial(_narrowed, bits=bits, half_up=half_up)
        yield Hypothesis(f"values {bits} significant bits", through(change), partial(_first_rounded, change=change))
        if scene.op is not None and not isinstance(scene.op.semantics, Moves):  # what is moved may be rounded after
            yield Hypothesis(
                f"values {bits} significant bits",
                partial(_read_rounded, change=change),
                always(f"what {scene.op.name} reads is rounded to {bits} significant bits"),
            )


def _narrowed(value: torch.Tensor, bits: int, half_up: bool) -> torch.Tensor:
    rounded = round_significand(value.double(), bits, half_up)
    return rounded if value.is_floating_point() else rounded.to(value.dtype)


def _first_rounded(scene: Scene, change: partial[torch.Tensor]) -> str:
    rounded = change(scene.wanted)
    changed = scene.wanted != rounded
    before, after = scene.wanted[changed][0].item(), rounded[changed][0].item()
    return f"{before:.10g} became {after:.10g}: {change.keywords['bits']} significant bits"


def _read_rounded(scene: Scene, change: partial[torch.Tensor]) -> torch.Tensor:
    data = scene.op.data if scene.op is not None else ()
    operands = tuple(
        change(value) if position in data and value.dtype != torch.bool else value
        for position, value in enumerate(scene.operands)
    )
    return scene.run(operands)


def truth_value(scene: Scene) -> Iterator[Hypothesis]:
    """A count that became a truth value."""
    if scene.op is None or isinstance(scene.op.semantics, Moves):
        return
    yield Hypothesis(
        "truth values",
        through(lambda wanted: (wanted != 0).to(wanted.dtype)),
        always("every result other than 0 became 1"),
    )


def counted_again(scene: Scene) -> Iterator[Hypothesis]:
    """A result that is whole already is summed over devices once more."""
    for axes in _axes(scene):
        count = pieces(scene.mesh, axes)
        yield Hypothesis(
            "whole results summed over devices",
            through(partial(torch.mul, other=count)),
            always(f"whole results are summed over mesh axis {' and '.join(axes)}: each counts {count} times"),
        )


def _axes(scene: Scene) -> Iterator[tuple[str, ...]]:
    used = tuple(axis for axis in scene.mesh.axes if scene.mesh.sizes[axis] > 1)
    yield from ((axis,) for axis in used)
    if len(used) > 1:
        yield used


def lost_constant(scene: Scene) -> Iterator[Hypothesis]:
    """The op's constant is taken for zero."""
    name = getattr(scene.op.semantics, "constant", None) if scene.op is not None else None
    if name is not None:
        yield Hypothesis(
            "constant lost",
            lambda scene: scene.run(scene.operands, **{name: 0}),
            always(f"{name}={scene.attributes[name]} became 0"),
        )


def lost_base(scene: Scene) -> Iterator[Hypothesis]:
    """What is written into is taken for zeros."""
    if scene.op is None or not writes(scene.op):
        return
    base = scene.op.data[0]
    name = scene.node.operands[base] if scene.node is not None else ""
    yield Hypothesis(
        "base lost",
        lambda scene: scene.run(scene.with_operand(base, torch.zeros_like(scene.operands[base]))),
        always(f"{name} is lost: the result starts from zeros"),
    )
    yield Hypothesis(
        "writes lost", lambda scene: scene.operands[base], always(f"nothing is written: the result is {name}")
    )


def stale_rows(scene: Scene) -> Iterator[Hypothesis]:
    """The last line of a result is never written and reads as zeros."""
    for dim, size in enumerate(scene.wanted.shape):

        def predict(scene: Scene, dim: int = dim) -> torch.Tensor:
            result = scene.wanted.clone()
            result.narrow(dim, result.shape[dim] - 1, 1).zero_()
            return result

        if size:
            yield Hypothesis(
                "last line never written", predict, always(f"the last line along dim {dim} is never written: zeros")
            )


def padding(scene: Scene) -> Iterator[Hypothesis]:
    """What fills up tiles, or shards, takes part in a reduction."""
    if scene.op is None or not isinstance(scene.op.semantics, Accumulates | Selects) or len(scene.operands) != 1:
        return
    dims = scene.attributes.get("dim")
    for dim in dims if isinstance(dims, tuple) else (dims,):
        if not isinstance(dim, int) or scene.operands[0].dim() == 0:
            continue
        for value in (0, 1):
            for unit in (TILE, *(pieces(scene.mesh, axes) for axes in _axes(scene))):
                missing = -scene.operands[0].shape[dim] % unit
                if missing:
                    yield Hypothesis(
                        "padding leaks in",
                        partial(_padded, dim=dim, missing=missing, value=value),
                        always(f"padding takes part: {missing} times {value} along dim {dim}"),
                    )


def _padded(scene: Scene, dim: int, missing: int, value: int) -> torch.Tensor:
    data = scene.operands[0]
    shape = list(data.shape)
    shape[dim] = missing
    result = scene.run((torch.cat([data, torch.full(shape, value, dtype=data.dtype)], dim),))
    return result.narrow(dim, 0, scene.wanted.shape[dim]) if result.shape != scene.wanted.shape else result
