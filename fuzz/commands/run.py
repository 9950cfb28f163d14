# SPDX-License-Identifier: Apache-2.0
"""`meshfuzz run`: a campaign."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from fuzz.case import DTYPES, Mesh
from fuzz.commands.options import (
    confirmed,
    corpus_option,
    dir_option,
    stored,
    target_config,
    target_options,
)
from fuzz.commands.output import ENVIRONMENT, FINDINGS, NOTHING_NEW, show_text
from fuzz.document import shown
from fuzz.settings import CORPUS, ENGINES, MAX_NUMBER, Budget, Settings, UsageError, parse_bytes, parse_seconds
from oracles.targets.config import TargetConfig, TargetUnavailable

DEFAULT_TIME = "15m"
CASE_SHARE = 4  # a case may take this part of the memory a worker may take
# Small ones find most and reduce fast; two real axes are what most bugs need.
MESHES = ("2x2", "1x4", "1x2", "2x4", "1x8", "1x1")


@click.command()
@target_options
@click.option(
    "--mesh",
    "meshes",
    multiple=True,
    metavar="RxC[,RxC]",
    help="Meshes to place cases on, each at most as large as --mock; default: the whole of it.",
)
@click.option(
    "--time", "time_text", metavar="15m", help=f"End after this long; default {DEFAULT_TIME} if no limit is set."
)
@click.option("--cases", type=click.IntRange(min=1), help="End when this many cases are drawn; default: no limit.")
@click.option(
    "--first",
    default=0,
    show_default=True,
    type=click.IntRange(0, MAX_NUMBER),
    help="Number of the first case of the seed: with --cases a range, for machines that share one and are merged.",
)
@click.option("--findings", type=click.IntRange(min=1), help="End when this many are found; default: no limit.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same cases; another, others.")
@click.option("--ops", multiple=True, metavar="NAME[,NAME]", help="Draw only these ops; default: all.")
@click.option(
    "--dtype", "dtypes", multiple=True, metavar="NAME[,NAME]", help=f"Data dtypes to draw; default: {','.join(DTYPES)}."
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that run cases; one per core is best, each takes up to --memory; default: 2, with --engine ray one "
    "per CPU of the cluster.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=ENGINES[0],
    show_default=True,
    help="Where workers run: on this machine, or on a Ray cluster, which changes nothing about cases and findings.",
)
@click.option(
    "--memory",
    default="4G",
    show_default=True,
    help=f"A worker that grew beyond this is replaced; cases larger than 1/{CASE_SHARE} of it are not drawn.",
)
@click.option(
    "--revisit",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the cases with a known finding's pattern that run all the same; less looks for other bugs sooner.",
)
@click.option(
    "--inject",
    default="",
    metavar="NAME",
    help="Plant this known bug into every compile, to see whether it is found; `meshfuzz faults` lists them; "
    "default: none.",
)
@corpus_option
@click.option(
    "--no-corpus",
    is_flag=True,
    help="Do not run the corpus first, so that what it has is found anew; default: run it.",
)
@dir_option
@click.option("--resume", is_flag=True, help="Go on with the folder's campaign, with its own settings.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON instead of tables.")
@click.pass_context
def run(
    context: click.Context,
    /,
    time_text: str | None,
    cases: int | None,
    findings: int | None,
    workers: int | None,
    engine: str,
    first: int,
    directory: Path,
    resume: bool,
    as_json: bool,
    **choices: Any,
) -> int:
    """Run a campaign. Exit code 1 if it found anything new."""
    budget = Budget(parse_seconds(time_text) if time_text else None, cases, findings)
    if resume:
        settings, budget = _resumed(context, directory, budget)
        if engine != settings.engine and _given(context, "engine"):
            settings = replace(settings, engine=engine, workers=_workers(None, engine))
        settings = replace(settings, workers=workers) if workers is not None else settings
    else:
        settings = replace(settings_of(workers=_workers(workers, engine), **choices), engine=engine, first=first)
        if budget == Budget():
            budget = Budget(parse_seconds(DEFAULT_TIME))
    from fuzz.campaign import Tools, run_campaign
    from fuzz.corpus import entries
    from fuzz.ops import get
    from fuzz.publish import publish
    from fuzz.reduce.reducer import reduce
    from fuzz.report.progress import progress
    from fuzz.report.terminal import summary_text
    from fuzz.strategies.sampling import sample
    from oracles.targets.environment import prepare

    for name in settings.space.ops:
        get(name)
    corpus = partial(entries, Path(settings.corpus)) if settings.corpus else tuple
    prepare(settings.target)
    signal.signal(signal.SIGTERM, interrupt)
    tools = Tools(sample, reduce, publish)
    summary = run_campaign(directory, settings, budget, tools, corpus=corpus, resume=resume, display=progress)
    show_text(summary_text(summary, directory), summary.to_plain() if as_json else None)
    if summary.unavailable:
        raise TargetUnavailable(summary.unavailable)
    if summary.run and not summary.judged:
        return ENVIRONMENT
    return FINDINGS if summary.new or summary.pending else NOTHING_NEW


def _workers(given: int | None, engine: str) -> int:
    if given is not None:
        return given
    return 0 if engine == "ray" else 2


def settings_of(
    *,
    target: str,
    mock: str,
    plugin: str | None,
    deadline: float,
    meshes: Sequence[str],
    seed: int,
    ops: Sequence[str],
    dtypes: Sequence[str],
    workers: int,
    memory: str,
    revisit: float,
    inject: str,
    folder: Path,
    no_corpus: bool,
) -> Settings:
    from fuzz.strategies.space import Space

    wanted = tuple(Mesh.parse(text) for text in _split(meshes))
    config = _with_fault(target_config(target, mock, plugin, wanted), inject)
    for mesh in wanted:
        if mesh.size > config.topology.size:
            raise UsageError(f"mesh {mesh} does not fit {config.topology}: give a larger --mock")
    if unknown := sorted(set(_split(dtypes)) - set(DTYPES)):
        raise UsageError(f"unknown dtype {', '.join(unknown)}: use {', '.join(DTYPES)}")
    limit = parse_bytes(memory)
    space = Space(
        wanted or _fitting_meshes(config),
        _split(dtypes) or DTYPES,
        _split(ops),
        limit // CASE_SHARE,
    )
    # With a planted fault the question is whether it is found, not what is known to fail without it.
    corpus = "" if no_corpus or inject else str(folder.resolve())
    return Settings(config, space, seed, workers, deadline, limit, revisit, corpus)


def _fitting_meshes(config: TargetConfig) -> tuple[Mesh, ...]:
    """The target's own topology, as often as all smaller meshes together, and those."""
    known = [Mesh.parse(text) for text in MESHES]
    # torch_xla always uses every device of its process.
    whole = config.kind == "torchxla"
    smaller = [
        mesh
        for mesh in known
        if mesh != config.topology
        and (mesh.size == config.topology.size if whole else mesh.size <= config.topology.size)
    ]
    return (config.topology,) * max(1, len(smaller)) + tuple(smaller)


def _with_fault(config: TargetConfig, name: str) -> TargetConfig:
    if not name:
        return config
    from oracles.faults import FAULTS

    if config.kind != "tt" or not config.mock:
        raise UsageError("--inject needs --target tt and a mock mesh: it rewrites stages that are executed in software")
    if name not in FAULTS:
        raise UsageError(f"unknown fault {name!r}: `meshfuzz faults` lists them")
    return replace(config, inject=name)


def _resumed(context: click.Context, directory: Path, budget: Budget) -> tuple[Settings, Budget]:
    """The settings of the folder's campaign, and its budget unless a new one is given."""
    from fuzz.store import Store

    own = ("target", "mock", "deadline", "meshes", "seed", "ops", "dtypes", "memory", "revisit", "inject", "first")
    for name in (*own, "no_corpus"):
        if _given(context, name):
            option = {"meshes": "mesh", "dtypes": "dtype", "no_corpus": "no-corpus"}.get(name, name)
            raise UsageError(f"--{option} cannot change with --resume: leave it out or start in another --dir")
    with Store.open(directory) as store:
        settings, before = stored(store)
        if store.setting("merged") is not None:
            raise UsageError(f"{directory} was merged and cannot be resumed: start a campaign in another --dir")
    confirmed(settings.target, context.params["plugin"])
    # A database says what ran, not what this machine can take, nor which of its files to read.
    if settings.engine == "local":
        settings = replace(settings, workers=min(settings.workers, max(2, os.cpu_count() or 1)))
    if _given(context, "folder"):
        settings = replace(settings, corpus=str(context.params["folder"].resolve()))
    elif settings.corpus and Path(settings.corpus) != CORPUS.resolve():
        raise UsageError(f"the campaign's corpus was {shown(settings.corpus)}: say with --corpus where it is here")
    return settings, before if budget == Budget() else budget


def _given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _split(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for value in values for part in value.split(",") if part.strip()))


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM, from a job scheduler for example, ends a campaign like Ctrl-C."""
    raise KeyboardInterrupt
