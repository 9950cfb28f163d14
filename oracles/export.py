# SPDX-License-Identifier: Apache-2.0
"""The module a target compiles for a case, as plain data: what a script without torch needs. Runs in workers only."""

from __future__ import annotations

from typing import Any

from jaxlib.mlir import ir

from fuzz.case import Case
from fuzz.ops.core import DTYPE_NAMES
from fuzz.payloads import values
from oracles.lowering import annotate, close_results, lower
from oracles.targets.base import Target
from oracles.targets.client import mlir_context


def export(target: Target, case: Case) -> dict[str, Any]:
    """`text`: the annotated StableHLO module; `arguments` in its order: the name of an input of the case, or a constant
    that lowering lifted out of the graph as its dtype, shape and elements in row-major order.

    Raises TargetFailure if torch_xla cannot lower the case.
    """
    executed = target.config.kind != "tt"
    if executed:
        case = close_results(case)
    lowered = lower(case, {value.name: values(value.spec, value.payload) for value in case.inputs})
    with mlir_context(), ir.Location.unknown():
        text = str(annotate(lowered, case, uneven_inside=executed))
    arguments: list[dict[str, Any]] = []
    for parameter in lowered.parameters:
        if parameter.input is not None:
            arguments.append({"input": parameter.input})
        else:
            value = parameter.value
            arguments.append(
                {"dtype": DTYPE_NAMES[value.dtype], "shape": list(value.shape), "elements": value.flatten().tolist()}
            )
    return {"text": text, "arguments": arguments}
