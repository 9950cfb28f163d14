# SPDX-License-Identifier: Apache-2.0
"""`meshfuzz corpus`: the cases that every campaign replays first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fuzz.commands.options import corpus_option, dir_option, subject_of, target_options
from fuzz.commands.output import FINDINGS, NOTHING_NEW, say, show_text
from fuzz.settings import UsageError

if TYPE_CHECKING:
    from fuzz.case import Case
    from fuzz.finding import Finding
    from oracles.targets.config import TargetConfig


@click.group()
def corpus() -> None:
    """Keep cases: seeds for known classes of bugs, and regressions, the reduced findings of campaigns."""


@corpus.command("list")
@corpus_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_command(folder: Path, as_json: bool) -> int:
    """List the entries: what they ask, for which classes of bugs, and how they fail."""
    from fuzz.corpus import entries
    from fuzz.report.terminal import corpus_table

    kept = entries(folder)
    plain = [{"name": e.name, "file": str(e.path), "digest": e.case.digest} | e.about.to_plain() for e in kept]
    show_text(corpus_table(kept), plain if as_json else None)
    return NOTHING_NEW


@corpus.command("lint")
@corpus_option
def lint_command(folder: Path) -> int:
    """Check every file. Exit code 1 if something is wrong, a line each."""
    from fuzz.corpus import files, lint

    problems = list(lint(folder))
    for problem in problems:
        say(problem)
    say(f"{len(files(folder))} files, {len(problems)} problems", err=True)
    return FINDINGS if problems else NOTHING_NEW


@corpus.command()
@corpus_option
@click.option("--delete", is_flag=True, help="Remove those files; default: only name them.")
def minimise(folder: Path, delete: bool) -> int:
    """Name the entries that add no op x dtype x sharding x boundary to what the others exercise, nor a bucket."""
    from fuzz.corpus import entries, redundant

    kept = entries(folder)
    dropped = redundant(kept)
    for entry in dropped:
        say(entry.path)
        if delete:
            entry.path.unlink()
    say(f"{len(dropped)} of {len(kept)} entries {'removed' if delete else 'add nothing'}", err=True)
    return NOTHING_NEW


@corpus.command()
@click.argument("case", metavar="FILE|ID")
@target_options
@dir_option
@corpus_option
@click.option("--issue", "issues", multiple=True, metavar="NAME#NUMBER", help="The public issue it was filed as.")
def add(case: str, directory: Path, folder: Path, issues: Sequence[str], **choices: Any) -> int:
    """Keep a finding, or a failing case file, as a regression: reduced, named, with neighbours that fail too."""
    subject, config, finding = subject_of(case, directory, **choices)
    from fuzz.corpus import ISSUE, REGRESSIONS, About, dump_entry
    from fuzz.signature import signature
    from oracles.targets.environment import find_tt_plugin, plugin_version

    if wrong := [name for name in issues if not ISSUE.fullmatch(name)]:
        raise UsageError(f"{wrong[0]!r} names no issue: write repository#number")
    found = finding or _investigated(subject, config, directory, choices["deadline"])
    if found is None:
        return NOTHING_NEW
    tried = plugin_version(find_tt_plugin(config.plugin)) if config.kind == "tt" else str(config)
    about = About(
        says=found.explanation.sentence if found.explanation is not None else found.outcome.message,
        issues=tuple(issues),
        fails=signature(found.outcome),
        bucket=found.key,
        plugin=tried,
        neighbours=found.neighbours,
    )
    path = folder / REGRESSIONS / f"{found.id}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump_entry(found.case, about), encoding="utf-8")
    say(f"{path}: {found.key}")
    return NOTHING_NEW


def _investigated(case: Case, config: TargetConfig, directory: Path, deadline: float) -> Finding | None:
    from fuzz.examination import bounded
    from fuzz.investigation import investigate, starting_point
    from fuzz.pool import Pool
    from fuzz.reduce.reducer import reduce

    with Pool(config, directory, workers=1, deadline=deadline) as pool:
        outcome = pool.run(case)
        if not outcome.verdict.failing:
            say(f"{outcome.verdict} {outcome.message}".rstrip() + ": only what fails is kept", err=True)
            return None
        start = starting_point(0, case, outcome, pool.run)
        reducer = partial(reduce, max_runs=sys.maxsize, max_seconds=float("inf"))
        return bounded(investigate(start, pool.run, reducer, pool.explain), config, pool.run)
