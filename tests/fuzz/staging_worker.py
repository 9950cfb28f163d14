# SPDX-License-Identifier: Apache-2.0
"""A worker whose export also has what the compiler prints: the stages of the case."""

from __future__ import annotations

import sys
from typing import Any

from fuzz.case import Case
from fuzz.payloads import values
from fuzz.worker import Service, serve
from oracles.judge import judge, open_target, settle_process
from oracles.targets.base import Target

settle_process()  # before what follows imports a compiler

from jaxlib.mlir import ir  # noqa: E402

from oracles.export import export  # noqa: E402
from oracles.localise import localise  # noqa: E402
from oracles.lowering import annotate, lower  # noqa: E402
from oracles.targets.client import mlir_context  # noqa: E402
from oracles.targets.pjrt import MockTarget  # noqa: E402


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
