# SPDX-License-Identifier: Apache-2.0
"""`meshfuzz emit` and `meshfuzz prove`: what is handed to the people who can fix the bug."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from fuzz.commands.options import confirmed, dir_option, stored, subject_of, target_options
from fuzz.commands.output import ENVIRONMENT, FINDINGS, NOTHING_NEW, say, write_text
from fuzz.document import printable
from fuzz.settings import UsageError
from oracles.outcome import MISMATCHING

if TYPE_CHECKING:
    from fuzz.publish import Form

REPORT = "report"  # folder of a campaign's pages


@click.command()
@click.argument("case", metavar="[ID|FILE]", required=False)
@click.option(
    "--form",
    default="torch",
    show_default=True,
    type=click.Choice(["torch", "stablehlo", "pytest"]),
    help="What the script is made of: a torch program as a user writes it, the module text for a PJRT plugin, or a "
    "test for tt-xla.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Write all forms, a page and a bug report of every finding, and an index of them, into a folder.",
)
@target_options
@dir_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help=f"Write the script there; default: print it. With --all a folder; default: {REPORT} in --dir.",
)
def emit(case: str | None, form: str, everything: bool, directory: Path, output: Path | None, **choices: Any) -> int:
    """Write a standalone script that shows a finding, or the failure of a case file; or all about all findings."""
    if everything == (case is not None):
        raise UsageError("give the ID of a finding, a case file, or --all")
    if output is not None and output.exists() and output.is_dir() != everything:
        raise UsageError(f"{output} is {'no' if everything else 'a'} folder: choose another --output")
    if case is None:
        return _emit_all(directory, output or directory / REPORT, choices["deadline"], choices["plugin"])
    subject, config, finding = subject_of(case, directory, **choices)
    from fuzz.pool import Pool
    from fuzz.publish import finding_script, script

    with Pool(config, directory, workers=1, deadline=choices["deadline"]) as pool:
        if finding is not None:
            text = finding_script(finding, cast("Form", form), config, pool.export)
        else:
            outcome = pool.run(subject)
            explanation = pool.explain(subject) if outcome.verdict in MISMATCHING else None
            text = script(subject, outcome, cast("Form", form), config, pool.export, explanation)
    write_text(text, output)
    return NOTHING_NEW


def _emit_all(directory: Path, output: Path, deadline: float, plugin: str | None) -> int:
    from fuzz.folder import LazyPool, write_folder
    from fuzz.report.html import Campaign
    from fuzz.report.progress import counted
    from fuzz.report.words import plural
    from fuzz.store import Store

    with Store.open(directory) as store:
        settings, budget = stored(store)
        campaign = Campaign(store.findings(), settings, budget, store.counts())
    config = confirmed(settings.target, plugin)
    missing = []
    with LazyPool(config, directory, deadline) as pool:
        written = write_folder(campaign, directory, output, pool.export)
        for finding, pieces in counted(written, len(campaign.findings), lambda item: item[0].id):
            missing += [f"{finding.id}: {p.name} not written: {p.problem}" for p in pieces if p.problem]
    for line in missing:
        say(line)
    say(f"{plural(len(campaign.findings), 'finding')}: {output / 'index.html'}")
    return NOTHING_NEW


@click.command()
@click.argument("scripts", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def prove(scripts: Sequence[Path]) -> int:
    """Run repro scripts in clean processes. Exit code 1 if one shows its bug, 3 if none could run here.

    A script is a program, and has your rights: read one that comes from someone else before you prove it.
    """
    from repros.prove import prove as prove_script

    codes = []
    for script in scripts:
        say(f"running {sys.executable} -P {script.resolve()}", err=True)
        proof = prove_script(script)
        codes.append(proof.exit_code)
        say(f"{script}: {proof.meaning} (exit {proof.exit_code}, {proof.seconds:.1f} s)")
        click.echo("".join(f"  {line}\n" for line in printable(proof.output).strip().splitlines()), nl=False)
    if 1 in codes:
        return FINDINGS
    return NOTHING_NEW if 0 in codes else ENVIRONMENT
