# SPDX-License-Identifier: Apache-2.0
"""Repro scripts of a finding: written into the campaign's folder, and proven in a clean process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jinja2 import TemplateError

from fuzz.case import Case, CaseError, MeshfuzzError
from fuzz.mechanism import mechanism
from fuzz.ops.core import TORCH_DTYPES, specs
from fuzz.payloads import values
from fuzz.store import Finding, Script
from oracles.localisation import Localisation
from oracles.outcome import MISMATCHING, Outcome, Verdict
from oracles.reference import reference
from oracles.targets.config import TargetConfig
from oracles.targets.environment import find_tt_plugin, prepare_compile_only, versions
from repros.emit import Argument, Expected, Facts, Failure, emit_issue, emit_stablehlo, emit_torch
from repros.prove import prove

Form = Literal["torch", "stablehlo", "pytest"]
Export = Callable[[Case], Mapping[str, Any]]  # see `oracles.export`

# What torch_xla makes before the compiler under test sees anything.
TORCH_XLA_STAGES = ("lower", "shlo")
# Compiled from the partitioned program: no script executes these without chips.
LATE_STAGES = ("ttir", "ttnn")
FAILURES: dict[Verdict, Failure] = {
    Verdict.COMPILE_ERROR: "compile error",
    Verdict.CRASH: "crash",
    Verdict.HANG: "hang",
}


def publish(finding: Finding, directory: Path, config: TargetConfig, export: Export) -> tuple[Script, ...]:
    """Emit and prove one script per form. A form that cannot be written is a Script that says why."""
    return tuple(_publish(finding, form, directory, config, export) for form in forms(finding.outcome, config))


def forms(outcome: Outcome, config: TargetConfig) -> tuple[Form, ...]:
    """The forms that can show a failure: the one that goes through the stack under test first."""
    if outcome.injected:
        return ()  # the compiler does not have this bug
    if config.kind == "torchxla" or outcome.stage in TORCH_XLA_STAGES:
        return ("torch",)
    # A plugin given by path has no script yet: what it needs to start is not known here.
    known: dict[str, tuple[Form, ...]] = {"tt": ("torch", "stablehlo"), "cpu": ("stablehlo",)}
    return known.get(config.kind, ())


def _publish(finding: Finding, form: Form, directory: Path, config: TargetConfig, export: Export) -> Script:
    path = directory / "repros" / f"{finding.id}_{form}.py"
    path.parent.mkdir(exist_ok=True)
    try:
        text = script(finding.case, finding.outcome, form, config, export, finding.localisation)
        path.write_text(text, encoding="utf-8")
        proof = prove(path, environment=_environment(config))
    except (MeshfuzzError, TemplateError) as error:
        # A script that cannot be written or run must not end a campaign; the finding keeps its case.
        return Script(form, str(path.relative_to(directory)) if path.exists() else "", False, str(error))
    lines = proof.output.strip().splitlines()
    last = lines[-1].strip().removeprefix(f"{proof.meaning}: ") if lines else ""
    detail = f"{proof.meaning}: {last}" if last else proof.meaning
    return Script(form, str(path.relative_to(directory)), proof.reproduces, detail)


def _environment(config: TargetConfig) -> dict[str, str]:
    """What makes the plugin start at once; a script without it starts a mock cluster, at first for minutes."""
    if config.kind != "tt" or not config.mock:
        return {}
    descriptor = prepare_compile_only(find_tt_plugin(config.plugin), config.topology)
    return {"TT_COMPILE_ONLY_SYSTEM_DESC": str(descriptor)}


def script(
    case: Case,
    outcome: Outcome,
    form: Form,
    config: TargetConfig,
    export: Export,
    localisation: Localisation | None = None,
) -> str:
    """The text of one script. Raises MeshfuzzError if the case cannot be written in that form."""
    if outcome.injected:
        raise CaseError(f"the compiler does not have the bug: fault {outcome.injected} is injected")
    expected = reference(case, {value.name: values(value.spec, value.payload) for value in case.inputs})
    bounds = {
        output.name: 0.0 if (bound := expected[output.name].bound) is None else float(bound.max())
        for output in case.outputs
    }
    facts = _facts(case, outcome, config, localisation)
    if form in ("torch", "pytest"):
        own = config.kind == "torchxla" or outcome.stage in TORCH_XLA_STAGES
        return emit_torch(case, facts, bounds, "CPU" if own else "TT")
    module = export(case)
    dtypes = {name: TORCH_DTYPES[spec.dtype] for name, spec in specs(case).items()}
    right = [Expected(expected[o.name].values.to(dtypes[o.name]), bounds[o.name]) for o in case.outputs]
    return emit_stablehlo(
        case,
        facts,
        module["text"],
        [_argument(plain) for plain in module["arguments"]],
        right,
        config.topology,
        "tt" if config.kind == "tt" else "cpu",
    )


def issue(finding: Finding, config: TargetConfig, scripts: Sequence[str]) -> str:
    """The text of a bug report, in the template of the project at fault. `scripts`: file names beside it."""
    return emit_issue(finding.case, _facts(finding.case, finding.outcome, config, finding.localisation), scripts)


def lit_test(finding: Finding, config: TargetConfig, export: Export) -> str | None:
    """A self-contained module with a RUN line of ttmlir-opt; None if the failure is not one of its passes'."""
    if config.kind != "tt" or finding.localisation is None or not finding.localisation.passes:
        return None
    return str(export(finding.case)["text"])


def _argument(plain: Mapping[str, Any]) -> Argument:
    if "input" in plain:
        return Argument(input=plain["input"])
    elements = torch.tensor(plain["elements"], dtype=TORCH_DTYPES[plain["dtype"]])
    return Argument(constant=elements.reshape(plain["shape"]))


def _facts(case: Case, outcome: Outcome, config: TargetConfig, localisation: Localisation | None) -> Facts:
    ops = " ".join(dict.fromkeys(node.op for node in case.nodes)) or "resharding"
    what = {
        Verdict.COMPILE_ERROR: f"{ops} does not compile: {outcome.message}",
        Verdict.CRASH: f"{ops} crashes the compiler: {outcome.message}",
        Verdict.HANG: f"{ops} never finishes",
        Verdict.SUSPECTED: f"{ops} loses digits if the chip computes as its simulator does ({outcome.number_format})",
    }
    blamed = f", on the way {outcome.transition}" if outcome.transition else ""
    if localisation is not None and localisation.passes:
        blamed = f"; {localisation}"
    return Facts(
        what=what.get(outcome.verdict, f"{ops} gives wrong numbers"),
        where=f"stage {outcome.stage}" + (f", op {outcome.op}" if outcome.op else "") + blamed,
        versions=", ".join(f"{name} {version}" for name, version in versions().items()),
        bucket=mechanism(case, outcome),
        late_stage=outcome.stage if outcome.stage in LATE_STAGES and outcome.verdict in MISMATCHING else "",
        plugin_hint=f"Target: {config}.",
        failure=FAILURES.get(outcome.verdict, "wrong numbers"),
        error=outcome.message.removeprefix("torch_xla: ").split("; ")[0].split(" Error:")[0],
    )
