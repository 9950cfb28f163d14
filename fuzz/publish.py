# SPDX-License-Identifier: Apache-2.0
"""What is published of a finding: repro scripts, proven in a clean process, a bug report and a lit test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jinja2 import TemplateError

from fuzz.case import Case, CaseError, MeshfuzzError
from fuzz.facts import TORCH_XLA_STAGES, facts
from fuzz.finding import Finding, Script
from fuzz.ops.core import TORCH_DTYPES, check_size, specs
from fuzz.payloads import values
from oracles.explanation import Explanation
from oracles.outcome import MISMATCHING, Outcome
from oracles.reference import reference
from oracles.targets.config import TargetConfig
from oracles.targets.environment import find_tt_plugin, prepare_compile_only
from repros.emit import Argument, Expected, emit_pytest, emit_stablehlo, emit_torch
from repros.facts import Facts
from repros.issue import Repository, emit_issue
from repros.lit import PIPELINES, emit_lit
from repros.prove import prove

Form = Literal["torch", "stablehlo", "pytest"]
Export = Callable[[Case], Mapping[str, Any]]  # see `oracles.export`

NEEDS_CHIPS = "not proven: needs chips"


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
    known = finding_facts(finding, config)
    try:
        path.write_text(_script(finding.case, known, finding.outcome, form, config, export), encoding="utf-8")
        relative = str(path.relative_to(directory))
        if config.mock and (known.late_stage or (form == "torch" and finding.outcome.stage not in TORCH_XLA_STAGES)):
            # It would start torch_xla or the plugin, which takes long, to say just this.
            return Script(form, relative, False, NEEDS_CHIPS)
        proof = prove(path, environment=_environment(config))
    except (MeshfuzzError, TemplateError) as error:
        # A script that cannot be written or run must not end a campaign; the finding keeps its case.
        return Script(form, str(path.relative_to(directory)) if path.exists() else "", False, str(error))
    lines = proof.output.strip().splitlines()
    last = lines[-1].strip().removeprefix(f"{proof.meaning}: ") if lines else ""
    detail = f"{proof.meaning}: {last}" if last else proof.meaning
    return Script(form, relative, proof.reproduces, detail)


def _environment(config: TargetConfig) -> dict[str, str]:
    """What makes the plugin start at once; a script without it starts a mock cluster, at first for minutes."""
    if config.kind != "tt" or not config.mock:
        return {}
    descriptor = prepare_compile_only(find_tt_plugin(config.plugin), config.topology)
    return {"TT_COMPILE_ONLY_SYSTEM_DESC": str(descriptor)}


def finding_facts(finding: Finding, config: TargetConfig) -> Facts:
    """All that is known of a finding, as text."""
    evidence = finding.localisation, finding.explanation, finding.boundaries, finding.controls
    return facts(finding.case, finding.outcome, config, *evidence)


def finding_script(finding: Finding, form: Form, config: TargetConfig, export: Export) -> str:
    """The text of one script of a finding. Raises MeshfuzzError if it cannot be written in that form."""
    return _script(finding.case, finding_facts(finding, config), finding.outcome, form, config, export)


def script(
    case: Case,
    outcome: Outcome,
    form: Form,
    config: TargetConfig,
    export: Export,
    explanation: Explanation | None = None,
) -> str:
    """The same for a case that belongs to no finding."""
    return _script(case, facts(case, outcome, config, explanation=explanation), outcome, form, config, export)


def _script(case: Case, known: Facts, outcome: Outcome, form: Form, config: TargetConfig, export: Export) -> str:
    if outcome.injected:
        raise CaseError(f"the compiler does not have the bug: fault {outcome.injected} is injected")
    check_size(case)
    expected = reference(case, {value.name: values(value.spec, value.payload) for value in case.inputs})
    bounds = {
        output.name: 0.0 if (bound := expected[output.name].bound) is None else float(bound.max())
        for output in case.outputs
    }
    if form != "stablehlo":
        own = config.kind == "torchxla" or outcome.stage in TORCH_XLA_STAGES
        return (emit_torch if form == "torch" else emit_pytest)(case, known, bounds, "CPU" if own else "TT")
    module = export(case)
    dtypes = {name: TORCH_DTYPES[spec.dtype] for name, spec in specs(case).items()}
    right = [Expected(expected[o.name].values.to(dtypes[o.name]), bounds[o.name]) for o in case.outputs]
    return emit_stablehlo(
        case,
        known,
        module["text"],
        [_argument(plain) for plain in module["arguments"]],
        right,
        config.topology,
        "tt" if config.kind == "tt" else "cpu",
    )


def issue(finding: Finding, config: TargetConfig, scripts: Sequence[str]) -> str:
    """The text of a bug report, in the form of the project at fault. `scripts`: names of the files beside it."""
    return emit_issue(finding.case, finding_facts(finding, config), scripts, at_fault(finding, config))


def at_fault(finding: Finding, config: TargetConfig) -> Repository:
    """The project that has the bug, as far as the evidence goes."""
    outcome, localisation = finding.outcome, finding.localisation
    if config.kind == "torchxla" or outcome.stage in TORCH_XLA_STAGES:
        return "pytorch/xla"
    if config.kind != "tt":
        return "openxla/xla"
    # tt-xla calls the passes of tt-mlir. What fails without being in one of them fails in tt-xla's own code.
    outside = localisation is not None and not localisation.passes and outcome.verdict not in MISMATCHING
    return "tenstorrent/tt-xla" if outside else "tenstorrent/tt-mlir"


def lit_test(finding: Finding, config: TargetConfig, export: Export) -> str | None:
    """A self-contained module with a RUN line of ttmlir-opt; None if the failure is not one of its passes'.

    Raises MeshfuzzError if the case has no module.
    """
    blamed = finding.localisation
    if config.kind != "tt" or finding.outcome.injected or blamed is None or not blamed.passes:
        return None
    if blamed.step not in PIPELINES or (finding.outcome.verdict in MISMATCHING and not blamed.quote.stands):
        return None  # nothing that can be said of the lines of a module tells right from wrong
    known = finding_facts(finding, config)
    return emit_lit(finding.case, known, export(finding.case)["text"], blamed.step, blamed.quote.stands)


def _argument(plain: Mapping[str, Any]) -> Argument:
    if "input" in plain:
        return Argument(input=plain["input"])
    elements = torch.tensor(plain["elements"], dtype=TORCH_DTYPES[plain["dtype"]])
    return Argument(constant=elements.reshape(plain["shape"]))
