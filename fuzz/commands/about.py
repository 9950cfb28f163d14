# SPDX-License-Identifier: Apache-2.0
"""`meshfuzz doctor`, `faults` and `demo`: what is installed, what can be planted, and what comes out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from fuzz.commands.output import ENVIRONMENT, NOTHING_NEW, say, show_text


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def faults(as_json: bool) -> int:
    """List the known bugs that `run --inject` can plant."""
    from fuzz.report.faults import faults_plain, faults_table
    from oracles.faults import FAULTS

    every = tuple(FAULTS.values())
    show_text(faults_table(every), faults_plain(every) if as_json else None)
    return NOTHING_NEW


@click.command()
@click.argument("story", type=click.Choice(["glm-router"]))
def demo(story: str) -> int:
    """Tell the story of a router whose bugs pass the usual check: planted, found, reduced and explained in a minute."""
    from fuzz.demo import TARGET, glm_router
    from oracles.targets.environment import prepare

    prepare(TARGET)
    with tempfile.TemporaryDirectory(prefix="meshfuzz-demo-") as folder:
        for line in {"glm-router": glm_router}[story](Path(folder)):
            say(line)
    return NOTHING_NEW


@click.command()
def doctor() -> int:
    """Say what is installed, which targets start, and how to get the rest. Exit code 3 if a target does not start."""
    from fuzz.doctor import doctor as checks

    broken = False
    for check in checks():
        broken |= not check.ok
        say(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}")
        if not check.ok and check.remedy:
            say(f"      {check.remedy}")
    return ENVIRONMENT if broken else NOTHING_NEW
