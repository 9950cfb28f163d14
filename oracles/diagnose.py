# SPDX-License-Identifier: Apache-2.0
"""What went wrong, in words: fault models that predict a wrong output, and what its elements really are.

A model explains an output only if it predicts every element of it, right ones too, on all devices. It reads nothing
but the case, the right values and what the devices hold. To add a model, write its hypotheses and list it in MODELS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fuzz.case import Case, Mesh, Node, Sharding, shard_counts
from fuzz.ops.core import Moves, call, get
from oracles.outcome import UNEXPLAINED
from oracles.reference import Expected
from oracles.stages.numerics import round_significand
from oracles.targets.base import Block, Outputs

SIGNIFICANDS = (24, 11, 8)  # f32, what a matrix unit keeps of it, bf16


@dataclass(frozen=True, slots=True)
class Scene:
    """One wrong output of an op that moves data: what the op read, what it should have made, and what it made."""

    case: Case
    node: Node
    operands: tuple[torch.Tensor, ...]  # right values; floats as float64
    wanted: torch.Tensor
    got: torch.Tensor

    @property
    def semantics(self) -> Moves:
        """Which operands are data, and which constant is written."""
        semantics = get(self.node.op).semantics
        if not isinstance(semantics, Moves):
            raise TypeError(f"{self.node.op} does not move data")
        return semantics

    @property
    def wrong(self) -> torch.Tensor:
        """Which elements are."""
        return self.wanted != self.got

    def again(self, replaced: Mapping[int, torch.Tensor], **attributes: Any) -> torch.Tensor:
        """The op on the same indices, with other data operands and attributes."""
        operands = [replaced.get(position, operand) for position, operand in enumerate(self.operands)]
        return call(get(self.node.op), operands, self.node.keywords | attributes, "cpu")


Hypotheses = Callable[[Scene], Iterator[str]]  # the sentence of each hypothesis that predicts the output


def diagnose(case: Case, expected: Mapping[str, Expected], outputs: Outputs) -> str:
    """One sentence: what happened to the first wrong output, or `unexplained` and what its first wrong element is."""
    scene = first_wrong(case, expected, outputs)
    if scene is None:
        return UNEXPLAINED
    for hypotheses in MODELS:
        for sentence in hypotheses(scene):
            return sentence
    return f"{UNEXPLAINED}{_first_misread(scene)}"


def first_wrong(case: Case, expected: Mapping[str, Expected], outputs: Outputs) -> Scene | None:
    """The first node whose output is wrong and should be an exact copy of what it read; None if there is none."""
    whole = {
        output.name: (expected[output.name].values, assembled(expected[output.name].values, blocks))
        for output, blocks in zip(case.outputs, outputs, strict=True)
    }
    for node in case.nodes:
        if node.name not in whole:
            continue
        wanted, got = whole[node.name]
        moved = isinstance(get(node.op).semantics, Moves) and expected[node.name].exact
        if moved and got is not None and not torch.equal(wanted, got):
            return Scene(case, node, tuple(expected[name].values for name in node.operands), wanted, got)
    return None


def assembled(like: torch.Tensor, blocks: Sequence[Block]) -> torch.Tensor | None:
    """The whole output from the parts of the devices, in the dtype of `like`; None if replicas differ."""
    whole = torch.zeros_like(like)
    parts = [
        (tuple(slice(at, at + size) for at, size in zip(b.start, b.values.shape, strict=True)), b.values.to(like.dtype))
        for b in blocks
    ]
    for place, values in parts:
        whole[place] = values
    return whole if all(torch.equal(whole[place], values) for place, values in parts) else None


# --- reads: where elements come from ----------------------------------------------------------------------------------


def read_from(scene: Scene) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The table that the op reads, and for each result element the flat position in it that should be read.

    None if the op writes, or if the table's values do not tell its elements apart: then nothing is certain.
    """
    data = scene.semantics.data
    if len(data) != 1 or scene.semantics.constant is not None:
        return None
    table = scene.operands[data[0]]
    ordered = table.flatten().sort().values
    if bool((ordered[1:] == ordered[:-1]).any()):
        return None
    return table, scene.again({data[0]: torch.arange(table.numel()).reshape(table.shape)})


def _rounded_index(scene: Scene) -> Iterator[str]:
    """The flat index into the table passes through a float: it is rounded to some significant bits."""
    read = read_from(scene)
    if read is None:
        return
    table, positions = read
    for bits in SIGNIFICANDS:
        for half_up in (True, False):
            rounded = round_significand(positions.double(), bits, half_up).long().clamp(max=table.numel() - 1)
            if _reads(scene, table, rounded):
                first = tuple(scene.wrong.nonzero()[0])
                yield f"flat index {int(positions[first])} became {int(rounded[first])}: {bits} significant bits"


def _unshifted_rows(scene: Scene) -> Iterator[str]:
    """Every shard reads rows of the table as if it were the first: its offset is missing."""
    read = read_from(scene)
    if read is None:
        return
    table, positions = read
    for cut in _cuts(scene):
        for dim, size in enumerate(table.shape):
            offsets, stride = cut.offsets(scene.got), math.prod(table.shape[dim + 1 :])
            inside = bool((positions // stride % size >= offsets).all())
            if inside and _reads(scene, table, positions - offsets * stride):
                yield cut.sentence(scene.wrong)


def _reads(scene: Scene, table: torch.Tensor, positions: torch.Tensor) -> bool:
    return torch.equal(table.flatten()[positions], scene.got)


# --- writes: where elements go to -------------------------------------------------------------------------------------


def _unshifted_writes(scene: Scene) -> Iterator[str]:
    """Every shard writes to the rows of the first one: its offset is missing."""
    base, meant = _written(scene)
    if base is None or not meant.any():
        return
    for cut in _cuts(scene):
        rows = meant.movedim(cut.dim, 0)
        parts = torch.zeros(cut.pieces * cut.size, *rows.shape[1:], dtype=torch.bool)
        parts[: len(rows)] = rows
        together = parts.reshape(cut.pieces, cut.size, *rows.shape[1:]).any(0)[: len(rows)]
        predicted = torch.zeros_like(rows)
        predicted[: len(together)] = together
        shifted = not torch.equal(predicted, rows)
        if shifted and torch.equal(predicted.movedim(0, cut.dim), scene.got != base):
            yield cut.sentence(scene.wrong)


def _written(scene: Scene) -> tuple[torch.Tensor | None, torch.Tensor]:
    """What is written into, and which elements should be; no base for an op that writes nothing, or unseen."""
    semantics, nothing = scene.semantics, torch.zeros((), dtype=torch.bool)
    if not semantics.data or (len(semantics.data) == 1 and semantics.constant is None):
        return None, nothing
    base = scene.operands[semantics.data[0]]
    if base.shape != scene.wanted.shape:
        return None, nothing
    ones = {position: torch.ones_like(scene.operands[position]) for position in semantics.data[1:]}
    constant = {} if semantics.constant is None else {semantics.constant: 1}
    meant = scene.again({semantics.data[0]: torch.zeros_like(base)} | ones, **constant) != 0
    # A value that the base holds already would leave no trace.
    return (base, meant) if bool((scene.wanted[meant] != base[meant]).all()) else (None, nothing)


# --- shards -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cut:
    """A dim of the result, and the mesh axes over which the work on it is split."""

    mesh: Mesh
    dim: int
    axes: tuple[str, ...]
    pieces: int
    size: int  # of a piece

    def offsets(self, result: torch.Tensor) -> torch.Tensor:
        """For each element of the result, the first row of the shard that makes it."""
        shape = [-1 if dim == self.dim else 1 for dim in range(result.dim())]
        return (torch.arange(result.shape[self.dim]) // self.size * self.size).reshape(shape)

    def sentence(self, wrong: torch.Tensor) -> str:
        """Who used whose offset."""
        rows = wrong.movedim(self.dim, 0).flatten(1).any(1).nonzero().flatten() if wrong.dim() > 1 else wrong.nonzero()
        shards = sorted({int(row) // self.size for row in rows} - {0})
        place = {self.mesh.axes[:1]: "mesh row", self.mesh.axes[1:]: "mesh column"}.get(self.axes, "shard")
        plural = "" if len(shards) == 1 else "s"
        return f"{place}{plural} {spans(shards)} used {place} 0's offset"


def _cuts(scene: Scene) -> Iterator[_Cut]:
    """How the result may be split: as the case asks, else as the operands that have a dim of the same extent are."""
    shape = scene.got.shape
    output = next(output for output in scene.case.outputs if output.name == scene.node.name)
    asked: list[Sharding] = [sharding for sharding in (output.sharding, scene.node.sharding) if sharding is not None]
    asked += [value.sharding for value in scene.case.inputs if _alike(value.spec.shape, value.sharding, shape)]
    splits = [(dim, axes) for sharding in asked for dim, axes in enumerate(sharding) if axes and dim < len(shape)]
    for dim, axes in dict.fromkeys(splits):
        (pieces,) = shard_counts((axes,), scene.case.mesh)
        if pieces > 1:
            yield _Cut(scene.case.mesh, dim, axes, pieces, -(-shape[dim] // pieces))


def _alike(shape: Sequence[int], sharding: Sharding, other: Sequence[int]) -> bool:
    """Whether each sharded dim has the extent it has in the other shape."""
    return all(not axes or other[dim : dim + 1] == shape[dim : dim + 1] for dim, axes in enumerate(sharding))


def spans(numbers: Sequence[int]) -> str:
    """1-3, 5 for 1, 2, 3, 5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


# --- what is known without a model ------------------------------------------------------------------------------------


def misread(scene: Scene) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None]]:
    """For each wrong element of a read: its place, the place it should come from, and the one it does come from.

    None for the last where the value is not the table's at all.
    """
    read = read_from(scene)
    if read is None:
        return
    table, positions = read
    values, order = table.flatten().sort()
    for place in scene.wrong.nonzero().tolist():
        at = tuple(place)
        found = min(int(torch.searchsorted(values, scene.got[at])), len(values) - 1)
        source = int(order[found]) if values[found] == scene.got[at] else None
        yield at, _coordinates(int(positions[at]), table), None if source is None else _coordinates(source, table)


def _coordinates(position: int, table: torch.Tensor) -> tuple[int, ...]:
    return tuple(int(part) for part in torch.unravel_index(torch.tensor(position), table.shape))


def _first_misread(scene: Scene) -> str:
    for at, wanted, got in misread(scene):
        table = scene.node.operands[scene.semantics.data[0]]
        source = f"{table}{list(got)}" if got is not None else f"{scene.got[at].item()}, which is nowhere in {table}"
        return f": element {list(at)} is {source}, not {table}{list(wanted)}"
    return ""


MODELS: tuple[Hypotheses, ...] = (_unshifted_rows, _unshifted_writes, _rounded_index)
