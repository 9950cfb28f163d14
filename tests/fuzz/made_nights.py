# SPDX-License-Identifier: Apache-2.0
"""Nights made by hand for the tests of what they leave behind."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from made_findings import HOSTILE, MESH, case, finding, ordinary, ugly

from fuzz.finding import Finding, State
from fuzz.report.html import Piece
from fuzz.report.night import Night, Past, Replayed, Sightings, Standing, Subject, Verified
from fuzz.settings import Settings
from fuzz.strategies.space import Space
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig

NAME = "2026-11-23"
VERSIONS = {"torch": "2.9.0", "plugin": "jax-tt-plugin 0.1.3"}
SCRIPT = "import torch\n\nx = torch.arange(4)  # <b>not</b> bold\nraise SystemExit(1)\n"


def subject(found: Finding, standing: Standing, **fields: object) -> Subject:
    pieces = (
        Piece("bug report", f"issues/{found.id}_issue.md", note="for tenstorrent/tt-mlir"),
        Piece("torch script", f"issues/{found.id}_torch.py", f"python {found.id}_torch.py", "proven, bug present"),
        Piece("module", problem=f"no module: {HOSTILE}"),
        Piece("minimal case", f"issues/{found.id}.yaml"),
    )
    base = Subject(
        found,
        standing,
        standing is not Standing.FIXED,
        nights=Sightings(first="2026-11-20", last=NAME),
        texts={"bug report": f"# {HOSTILE}\n", "torch script": SCRIPT},
        pieces=pieces if standing is not Standing.FIXED else (),
    )
    return replace(base, **fields)  # type: ignore[arg-type]  # the caller names fields


def subjects() -> list[Subject]:
    """One and more of each standing, with three verdicts and two ops."""
    error = Outcome(Verdict.COMPILE_ERROR, "ttir", "'ttir.scatter' op failed to legalize")
    other = finding("COMPILE_ERROR neg", None, case(op="neg"), error)
    late = finding("WRONG late", None, state=State.NEW)
    fixed = Sightings("2026-11-20", "2026-11-22", (NAME,))
    return [
        subject(ordinary(), Standing.NEW),
        subject(ugly()["hostile"], Standing.NEW),
        subject(finding("WRONG came back"), Standing.REGRESSED, detail="was fixed on 2026-11-21"),
        subject(late, Standing.PENDING, texts={}, pieces=(), detail="not reduced: the time was up"),
        subject(other, Standing.KNOWN),
        subject(ugly()["32 devices"], Standing.KNOWN),
        subject(ugly()["crash"], Standing.FIXED, detail="fixed: 3 passes", nights=fixed),
    ]


def night(*found: Subject, **fields: object) -> Night:
    """With everything that a night can have, unless told otherwise."""
    past = [
        Past(f"2026-11-{day}", 900 + day, 100.0, {"PASS": 900}, VERSIONS | {"plugin": f"0.1.{day % 4}"},
             "no plugin" if day == 12 else "", {Standing.NEW: day % 3, Standing.KNOWN: 4, Standing.FIXED: day % 2})
        for day in range(10, 24)
    ]  # fmt: skip
    base = Night(
        name=NAME,
        settings=Settings(TargetConfig("tt", MESH), Space((MESH,), ops=("flip", "gather", "scatter")), seed=3),
        versions=VERSIONS,
        cases=1000,
        seconds=125.0,
        counts=Counter(PASS=900, WRONG=60, UNSUPPORTED=40, SKIPPED=7),
        subjects=found or subjects(),
        messages={"UNSUPPORTED": [(HOSTILE, 30), ("no lowering", 10)]},
        coverage={
            ("flip", "f32", "whole"): (30, 0),
            ("flip", "bf16", "split along its dim"): (12, 3),
            ("gather", "i64", "whole"): (7, 0),
        },
        replayed=[
            Replayed("glm-router", HOSTILE, "PASS", "PASS"),
            Replayed("gone", "a bug of the past", "WRONG gone", "PASS"),
            Replayed("broken", "", "PASS", "WRONG", ordinary().id),
            Replayed("too-late", "", "PASS", ""),
        ],
        verified=[Verified(ugly()["crash"].id, "FIXED", "3 passes", 31.0)],
        past=past,
        ended="the time is up",
        phases={"campaign": 130.0, "verification": 31.0},
        made={"seed": "3", "target": "tt"},
    )
    return replace(base, **fields)  # type: ignore[arg-type]  # the caller names fields
