# SPDX-License-Identifier: Apache-2.0
"""A second compile of a failing case, with the compiler's passes printed and each one's module judged. In workers only.

A module before partitioning has whole shapes: Shardy's ops only say where values lie, and it runs on one device. What a
collective of Shardy does on devices is decided by the pass that makes shapes local, so that pass is named even if an
earlier one asked for the wrong collective.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxlib.mlir import ir

from fuzz.case import Case
from fuzz.ops.core import specs
from fuzz.payloads import values
from oracles.localisation import PASS_LOG, failing_pass, first_wrong
from oracles.lowering import annotate, lower
from oracles.outcome import Verdict
from oracles.reference import Expected, reference
from oracles.stages.execute import PARTITIONED, placement, run_stage
from oracles.stages.numerics import EXACT
from oracles.stages.parse import parse
from oracles.stages.passes import Dump, read
from oracles.stages.program import NotUnderstood
from oracles.targets.base import Observation, Outputs, Target
from oracles.targets.client import mlir_context
from oracles.targets.pjrt import MockTarget
from oracles.verdict import compare

# The compiler reads only the signature of this stage and compiles on from the one before it: its body is empty.
EMPTIED = "shlo_compiler_cleaned"
_LOCAL_OPS = re.compile(r"\"(ttir|ttnn)\.\w+\"")
_MANUAL = re.compile(r"sdy\.manual_computation.* manual_axes=\{[^}]")


def localise(target: Target, case: Case) -> dict[str, Any]:
    """A Localisation in plain form. Raises what has no better name: then there is none."""
    if not isinstance(target, MockTarget) or not target.config.verbose:
        raise TypeError(f"target {target.config} prints no passes")
    inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
    expected = reference(case, inputs)
    lowered = lower(case, inputs)
    log = Path(tempfile.gettempdir()) / PASS_LOG
    with mlir_context(), ir.Location.unknown():
        module = annotate(lowered, case)
        with _captured(log):
            stages, failure = target.compile(module, case, lambda _: None)
        with log.open(encoding="utf-8", errors="replace") as stream:
            compiled = read(stream)
        if failure is not None:
            return failing_pass(compiled, failure.verdict).to_plain()
        judge = _Judge(case, expected, [parameter.value for parameter in lowered.parameters], stages)
        judged = [(dump, judge(dump)) for dump in compiled.dumps if dump.is_pass or dump.step != EMPTIED]
    return first_wrong(judged).to_plain()


@contextmanager
def _captured(path: Path) -> Iterator[None]:
    """Send what this process prints, compilers included, to a new file; nothing is lost if it dies."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with path.open("wb", buffering=0) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


@dataclass(slots=True)
class _Judge:
    """Whether a module computes what it should: yes, no, or None where that cannot be told."""

    case: Case
    expected: Mapping[str, Expected]
    arguments: list[torch.Tensor]
    stages: Mapping[str, str]

    def __call__(self, dump: Dump) -> bool | None:
        try:
            outputs = self._outputs(dump.text)
        except NotUnderstood as reason:
            print(f"{dump}: not judged: {reason}", file=sys.stderr)
            return None
        return compare(self.case, self.expected, Observation(outputs)).verdict is Verdict.PASS

    def _outputs(self, text: str) -> Outputs:
        """Run a module as the kind of stage it resembles. Exact numbers: a pass is blamed for what it makes of them."""
        program = parse(text)
        dialects = {match[1] for match in _LOCAL_OPS.finditer(text)}
        if dialects:
            stage = "ttnn" if "ttnn" in dialects else "ttir"
            placed = placement(parse(self.stages[PARTITIONED]))
        elif _MANUAL.search(text):
            stage, placed = PARTITIONED, placement(program)
        else:
            stage, placed = "shlo", None
        results = [specs(self.case)[output.name] for output in self.case.outputs]
        return run_stage(stage, program, self.arguments, results, placed, EXACT)
