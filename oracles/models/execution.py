# SPDX-License-Identifier: Apache-2.0
"""Faults of partitioning: each device runs the op on its own parts as if they were the whole tensors.

Which operands a device has in part, whether indices were shifted to its part, and how the results are put together, is
what the hypotheses differ in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from fuzz.case import Mesh, Sharding, shard_counts
from oracles.models.model import Hypothesis
from oracles.models.outside import OUTSIDE, Outside, counted_from_start, run_outside, writes
from oracles.placement import block_shape, block_start, piece_of, take_block
from oracles.scene import Prediction, Scene, pieces

# Every device's result is its part of the whole; its own part is cut out of it; results are added up; each device goes
# on from the result of the one before it.
Together = Literal["placed", "cut out", "added", "in turn"]
TOGETHER: tuple[Together, ...] = ("placed", "cut out", "added", "in turn")
# Attributes that hold a position along `dim`.
POSITIONS = ("start", "end")


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which the work may have been split."""

    layouts: tuple[Sharding, ...]  # of the operands; one that is whole is not sharded
    result: Sharding
    together: Together
    outside: Outside
    shift: int = 0  # how many times the start of a device's part is taken off its indices; once is right
    divided: bool = False  # positions in attributes are divided by the number of parts

    def local(self, scene: Scene, device: int) -> torch.Tensor:
        """What a device computes."""
        if scene.op is None:
            return _part(scene.operands[0], self.layouts[0], scene.mesh, device)
        whole = counted_from_start(scene.op, scene.operands, scene.attributes)
        parts = [
            _part(value, layout, scene.mesh, device) for value, layout in zip(whole, self.layouts, strict=True)
        ]  # fmt: skip
        for position, addressed in scene.op.indices if self.shift else ():
            data = scene.op.data[0]
            dim = scene.attributes["dim"] if addressed == "dim" else addressed
            if isinstance(dim, int):
                start = block_start(whole[data].shape, self.layouts[data], scene.mesh, device)
                parts[position] = parts[position] - self.shift * start[dim]
        attributes = scene.attributes | self._attributes(scene)
        if scene.op.name == "one_hot":
            # A scatter into zeros with the numbers of its lines: those that a part of the zeros lacks are lost.
            lines = block_shape(scene.wanted.shape, self.result, scene.mesh)[:-1]
            parts[0] = parts[0][tuple(slice(size) for size in lines)]
        elif scene.op.name == "select_scatter":
            # A dynamic_update_slice: a start past the end is the last one there is (StableHLO spec).
            attributes["index"] = min(attributes["index"], parts[0].shape[attributes["dim"]] - 1)
        return run_outside(scene.op, parts, attributes, self.outside)

    def _attributes(self, scene: Scene) -> dict[str, Any]:
        counts = shard_counts(self.result, scene.mesh)
        changed: dict[str, Any] = {}
        for key, value in scene.attributes.items():
            if key == "shape" and isinstance(value, tuple) and len(value) == len(counts):
                changed[key] = tuple(-(-size // count) for size, count in zip(value, counts, strict=True))
            elif key == "classes" and isinstance(value, int) and counts:
                changed[key] = -(-value // counts[-1])
            elif key in POSITIONS and isinstance(value, int) and self.divided:
                changed[key] = value // counts[scene.attributes["dim"]]
        return changed

    def predict(self, scene: Scene) -> Prediction | None:
        """What the devices hold in the end."""
        shape, mesh = scene.wanted.shape, scene.mesh
        if self.together == "in turn":
            return self._in_turn(scene)
        results = [self.local(scene, device) for device in range(mesh.size)]
        if self.together == "added":
            return self._added(scene, results)
        if self.together == "cut out":
            if any(result.shape != shape for result in results):
                return None
            results = [_part(result, self.result, mesh, device) for device, result in enumerate(results)]
        if not any(self.result):
            return dict(enumerate(results)) if all(result.shape == shape for result in results) else None
        return self._placed(scene, results)

    def _placed(self, scene: Scene, results: list[torch.Tensor]) -> torch.Tensor | None:
        whole = torch.zeros_like(scene.wanted)
        for device, result in enumerate(results):
            if result.shape != _part(scene.wanted, self.result, scene.mesh, device).shape:
                return None
            start = block_start(scene.wanted.shape, self.result, scene.mesh, device)
            place = tuple(slice(at, at + size) for at, size in zip(start, result.shape, strict=True))
            whole[place] = result.to(whole.dtype)
        return whole

    def _added(self, scene: Scene, results: list[torch.Tensor]) -> torch.Tensor | None:
        """Over the axes by which the operands are split: replicas of a part count once."""
        split = {axis for layout in self.layouts for axes in layout for axis in axes}
        chosen = [
            result
            for device, result in enumerate(results)
            if not any(at for axis, at in scene.mesh.coordinate(device).items() if axis not in split)
        ]
        if any(result.shape != scene.wanted.shape for result in chosen):
            return None
        if scene.wanted.dtype == torch.bool:
            return torch.stack(chosen).any(0)
        return torch.stack(chosen).sum(0).to(scene.wanted.dtype)

    def _in_turn(self, scene: Scene) -> torch.Tensor | None:
        if scene.op is None or not writes(scene.op) or any(self.layouts[scene.op.data[0]]):
            return None
        base = scene.op.data[0]
        result = scene.operands[base]
        for device in range(scene.mesh.size):
            whole = counted_from_start(scene.op, scene.operands, scene.attributes)
            parts = [_part(v, layout, scene.mesh, device) for v, layout in zip(whole, self.layouts, strict=True)]
            parts[base] = result
            result = run_outside(scene.op, parts, scene.attributes, self.outside)
        return result

    def model(self, scene: Scene) -> str:
        """What this way does wrong."""
        if not (scene.op is not None and (scene.op.indices or scene.op.name == "one_hot")):
            if self.divided:
                return "positions divided among the shards"
            return "partial results added up" if self.together == "added" else "each shard alone"
        if self.together == "added" and scene.op is not None and writes(scene.op) and not self._misses_lines(scene):
            return "partial results added up"
        if self.shift > 1:
            return "wrong shard offset"
        if self.shift:
            return f"positions outside of a shard {self.outside}"
        return "shard offset missing"

    def _misses_lines(self, scene: Scene) -> bool:
        """Whether an index is split along a dim whose own positions count, as in x.scatter(1, index) along dim 0."""
        indices = scene.op.indices if scene.op is not None else ()
        dims = [dim for position, _ in indices for dim, axes in enumerate(self.layouts[position]) if axes]
        return any(dim != scene.attributes.get("dim", 0) for dim in dims)


def alone(scene: Scene) -> Iterator[Hypothesis]:
    """Each device computes on its own parts, and nothing passes between devices."""
    for way in ways(scene):
        yield Hypothesis(way.model(scene), way.predict, partial(_sentence, way=way))


def ways(scene: Scene) -> Iterator[Way]:
    """All ways that the layouts in the case suggest, fewest parts first."""
    options = [
        _layouts(layout, scene, value.shape) for layout, value in zip(scene.layouts, scene.operands, strict=True)
    ]
    if scene.op is None or (not any(len(layouts) > 1 for layouts in options) and not any(scene.demanded or ())):
        return
    shifts = sorted({0, 1, *scene.mesh.shape}) if scene.op.indices else [0]
    outsides = OUTSIDE if scene.op.indices or scene.op.name == "one_hot" else OUTSIDE[:1]
    divisions = (False, True) if "dim" in scene.attributes and "start" in scene.attributes else (False,)
    assignments = sorted(itertools.product(*options), key=lambda layouts: sum(any(layout) for layout in layouts))
    results = _results(scene)
    for layouts, result, together in itertools.product(assignments, results, TOGETHER):
        if not any(map(any, layouts)) and not any(result):
            continue
        if together == "added" and not _partial(scene, layouts):
            continue
        for shift, outside, divided in itertools.product(shifts, outsides, divisions):
            if not (shift == 1 and outside == "dropped" and together == "placed"):  # that is right
                yield Way(tuple(layouts), result, together, outside, shift, divided)


def _partial(scene: Scene, layouts: Sequence[Sharding]) -> bool:
    """Whether results on these parts are shares of a sum: not where each is another piece of the result."""
    if scene.op is None or not scene.op.indices:
        return True
    whole = (scene.op.data[0],) if writes(scene.op) else tuple(position for position, _ in scene.op.indices)
    return not any(any(layouts[position]) for position in whole)


def _layouts(layout: Sharding, scene: Scene, shape: Sequence[int]) -> list[Sharding]:
    """A value may lie as it is split, or whole; one that nothing is said of may follow the output, or an input."""
    candidates = [layout, scene.demanded]
    if not any(layout):
        candidates += [v.sharding for v in scene.case.inputs if _alike(v.spec.shape, v.sharding, shape)]
    fitting = [c for c in candidates if c is not None and len(c) == len(shape) and _splits(c, scene.mesh)]
    return list(dict.fromkeys([((),) * len(shape), *fitting]))


def _alike(shape: Sequence[int], sharding: Sharding, other: Sequence[int]) -> bool:
    """Whether each split dim has the extent it has in the other shape."""
    return all(not axes or other[dim : dim + 1] == shape[dim : dim + 1] for dim, axes in enumerate(sharding))


def _results(scene: Scene) -> list[Sharding]:
    rank = scene.wanted.dim()
    found = [candidate for candidate in (scene.demanded, *scene.layouts) if candidate is not None]
    whole: Sharding = ((),) * rank
    fitting = [sharding for sharding in found if len(sharding) == rank and _splits(sharding, scene.mesh)]
    # Dims that the op removes or adds shift the others.
    fitting += [
        tuple(sharding[:dim] + sharding[dim + 1 :])
        for sharding in scene.layouts
        for dim in range(len(sharding))
        if len(sharding) == rank + 1
    ]
    return list(dict.fromkeys([*fitting, whole]))


def _splits(sharding: Sharding, mesh: Mesh) -> bool:
    return any(pieces(mesh, axes) > 1 for axes in sharding)


def _part(value: torch.Tensor, layout: Sharding, mesh: Mesh, device: int) -> torch.Tensor:
    if not any(layout):
        return value
    start = block_start(value.shape, layout, mesh, device)
    return take_block(value, start, block_shape(value.shape, layout, mesh))


def _sentence(scene: Scene, way: Way) -> str:
    name = scene.op.name if scene.op is not None else ""
    parts = [
        f"{operand} over {', '.join(dict.fromkeys(axis for axes in layout for axis in axes))}"
        for operand, layout in zip(scene.node.operands if scene.node is not None else (), way.layouts, strict=True)
        if any(layout)
    ]
    split = " and ".join(parts) or f"{scene.output} over {', '.join(axis for axes in way.result for axis in axes)}"
    if way.model(scene) == "shard offset missing":
        return _offset_sentence(scene, way)
    if way.model(scene) == "wrong shard offset":
        return f"{split}: a device takes {way.shift} times the offset of its part off its indices"
    if way.shift:
        return f"{split}: positions outside of a shard are {way.outside}"
    if way.together == "added" and scene.op is not None and writes(scene.op):
        return f"{split}: every device does its part of {name} on a copy of the whole base, and the copies are added up"
    if way.together == "added":
        return f"{split}: every device computes {name} on its part, and the results are added up"
    if way.divided:
        return f"{split}: positions are divided among the shards"
    return f"{split}: each shard is taken alone for {name}, nothing passes between them"


def _offset_sentence(scene: Scene, way: Way) -> str:
    """Who used whose offset."""
    layout = next((layout for layout in (way.result, *way.layouts) if any(layout)), ())
    axes = next(axes for axes in layout if axes)
    place = {scene.mesh.axes[:1]: "mesh row", scene.mesh.axes[1:]: "mesh column"}.get(axes, "shard")
    wrong = sorted({piece_of(scene.mesh, axes, device) for device in _wrong_devices(scene, layout)} - {0})
    if not wrong:
        return f"every {place} used {place} 0's offset"
    return f"{place}{'' if len(wrong) == 1 else 's'} {spans(wrong)} used {place} 0's offset"


def _wrong_devices(scene: Scene, layout: Sharding) -> Iterator[int]:
    """Devices whose part, in a layout of the result, has a wrong element."""
    wrong = torch.zeros_like(scene.wanted, dtype=torch.bool)
    for block in scene.blocks:
        place = tuple(slice(at, at + size) for at, size in zip(block.start, block.values.shape, strict=True))
        wrong[place] |= ~scene.right(block)
    if len(layout) != wrong.dim():
        return
    for device in range(scene.mesh.size):
        if bool(_part(wrong, layout, scene.mesh, device).any()):
            yield device


def spans(numbers: list[int]) -> str:
    """1-3, 5 for 1, 2, 3, 5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
