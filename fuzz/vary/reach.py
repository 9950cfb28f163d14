# SPDX-License-Identifier: Apache-2.0
"""How far into a tensor an indexed op of a case reads or writes: the number that flat index arithmetic fails on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fuzz.case import Case
from fuzz.ops.core import get, run_graph
from fuzz.payloads import values


@dataclass(frozen=True, slots=True)
class Reach:
    """The largest position used, in row-major order."""

    words: str  # what the number is: the largest flat index read from x0
    number: int


def reach(case: Case) -> Reach | None:
    """For a case with one indexed op; None for others, and where torch rejects the index."""
    indexed = [node for node in case.nodes if get(node.op).indices]
    if len(indexed) != 1:
        return None
    node, op = indexed[0], get(indexed[0].op)
    reads = op.family == "indexed read"
    try:
        known = run_graph(case, {value.name: values(value.spec, value.payload) for value in case.inputs}, "cpu")
        operands = [known[name] for name in node.operands]
        data = operands[op.data[0]]
        attributes = node.keywords
        if reads:
            positions = torch.arange(data.numel()).reshape(data.shape)
            used = op.run(*(positions if i == op.data[0] else x for i, x in enumerate(operands)), **attributes)
        else:
            # Ones written into zeros show where an op writes.
            if "value" in attributes:
                attributes["value"] = 1
            marks = [torch.full_like(x, i != op.data[0]) if i in op.data else x for i, x in enumerate(operands)]
            used = op.run(*marks, **attributes).flatten().nonzero()
    except (RuntimeError, IndexError):
        return None
    if not used.numel():
        return None
    words = "read from" if reads else "written in"
    return Reach(f"largest flat index {words} {node.operands[op.data[0]]}", int(used.max()))
