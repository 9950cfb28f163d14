# SPDX-License-Identifier: Apache-2.0
"""Target shapes of reshapes after their operands changed size: extents that are products of other extents."""

from __future__ import annotations

import math
from dataclasses import replace

from fuzz.case import Case, CaseError, Input, Node, TensorSpec
from fuzz.ops.core import infer, specs

Shape = tuple[int, ...]


def reshaped(case: Case, inputs: tuple[Input, ...], nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The resized nodes of a case, with attribute `shape` of each reshape fitted to its resized operand.

    Returns the nodes as they came from the first on whose operands torch rejects.
    """
    old = specs(case)
    new = {value.name: value.spec for value in inputs}
    fitted: list[Node] = []
    for before, node in zip(case.nodes, nodes, strict=True):
        if _is_reshape(before, old):
            operand = node.operands[0]
            shape = regrouped(old[operand].shape, new[operand].shape, old[node.name].shape, _shape(node))
            node = replace(node, attributes=tuple((k, shape if k == "shape" else v) for k, v in node.attributes))
        try:
            new[node.name] = infer(node.op, [new[operand] for operand in node.operands], node.attributes)
        except CaseError:
            return (*fitted, *nodes[len(fitted) :])
        fitted.append(node)
    return tuple(fitted)


def regrouped(source: Shape, resized: Shape, target: Shape, wanted: Shape) -> Shape:
    """The target shape of a reshape from `source`, now that the source is `resized`: `wanted` where it fits.

    Dims of source and target fall into groups of equal product; each group of the target takes the product that its
    group of the source has now, in the entry that can hold it.
    """
    result: list[int] = []
    for read, write in _groups(source, target):
        product = math.prod(resized[slice(*read)])
        result.extend(_with_product(wanted[slice(*write)], product))
    return tuple(result)


def _with_product(shape: Shape, product: int) -> Shape:
    if math.prod(shape) == product or not shape:
        return shape
    for entry in range(len(shape)):
        rest = math.prod(shape[:entry] + shape[entry + 1 :])
        if rest and product % rest == 0:
            return (*shape[:entry], product // rest, *shape[entry + 1 :])
    return (product,) + (1,) * (len(shape) - 1)


def _groups(source: Shape, target: Shape) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Smallest runs of dims of equal product: ((first, end) in source, (first, end) in target)."""
    groups = []
    start = (0, 0)
    at = [0, 0]
    products = [1, 1]
    shapes = (source, target)
    while at[0] < len(source) or at[1] < len(target):
        # The side that is behind takes its next dim; on a tie both start a group.
        side = int(at[0] == len(source) or (products[1] < products[0] and at[1] < len(target)))
        products[side] *= shapes[side][at[side]]
        at[side] += 1
        if products[0] == products[1] and at[0] > start[0] and at[1] > start[1]:
            groups.append(((start[0], at[0]), (start[1], at[1])))
            start = (at[0], at[1])
    if start != (len(source), len(target)):
        # Dims of size 1 at the end, on one side only: they join the last group.
        if groups:
            start = (groups[-1][0][0], groups[-1][1][0])
            groups.pop()
        groups.append(((start[0], len(source)), (start[1], len(target))))
    return groups


def _is_reshape(node: Node, known: dict[str, TensorSpec]) -> bool:
    return (
        len(node.operands) == 1
        and isinstance(node.keywords.get("shape"), tuple)
        and known[node.operands[0]].elements == known[node.name].elements
    )


def _shape(node: Node) -> Shape:
    shape = node.keywords["shape"]
    return shape if isinstance(shape, tuple) else ()
