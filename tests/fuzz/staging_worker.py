# SPDX-License-Identifier: Apache-2.0
"""A worker whose export also has what the compiler prints: the stages of the case."""

from __future__ import annotations

import sys
from typing import Any

from jaxlib.mlir import ir

from fuzz.case import Case
from fuzz.payloads import values
from fuzz.worker import Service, serve
from oracles.export import export
from oracles.judge import judge, open_target
from oracles.localise import localise
from oracles.lowering import annotate, lower
from oracles.targets.base import Target
from oracles.targets.client import mlir_context
from oracles.targets.pjrt import MockTarget


def export_with_stages(target: Target, case: Case) -> dict[str, Any]:
    """What `export` gives, and `stages`: name -> text."""
    if not isinstance(target, MockTarget):
        raise TypeError(f"target {target.config} leaves no stages")
    lowered = lower(case, {value.name: values(value.spec, value.payload) for value in case.inputs})
    with mlir_context(), ir.Location.unknown():
        stages, _ = target.compile(annotate(lowered, case), case, lambda _: None)
    return {**export(target, case), "stages": dict(stages)}


if __name__ == "__main__":
    sys.exit(serve(Service(open_target, judge, {"export": export_with_stages, "localise": localise})))
