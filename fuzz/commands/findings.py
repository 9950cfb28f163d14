# SPDX-License-Identifier: Apache-2.0
"""`meshfuzz show` and `meshfuzz reduce`: what a campaign found, and a smaller case of it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from fuzz.commands.options import dir_option, subject_of, target_options
from fuzz.commands.output import FINDINGS, NOTHING_NEW, say, show_text, write_text
from fuzz.settings import parse_seconds


@click.command()
@click.argument("finding", required=False, metavar="[ID]")
@dir_option
@click.option("--coverage", is_flag=True, help="Show which compiler stages were executed, and what was not understood.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def show(finding: str | None, directory: Path, coverage: bool, as_json: bool) -> int:
    """List the findings of a campaign, or show one in full."""
    from fuzz.report.terminal import coverage_text, finding_text, findings_table
    from fuzz.store import Store

    with Store.open(directory) as store:
        if coverage:
            from oracles.stages.handlers import understood

            stages, ops = store.stages(), understood()
            show_text(coverage_text(stages, ops), {"stages": stages, "ops": ops} if as_json else None)
            return NOTHING_NEW
        if finding is not None:
            found = store.finding(finding)
            show_text(finding_text(found, directory), found.to_plain() if as_json else None)
            return NOTHING_NEW
        every = store.findings()
    if every or as_json:
        show_text(findings_table(every), [found.to_plain() for found in every] if as_json else None)
    else:
        say("no findings")
    return NOTHING_NEW


@click.command("reduce")
@click.argument("case", metavar="FILE|ID")
@target_options
@dir_option
@click.option("--time", "time_text", default="5m", show_default=True, help="Stop after this long with the best so far.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the case there; default: print it."
)
def reduce_command(case: str, directory: Path, time_text: str, output: Path | None, **choices: Any) -> int:
    """Reduce a failing case file, or a finding's case, to a minimal one."""
    seconds = parse_seconds(time_text)
    subject, config, _ = subject_of(case, directory, **choices)
    from fuzz.investigation import investigate, starting_point
    from fuzz.pool import Pool
    from fuzz.reduce.reducer import reduce

    with Pool(config, directory, workers=1, deadline=choices["deadline"]) as pool:
        outcome = pool.run(subject)
        if not outcome.verdict.failing:
            say(f"{outcome.verdict} {outcome.message}".rstrip() + ": nothing to reduce", err=True)
            return NOTHING_NEW
        reducer = partial(reduce, max_runs=sys.maxsize, max_seconds=seconds)
        found = investigate(starting_point(0, subject, outcome, pool.run), pool.run, reducer, pool.explain)
    say(f"{found.key}\n{found.runs} runs, {'1-minimal' if found.minimal else 'not 1-minimal'}", err=True)
    if found.explanation is not None:
        say(found.explanation.sentence, err=True)
    write_text(found.reduced, output)
    return FINDINGS
