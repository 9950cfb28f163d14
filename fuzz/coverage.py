# SPDX-License-Identifier: Apache-2.0
"""What a case exercises: op x dtype x sharding x boundary, in few enough words to count."""

from __future__ import annotations

from bisect import bisect_right

from fuzz.case import Case, CaseError, Node, Sharding, TensorSpec, is_uneven
from fuzz.evidence import Feature
from fuzz.ops.core import get, specs
from fuzz.reduce.edits import likely_shardings

# Sizes past which index arithmetic has failed: lanes, bf16, tiles, 11 bits, 16 bits, f32 (docs of `fuzz.payloads`).
BOUNDARIES = (128, 256, 512, 2048, 4096, 1 << 16, 1 << 24)


def features(case: Case) -> frozenset[Feature]:
    """One per kind of use of an op; none of a graph that torch rejects, which never runs."""
    try:
        known, layout = specs(case), likely_shardings(case)
    except CaseError:
        return frozenset()
    return frozenset(_feature(case, node, known, layout) for node in case.nodes)


def _feature(case: Case, node: Node, known: dict[str, TensorSpec], layout: dict[str, Sharding]) -> Feature:
    op = get(node.op)
    data = [node.operands[position] for position in op.data if position < len(node.operands)]
    main = data[0] if data else node.operands[0] if node.operands else node.name
    others = [name for name in node.operands if name != main]
    words = [_placement(node, known[main].shape, layout[main], case)]
    if any(any(layout[name]) for name in others):
        words.append("other operands split")
    reached = bisect_right(BOUNDARIES, known[main].elements)
    return Feature(node.op, known[main].dtype, ", ".join(words), BOUNDARIES[reached - 1] if reached else 0)


def _placement(node: Node, shape: tuple[int, ...], sharding: Sharding, case: Case) -> str:
    """Which dims are split: those the op works along, others, or both; by two axes; unevenly."""
    split = {dim for dim, axes in enumerate(sharding) if axes}
    if not split:
        return "whole"
    attribute = node.keywords.get("dim", node.keywords.get("dims"))
    named = attribute if isinstance(attribute, tuple) else (attribute,)
    own = {dim % len(shape) for dim in named if isinstance(dim, int)}
    words = "split along its dim" if split <= own else "split along all dims" if split & own else "split elsewhere"
    if any(len(axes) > 1 for axes in sharding):
        words += " by two axes"
    return f"{words} unevenly" if is_uneven(shape, sharding, case.mesh) else words
