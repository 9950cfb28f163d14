# SPDX-License-Identifier: Apache-2.0
"""The comparison policy: exact where data moves, bounded where it sums, per device; replicas of a part must agree.

PCC is computed because users of the stack know it. It decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from fuzz.case import Case
from oracles.outcome import Mismatch, Outcome, Verdict
from oracles.placement import take_block
from oracles.reference import Expected
from oracles.targets.base import Block, Observation

SAMPLES = 8


def compare(case: Case, expected: Mapping[str, Expected], observation: Observation) -> Outcome:
    """PASS, or WRONG with the wrong elements of every output on every device."""
    mismatches: list[Mismatch] = []
    coefficients = []
    for output, blocks in zip(case.outputs, observation.outputs, strict=True):
        want = expected[output.name]
        wrong_here = [mismatch for block in blocks if (mismatch := _compare_block(output.name, want, block))]
        mismatches += wrong_here
        if wrong_here:
            coefficients.append(min(_pcc(_part(want.values, block), block.values) for block in blocks))
    if mismatches:
        node = case.node(mismatches[0].output)
        wrong, total = sum(m.wrong for m in mismatches), sum(m.total for m in mismatches)
        return Outcome(
            Verdict.WRONG,
            stage="compare",
            message=f"{wrong} of {total} elements wrong on devices {sorted({m.device for m in mismatches})}",
            op=node.op if node is not None else "input",
            operations=observation.operations,
            pcc=min(coefficients),
            mismatches=tuple(mismatches),
            coefficients={
                output.name: _pcc_of_all(expected[output.name].values, blocks)
                for output, blocks in zip(case.outputs, observation.outputs, strict=True)
            },
        )
    disagreement = _disagreeing_replicas(case, observation)
    if disagreement is not None:
        return disagreement
    return Outcome(Verdict.PASS, stage="compare")


def malformed(case: Case, expected: Mapping[str, Expected], observation: Observation) -> Outcome | None:
    """WRONG if what devices returned is no result of this case at all: too little, too much, or something else."""
    if len(observation.outputs) != len(case.outputs):
        message = f"{len(observation.outputs)} of {len(case.outputs)} outputs came back"
        return _no_result(case, case.outputs[0].name, 0, message, observation)
    for output, blocks in zip(case.outputs, observation.outputs, strict=True):
        want = expected[output.name].values
        if sorted(block.device for block in blocks) != list(range(case.mesh.size)):
            present = len({block.device for block in blocks} & set(range(case.mesh.size)))
            message = f"{len(blocks)} results came back, from {present} of {case.mesh.size} devices"
            return _no_result(case, output.name, 0, message, observation)
        for block in blocks:
            if reason := _no_part(want, block):
                return _no_result(case, output.name, block.device, f"device {block.device}: {reason}", observation)
        parts = {block.start: block.values.numel() for block in blocks}
        if (missing := want.numel() - sum(parts.values())) > 0:
            return _no_result(
                case, output.name, 0, f"{missing} of {want.numel()} elements are on no device", observation
            )
    return None


def _no_part(want: torch.Tensor, block: Block) -> str:
    """Why a block cannot be a part of a tensor; empty if it can."""
    shape = tuple(block.values.shape)
    if len(shape) != want.dim() or any(
        first < 0 or first + size > total for first, size, total in zip(block.start, shape, want.shape, strict=True)
    ):
        return f"shape {shape} from {block.start} on is no part of shape {tuple(want.shape)}"
    if block.values.is_floating_point() != want.is_floating_point():
        return f"values of type {block.values.dtype}".replace("torch.", "")
    return ""


def _no_result(case: Case, name: str, device: int, message: str, observation: Observation) -> Outcome:
    node = case.node(name)
    return Outcome(
        Verdict.WRONG,
        stage="compare",
        message=message,
        op=node.op if node is not None else "input",
        operations=observation.operations,
        mismatches=(Mismatch(name, device, 0, 0),),
    )


def same(first: Observation, second: Observation) -> bool:
    """Whether two runs of one case left bit-identical results; positions of NaN included."""
    if _layout(first) != _layout(second):
        return False
    pairs = [
        (one.values, other.values)
        for blocks, others in zip(first.outputs, second.outputs, strict=True)
        for one, other in zip(blocks, others, strict=True)
    ]
    return all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in pairs)


def _layout(observation: Observation) -> list[list[tuple[int, tuple[int, ...], torch.Size]]]:
    return [[(block.device, block.start, block.values.shape) for block in blocks] for blocks in observation.outputs]


def _part(tensor: torch.Tensor, block: Block) -> torch.Tensor:
    return take_block(tensor, block.start, block.values.shape)


def _compare_block(name: str, want: Expected, block: Block) -> Mismatch | None:
    if want.chosen_from is not None:
        right = _acceptable_choice(want, block)
    else:
        right = _close(_part(want.values, block), block.values, want.bound, block)
    if bool(right.all()):
        return None
    wrong = (~right).nonzero()
    part = _part(want.values, block)
    samples = []
    for position in wrong[:SAMPLES].tolist():
        at = tuple(position)
        where = tuple(start + offset for start, offset in zip(block.start, at, strict=True))
        samples.append((str(where), _text(part[at]), _text(block.values[at])))
    return Mismatch(name, block.device, len(wrong), right.numel(), tuple(samples))


def _text(value: torch.Tensor) -> str:
    number = value.item()
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def _close(want: torch.Tensor, got: torch.Tensor, bound: torch.Tensor | None, block: Block) -> torch.Tensor:
    if not want.is_floating_point():
        return want == got
    wide = got.double()
    equal = (wide == want) | (wide.isnan() & want.isnan())
    if bound is None:
        return equal
    return equal | ((wide - want).abs() <= _part(bound, block))


def _acceptable_choice(want: Expected, block: Block) -> torch.Tensor:
    """Any position holding the right value is right; topk and sort must not name a position twice."""
    source, dim = want.chosen_from, want.chosen_dim
    if source is None:
        raise ValueError("no ties to judge")
    dropped = want.values.dim() < source.dim()  # argmax without keepdim
    got, named = block.values.long(), _part(want.values, block)
    if dropped:
        got, named = got.unsqueeze(dim), named.unsqueeze(dim)
    start = list(block.start)
    if dropped:
        start.insert(dim, 0)
    lines = source[
        tuple(
            slice(None) if d == dim else slice(first, first + size)
            for d, (first, size) in enumerate(zip(start, got.shape, strict=True))
        )
    ]
    in_range = (got >= 0) & (got < source.shape[dim])
    chosen = lines.gather(dim, got.clamp(0, source.shape[dim] - 1))
    right = in_range & (chosen == lines.gather(dim, named))
    if got.shape[dim] > 1:
        ordered, order = got.sort(dim)
        repeats = torch.zeros_like(ordered, dtype=torch.bool)
        length = ordered.shape[dim]
        repeats.narrow(dim, 1, length - 1).copy_(
            ordered.narrow(dim, 1, length - 1) == ordered.narrow(dim, 0, length - 1)
        )
        right &= ~torch.zeros_like(repeats).scatter(dim, order, repeats)
    return right.squeeze(dim) if dropped else right


def _disagreeing_replicas(case: Case, observation: Observation) -> Outcome | None:
    """Within a bound, replicas of one part may be differently wrong; they must still be bit-identical."""
    for output, blocks in zip(case.outputs, observation.outputs, strict=True):
        first_at: dict[tuple[int, ...], Block] = {}
        for block in blocks:
            first = first_at.setdefault(block.start, block)
            differs = first.values != block.values
            both_nan = first.values.isnan() & block.values.isnan() if block.values.is_floating_point() else differs
            count = int((differs & ~both_nan if block.values.is_floating_point() else differs).sum())
            if count:
                node = case.node(output.name)
                return Outcome(
                    Verdict.WRONG,
                    stage="compare",
                    message=f"replicas on devices {first.device} and {block.device} disagree in {count} elements",
                    op=node.op if node is not None else "input",
                    operations=observation.operations,
                    mismatches=(Mismatch(output.name, block.device, count, block.values.numel()),),
                )
    return None


def _pcc_of_all(want: torch.Tensor, blocks: Sequence[Block]) -> float:
    """PCC of an output on all devices together."""
    pairs = [(_part(want, block).flatten(), block.values.flatten()) for block in blocks]
    return _pcc(torch.cat([part for part, _ in pairs]), torch.cat([values for _, values in pairs]))


def _pcc(want: torch.Tensor, got: torch.Tensor) -> float:
    """Pearson correlation of two tensors; 1.0 for equal constants, 0.0 where it is not defined."""
    a, b = want.double().flatten(), got.double().flatten()
    if a.numel() == 0 or torch.equal(a, b):
        return 1.0
    a, b = a - a.mean(), b - b.mean()
    scale = float(a.norm() * b.norm())
    value = float(a @ b) / scale if scale else 0.0
    return value if math.isfinite(value) else 0.0
