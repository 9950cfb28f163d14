# SPDX-License-Identifier: Apache-2.0
"""Faults in how the parts of a tensor are put together: their order, and which device's part it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from fuzz.case import Mesh, Sharding
from oracles.models.model import Hypothesis, always, through
from oracles.placement import piece_of
from oracles.scene import Prediction, Scene, pieces


@dataclass(frozen=True, slots=True)
class Cut:
    """A dim of a tensor, and the mesh axes that split it into equal parts."""

    mesh: Mesh
    dim: int
    axes: tuple[str, ...]

    @property
    def pieces(self) -> int:
        return pieces(self.mesh, self.axes)

    def parts(self, whole: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The parts; the last ones of an uneven dim are short or empty."""
        size = -(-whole.shape[self.dim] // self.pieces)
        starts = [min(piece * size, whole.shape[self.dim]) for piece in range(self.pieces + 1)]
        return tuple(whole.narrow(self.dim, a, b - a) for a, b in itertools.pairwise(starts))

    def joined(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat(list(parts), self.dim)

    def __str__(self) -> str:
        return f"dim {self.dim} over {', '.join(self.axes)}"


def cuts(scene: Scene, shape: Sequence[int]) -> Iterator[Cut]:
    """How a tensor of that shape may be split: any of its dims, by any combination of axes that the case uses."""
    every: list[Sharding] = [value.sharding for value in scene.case.inputs]
    every += [node.sharding for node in scene.case.nodes if node.sharding is not None]
    every += [output.sharding for output in scene.case.outputs if output.sharding is not None]
    used = dict.fromkeys(axes for sharding in every for axes in sharding if pieces(scene.mesh, axes) > 1)
    for axes in used:
        for dim, size in enumerate(shape):
            if size > 1:
                yield Cut(scene.mesh, dim, axes)


class Rearranged(Protocol):
    def __call__(self, whole: torch.Tensor, cut: Cut) -> Prediction: ...


def _reordered(whole: torch.Tensor, cut: Cut, order: Callable[[int, int], int]) -> torch.Tensor:
    """The parts in another order: `order` gives for a place and their number the part that stands there."""
    parts = cut.parts(whole)
    return cut.joined([parts[order(place, len(parts))] for place in range(len(parts))])


def _minor_first(whole: torch.Tensor, cut: Cut) -> torch.Tensor:
    sizes = [cut.mesh.sizes[axis] for axis in cut.axes]
    order = torch.arange(cut.pieces).reshape(sizes).permute(*reversed(range(len(sizes)))).flatten().tolist()
    return _reordered(whole, cut, lambda place, _: int(order[place]))


def _own_part(whole: torch.Tensor, cut: Cut) -> dict[int, torch.Tensor]:
    parts = cut.parts(whole)
    return {
        device: cut.joined([parts[piece_of(cut.mesh, cut.axes, device)]] * len(parts))
        for device in range(cut.mesh.size)
    }


def _only_first(whole: torch.Tensor, cut: Cut) -> torch.Tensor:
    first, *others = cut.parts(whole)
    return cut.joined([first, *(torch.zeros_like(part) for part in others)])


def _all_first(whole: torch.Tensor, cut: Cut) -> torch.Tensor:
    parts = cut.parts(whole)
    return cut.joined([parts[0]] * len(parts))


def _last_to_first(whole: torch.Tensor, cut: Cut) -> torch.Tensor:
    return _reordered(whole, cut, lambda place, count: count - 1 - place)


def _from_next(whole: torch.Tensor, cut: Cut) -> torch.Tensor:
    return _reordered(whole, cut, lambda place, count: (place + 1) % count)


def _from_previous(whole: torch.Tensor, cut: Cut) -> torch.Tensor:
    return _reordered(whole, cut, lambda place, _: place - 1)


ORDERS: tuple[tuple[str, str, Rearranged], ...] = (
    ("parts in minor-axis-first order", "its parts stand in the order of the minor axis first", _minor_first),
    ("parts in reverse order", "its parts stand last to first", _last_to_first),
    ("the next device's part", "every device takes the next one's part", _from_next),
    ("the previous device's part", "every device takes the previous one's part", _from_previous),
    ("own part for all", "every device takes its own part for everyone's", _own_part),
    ("first part for all", "every device takes the first one's part", _all_first),
    ("zeros for all parts but the first", "all its parts but the first are zeros", _only_first),
)


def wrong_parts(scene: Scene) -> Iterator[Hypothesis]:
    """What the op reads, or makes, is put together wrongly from the parts of the devices."""
    for model, words, rearranged in ORDERS:
        for position, operand in enumerate(scene.operands if scene.node is not None else ()):
            name = scene.node.operands[position] if scene.node is not None else ""
            for cut in cuts(scene, operand.shape):
                yield Hypothesis(
                    model,
                    partial(_through_op, position=position, cut=cut, rearranged=rearranged),
                    always(f"{name}, {cut}: {words}"),
                )
        for cut in cuts(scene, scene.wanted.shape):
            yield Hypothesis(
                model,
                through(partial(rearranged, cut=cut)),
                always(f"{scene.output}, {cut}: {words}"),
            )


def _through_op(scene: Scene, position: int, cut: Cut, rearranged: Rearranged) -> Prediction:
    changed = rearranged(scene.operands[position], cut)
    if isinstance(changed, torch.Tensor):
        return scene.run(scene.with_operand(position, changed))
    return {device: scene.run(scene.with_operand(position, whole)) for device, whole in changed.items()}


def interleaved(scene: Scene) -> Iterator[Hypothesis]:
    """Pieces that should follow each other are concatenated by each device for itself: their parts alternate."""
    if scene.node is None or scene.node.op not in ("concat", "roll", "tile"):
        return
    itself = "every device joins its own part with itself"
    for cut in cuts(scene, scene.wanted.shape):
        if cut.dim != scene.attributes.get("dim", cut.dim):
            continue
        if scene.node.op == "tile":
            yield Hypothesis("parts interleave", partial(_tiled, cut=cut), always(f"{cut}: {itself}"))
        elif scene.node.op == "roll":
            sentence = f"{cut}: {itself}; the result is a window of that"
            yield Hypothesis("parts interleave", partial(_rolled, cut=cut), always(sentence))
        else:
            sizes = tuple(operand.shape[cut.dim] for operand in scene.operands)
            sentence = f"{cut}: every device joins its own parts of pieces of {', '.join(map(str, sizes))} elements"
            yield Hypothesis("parts interleave", partial(_alternating, cut=cut, sizes=sizes), always(sentence))


def _tiled(scene: Scene, cut: Cut) -> torch.Tensor | None:
    """torch_xla writes tile as a concatenation of the tensor with itself."""
    if scene.operands[0].dim() != scene.wanted.dim():
        return None
    return cut.joined([scene.run((part,)) for part in cut.parts(scene.operands[0])])


def _alternating(scene: Scene, cut: Cut, sizes: tuple[int, ...]) -> torch.Tensor:
    parts = [cut.parts(piece) for piece in torch.split(scene.wanted, list(sizes), cut.dim)]
    return cut.joined([part for together in zip(*parts, strict=True) for part in together])


def _rolled(scene: Scene, cut: Cut) -> torch.Tensor:
    """torch_xla writes roll as a window of the tensor concatenated with itself."""
    size = scene.wanted.shape[cut.dim]
    twice = cut.joined([part for part in cut.parts(scene.operands[0]) for _ in range(2)])
    return twice.narrow(cut.dim, -scene.attributes["shift"] % size, size)


def local_positions(scene: Scene) -> Iterator[Hypothesis]:
    """Positions that count from the start of the shard."""
    dim = scene.attributes.get("dim")
    rank = scene.operands[0].dim() if scene.operands else 0
    # A dim that the op adds is none of the operand's.
    if scene.wanted.is_floating_point() or not isinstance(dim, int) or not -rank <= dim < rank:
        return
    for cut in cuts(scene, scene.operands[0].shape):
        if cut.dim == dim % rank:
            size = -(-scene.operands[0].shape[dim] // cut.pieces)
            yield Hypothesis(
                "positions within the shard",
                through(partial(torch.remainder, other=size)),
                always(f"{cut}: positions count from the start of each shard of {size}"),
            )
