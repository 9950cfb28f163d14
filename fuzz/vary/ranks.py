# SPDX-License-Identifier: Apache-2.0
"""A case with one dim more: the opposite of the reducer's pass on ranks."""

from __future__ import annotations

from dataclasses import replace

from fuzz.case import Attribute, Case, CaseError, Input, Sharding, TensorSpec
from fuzz.ops.core import get, infer
from fuzz.reduce.edits import consistent


def raised(case: Case) -> Case | None:
    """The case with a dim of size 1 more in its inputs of the highest rank, and dims in attributes counted anew.

    The new dim is the first, or the last where an op means the first dims by their numbers. None where torch rejects
    that.
    """
    rank = max(len(value.spec.shape) for value in case.inputs)
    named = any(isinstance(dim, int) for node in case.nodes for _, dim in get(node.op).indices)
    at = rank if named else 0
    inputs = tuple(_raised(value, at) if len(value.spec.shape) == rank else value for value in case.inputs)
    new: dict[str, TensorSpec] = {value.name: value.spec for value in inputs}
    nodes = []
    try:
        for node in case.nodes:
            attributes = tuple((key, _counted(key, value, at, rank)) for key, value in node.attributes)
            new[node.name] = infer(node.op, [new[name] for name in node.operands], attributes)
            nodes.append(replace(node, attributes=attributes))
    except CaseError:
        return None

    def fitted(name: str, sharding: Sharding | None) -> Sharding | None:
        if sharding is None or len(new[name].shape) != len(sharding) + 1:
            return sharding
        return (*sharding, ()) if at else ((), *sharding)

    return consistent(
        case,
        inputs=inputs,
        nodes=tuple(replace(node, sharding=fitted(node.name, node.sharding)) for node in nodes),
        outputs=tuple(replace(output, sharding=fitted(output.name, output.sharding)) for output in case.outputs),
    )


def _raised(value: Input, at: int) -> Input:
    shape = (*value.spec.shape[:at], 1, *value.spec.shape[at:])
    payload = value.payload
    if payload.kind == "permutation":
        payload = replace(payload, dim=payload.dim + (payload.dim >= at))
    sharding = (*value.sharding[:at], (), *value.sharding[at:])
    return replace(value, spec=replace(value.spec, shape=shape), payload=payload, sharding=sharding)


def _counted(key: str, value: Attribute, at: int, rank: int) -> Attribute:
    """An attribute of an op whose operand had this rank."""
    if isinstance(value, bool) or key == "pads":  # pads counts from the last dim
        return value
    if "dim" in key and isinstance(value, int):
        return value + (value >= at)
    if "dim" in key and isinstance(value, tuple):
        counted = tuple(dim + (dim >= at) for dim in value)
        return (*counted[:at], at, *counted[at:]) if len(value) == rank > 1 else counted
    if isinstance(value, tuple) and len(value) == rank:
        return (*value[:at], 1, *value[at:])
    return value
