# SPDX-License-Identifier: Apache-2.0
"""What a target would see of a case: which cases are one experiment, and which are none."""

from __future__ import annotations

import hashlib
import json

from fuzz.case import Case, Input, to_plain
from fuzz.ops.core import call, case_bytes, get
from fuzz.payloads import values

# Larger inputs are rarely equal by chance, and cost more to compare than a comparison can save.
COMPARED = 64
# Bytes of a graph that is cheaper to compute here than to bring to a target.
COMPUTED = 1 << 18


def experiment(case: Case) -> str:
    """16 hex digits, the same for two cases that differ only in how the numbers of their small inputs are written.

    Inputs that encode positions are told apart even so: wrong results are explained by them.
    """
    plain = to_plain(case)
    for value, text in zip(case.inputs, plain["inputs"], strict=True):
        if value.payload.kind != "position" and value.spec.elements <= COMPARED:
            text["payload"] = _numbers(value)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _numbers(value: Input) -> list[float]:
    numbers: list[float] = values(value.spec, value.payload).flatten().tolist()
    return numbers


def is_defined(case: Case) -> bool:
    """Whether torch computes a small case and leaves nothing open, such as which of two writes wins."""
    if case_bytes(case) > COMPUTED:
        return True
    results = {value.name: values(value.spec, value.payload) for value in case.inputs}
    for node in case.nodes:
        op, operands = get(node.op), [results[name] for name in node.operands]
        try:
            if op.defined is not None and not op.defined(*operands, **node.keywords):
                return False
            results[node.name] = call(op, operands, node.keywords, "cpu")
        except (RuntimeError, IndexError):  # an index out of range, or sizes that meta kernels do not compare
            return False
    return True
