# SPDX-License-Identifier: Apache-2.0
"""Repro scripts of a finding: written into the campaign's folder, and proven in a clean process."""

from __future__ import annotations

from pathlib import Path

from fuzz.case import MeshfuzzError
from fuzz.store import Finding, Script
from oracles.targets.config import TargetConfig

FORMS = ("torch", "stablehlo")
BUG_PRESENT = 1  # exit code of a repro script that shows its bug


def publish(finding: Finding, directory: Path, config: TargetConfig) -> tuple[Script, ...]:
    """Emit and prove one script per form. A form that cannot be written is a Script that says why."""
    return tuple(_publish(finding, form, directory, config) for form in FORMS)


def _publish(finding: Finding, form: str, directory: Path, config: TargetConfig) -> Script:
    from repros.emit import emit
    from repros.prove import prove

    path = directory / "repros" / f"{finding.id}_{form}.py"
    path.parent.mkdir(exist_ok=True)
    try:
        path.write_text(emit(finding.case, finding.outcome, form, config), encoding="utf-8")
    except MeshfuzzError as error:
        return Script(form, "", False, str(error))
    proof = prove(path)
    lines = proof.output.strip().splitlines()
    detail = f"exit {proof.exit_code}" + (f": {lines[-1].strip()}" if lines else "")
    return Script(form, str(path.relative_to(directory)), proof.exit_code == BUG_PRESENT, detail)
