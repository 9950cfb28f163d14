# SPDX-License-Identifier: Apache-2.0
"""A lit test for tt-mlir: the module that fails, the pipeline it fails in, and lines that FileCheck can hold it to.

What a CHECK line may claim is little: how the compiler writes the guilty line now is known, the many ways in which it
could be right are not. So the line that is wrong is forbidden, and of an error it is asked that there is none.
"""

from __future__ import annotations

import re

from fuzz.case import Case
from repros.facts import Facts
from repros.rendering import render

# Stage -> the options of ttmlir-opt that make it from StableHLO, as tt-mlir's own tests write them, and the dialect
# whose ops must be gone then. {} is the option that names the mesh.
PIPELINES = {
    "shlo_compiler": ("--stablehlo-pipeline{}", ""),
    "ttir": ("--stablehlo-pipeline{} --stablehlo-to-ttir-pipeline", "stablehlo."),
    "ttnn": ("--stablehlo-pipeline{0} --stablehlo-to-ttir-pipeline --ttir-to-ttnn-backend-pipeline{0}", "ttir."),
}
# Names of values and layouts are the compiler's business; {{ and [[ mean something to FileCheck.
_OPS = re.compile(r"^    %[\w:#, %]+ = \"?(stablehlo\.\w+)", re.MULTILINE)
_RESULTS = re.compile(r"^%[\w:#, %]+ = ")
_SPECIAL = re.compile(r"%[\w#]+|#ttnn_layout\d*|\{\{|\[\[")


def emit_lit(case: Case, facts: Facts, module: str, step: str, stands: str) -> str:
    """The test. `step`: the stage, one of PIPELINES, that comes out wrong or not at all; `stands`: its wrong line."""
    options, gone = PIPELINES[step]
    mesh = f'="mesh-shape={",".join(map(str, case.mesh.shape))}"' if case.mesh.size > 1 else ""
    return render(
        "lit.mlir.j2",
        case=case,
        facts=facts,
        module=module.strip("\n"),
        options=options.format(mesh),
        step=step,
        gone=gone,
        computed="" if gone else _last_op(module),
        forbidden=pattern(stands) if stands else "",
    )


def _last_op(module: str) -> str:
    """The op that makes the module's result, as far as its order tells; empty if it has none."""
    return next(reversed(_OPS.findall(module)), "")


def pattern(line: str) -> str:
    """A line of MLIR as FileCheck matches it, whatever the names of its values."""
    return _SPECIAL.sub(_escaped, _RESULTS.sub("", line.strip()))


def _escaped(found: re.Match[str]) -> str:
    token = found[0]
    if token.startswith("%"):
        return "%{{[a-z0-9_#]+}}"
    if token.startswith("#"):
        return "#ttnn_layout{{[0-9]*}}"
    return {"{{": "{{[{][{]}}", "[[": "{{[[][[]}}"}[token]
