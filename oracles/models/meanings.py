# SPDX-License-Identifier: Apache-2.0
"""Faults in which another operation is computed: overwriting for adding, sums for extrema, transposed dims."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import torch

from fuzz.ops.core import Accumulates, Selects
from oracles.models.model import Hypothesis, always, through
from oracles.scene import Scene

# Written with torch's scatter, which takes one of several values for an element: on the CPU the last.
ALONG_DIM = ("scatter_add", "scatter_reduce_sum", "scatter_reduce_prod", "scatter_reduce_mean",
             "scatter_reduce_amin", "scatter_reduce_amax")  # fmt: skip
REDUCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "sum": lambda x, dim, keepdim: x.sum(dim, keepdim=keepdim),
    "amax": lambda x, dim, keepdim: x.amax(dim, keepdim=keepdim),
    "amin": lambda x, dim, keepdim: x.amin(dim, keepdim=keepdim),
    "mean": lambda x, dim, keepdim: x.mean(dim, keepdim=keepdim),
}
SCATTERS = ("sum", "prod", "amin", "amax")


def overwrites(scene: Scene) -> Iterator[Hypothesis]:
    """A write that should accumulate replaces: what was there is lost, or all values for a place but one."""
    if scene.op is None or not isinstance(scene.op.semantics, Accumulates | Selects) or not scene.op.indices:
        return
    for reverse in (False, True):
        kept = "first" if reverse else "last"
        yield Hypothesis(
            "overwrites instead of accumulating",
            partial(_overwritten, reverse=reverse, onto_base=False),
            always(f"{scene.op.name} overwrites: of the base and all values for a place only the {kept} value is kept"),
        )
        yield Hypothesis(
            "duplicates overwrite",
            partial(_overwritten, reverse=reverse, onto_base=True),
            always(f"of several values for one place only the {kept} takes part"),
        )


def _overwritten(scene: Scene, reverse: bool, onto_base: bool) -> torch.Tensor | None:
    """The write in order of its values, one at a time."""
    if scene.op is None or scene.node is None:
        return None
    name, (base, *indices, source) = scene.op.name, scene.operands
    start = torch.zeros_like(base) if onto_base else base
    dim = scene.attributes.get("dim", 0)
    if name == "index_add":
        result = start
        order = range(len(indices[0]))
        for at in reversed(order) if reverse else order:
            result = result.index_copy(dim, indices[0][at : at + 1], source.narrow(dim, at, 1))
    elif name in ALONG_DIM:
        result = start
        order = range(indices[0].shape[dim])
        for at in reversed(order) if reverse else order:
            index = indices[0].narrow(dim, at, 1)
            part = source.narrow(dim, at, 1)
            result = result.scatter(dim, index, part)
    elif name == "index_put_accumulate":
        result = start.index_put(tuple(indices), source)
    else:
        return None
    return base + result if onto_base else result


def another_reduction(scene: Scene) -> Iterator[Hypothesis]:
    """Sums for extrema and the like."""
    if scene.op is None:
        return
    name = scene.op.name
    if name in (*REDUCTIONS, "prod"):
        for other, reduction in REDUCTIONS.items():
            if other != name:
                yield Hypothesis(
                    f"{other} instead of {name}",
                    partial(_reduced, reduction=reduction),
                    always(f"{other} is computed instead of {name}"),
                )
    for other in SCATTERS if name.startswith("scatter_reduce") else ():
        if not name.endswith(other):
            yield Hypothesis(
                f"{other} instead of {name.removeprefix('scatter_reduce_')}",
                partial(_scattered_otherwise, how=other),
                always(f"{other} is computed instead of {name}"),
            )


def _reduced(scene: Scene, reduction: Callable[..., torch.Tensor]) -> torch.Tensor:
    return reduction(scene.operands[0], scene.attributes["dim"], scene.attributes["keepdim"])


def _permuted(result: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    return result.permute(order).reshape(result.shape)


def _scattered_otherwise(scene: Scene, how: str) -> torch.Tensor:
    base, index, source = scene.operands
    include = scene.attributes["include_self"]
    return base.scatter_reduce(scene.attributes["dim"], index, source, how, include_self=include)


def transposed(scene: Scene) -> Iterator[Hypothesis]:
    """Dims of the result, or of what the op reads, in another order."""
    if scene.node is not None and scene.node.op == "permute":
        inverse = tuple(int(dim) for dim in torch.tensor(scene.attributes["dims"]).argsort())
        yield Hypothesis(
            "inverse permutation",
            lambda scene: scene.operands[0].permute(inverse).reshape(scene.wanted.shape),
            always(f"dims are permuted by {list(inverse)}, the inverse of what is asked for"),
        )
    dims = range(scene.wanted.dim())
    for order in itertools.permutations(dims):
        if order != tuple(dims) and 1 < len(order) <= 4:
            yield Hypothesis(
                "dims transposed",
                through(partial(_permuted, order=order)),
                always(f"the elements lie as if the dims of the result were ordered {list(order)}"),
            )
