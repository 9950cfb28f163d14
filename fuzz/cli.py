# SPDX-License-Identifier: Apache-2.0
"""The command line. A command parses, calls the layer below, prints, and returns an exit code.

Exit codes: 0 nothing new, 1 findings, 2 usage, 3 environment. What needs torch is imported inside the commands.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from functools import reduce as fold
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import click
from click.core import ParameterSource

from fuzz.case import DTYPES, Case, CaseError, Mesh, MeshfuzzError, load
from fuzz.settings import Budget, Settings, UsageError, parse_bytes, parse_seconds
from oracles.targets.config import TargetConfig, TargetUnavailable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fuzz.publish import Form
    from fuzz.store import Finding

NOTHING_NEW, FINDINGS, USAGE, ENVIRONMENT = range(4)
INTERRUPTED = 130
DEFAULT_TIME = "15m"
CASE_SHARE = 4  # a case may take this part of the memory a worker may take

Command = TypeVar("Command", bound=Callable[..., Any])


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    return lambda command: fold(lambda inner, option: option(inner), reversed(options), command)


target_options = _options(
    click.option(
        "--target",
        default="tt",
        show_default=True,
        metavar="cpu|torchxla|tt|plugin:PATH",
        help="What to test: Tenstorrent's compiler, any PJRT plugin, or one of two CPU meshes.",
    ),
    click.option(
        "--mock",
        default="2x2",
        show_default=True,
        metavar="RxC|off",
        help="Devices of the mesh. For tt they are mocked: the compiler runs, chips are not needed; `off` uses chips, "
        "as many as the largest --mesh.",
    ),
    click.option(
        "--plugin", metavar="PATH", help="Shared object to load as the target's plugin; default: the installed one."
    ),
    click.option(
        "--deadline",
        default=60.0,
        show_default=True,
        type=click.FloatRange(min=0, min_open=True),
        help="Seconds a case may take before it is a HANG; slow machines need more.",
    ),
)
dir_option = click.option(
    "--dir",
    "directory",
    default=".meshfuzz",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the campaign; each campaign needs its own.",
)


@click.group(invoke_without_command=True)
@click.version_option(package_name="meshfuzz")
@click.pass_context
def cli(context: click.Context) -> int:
    """Find, reduce and report miscompiled tensor programs on device meshes."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    return NOTHING_NEW


@cli.command()
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
@click.option("--findings", type=click.IntRange(min=1), help="End when this many are found; default: no limit.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same cases; another, others.")
@click.option("--ops", multiple=True, metavar="NAME[,NAME]", help="Draw only these ops; default: all.")
@click.option(
    "--dtype", "dtypes", multiple=True, metavar="NAME[,NAME]", help=f"Data dtypes to draw; default: {','.join(DTYPES)}."
)
@click.option(
    "--workers",
    default=2,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processes that run cases; one per core is best, each takes up to --memory.",
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
    workers: int,
    directory: Path,
    resume: bool,
    as_json: bool,
    **choices: Any,
) -> int:
    """Run a campaign. Exit code 1 if it found anything new."""
    budget = Budget(parse_seconds(time_text) if time_text else None, cases, findings)
    if resume:
        settings, budget = _resumed(context, directory, budget)
        settings = replace(settings, workers=workers) if _given(context, "workers") else settings
    else:
        settings = _settings(workers=workers, **choices)
        if budget == Budget():
            budget = Budget(parse_seconds(DEFAULT_TIME))
    from fuzz.campaign import Tools, run_campaign
    from fuzz.ops import get
    from fuzz.publish import publish
    from fuzz.reduce.reducer import reduce
    from fuzz.report.progress import progress
    from fuzz.report.terminal import summary_text
    from fuzz.strategies.sampling import sample
    from oracles.targets.environment import prepare

    for name in settings.space.ops:
        get(name)
    prepare(settings.target)
    signal.signal(signal.SIGTERM, _interrupt)
    tools = Tools(sample, reduce, publish)
    summary = run_campaign(directory, settings, budget, tools, resume=resume, display=progress)
    _print(summary_text(summary, directory), summary.to_plain() if as_json else None)
    if summary.unavailable:
        raise TargetUnavailable(summary.unavailable)
    if summary.run and not summary.judged:
        return ENVIRONMENT
    return FINDINGS if summary.new or summary.pending else NOTHING_NEW


@cli.command()
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
            _print(coverage_text(stages, ops), {"stages": stages, "ops": ops} if as_json else None)
            return NOTHING_NEW
        if finding is not None:
            found = store.finding(finding)
            _print(finding_text(found, directory), found.to_plain() if as_json else None)
            return NOTHING_NEW
        every = store.findings()
    if every or as_json:
        _print(findings_table(every), [found.to_plain() for found in every] if as_json else None)
    else:
        click.echo("no findings")
    return NOTHING_NEW


@cli.command("reduce")
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
    subject, config, _ = _subject(case, directory, **choices)
    from fuzz.investigation import investigate, starting_point
    from fuzz.pool import Pool
    from fuzz.reduce.reducer import reduce

    with Pool(config, directory, workers=1, deadline=choices["deadline"]) as pool:
        outcome = pool.run(subject)
        if not outcome.verdict.failing:
            click.echo(f"{outcome.verdict} {outcome.message}".rstrip() + ": nothing to reduce", err=True)
            return NOTHING_NEW
        reducer = partial(reduce, max_runs=sys.maxsize, max_seconds=seconds)
        found = investigate(starting_point(0, subject, outcome, pool.run), pool.run, reducer)
    click.echo(f"{found.key}\n{found.runs} runs, {'1-minimal' if found.minimal else 'not 1-minimal'}", err=True)
    _write(found.reduced, output)
    return FINDINGS


@cli.command()
@click.argument("case", metavar="ID|FILE")
@click.option(
    "--form",
    default="torch",
    show_default=True,
    type=click.Choice(["torch", "stablehlo", "pytest"]),
    help="What the script is made of: a torch program as a user writes it, the module text for a PJRT plugin, or a "
    "test for tt-xla.",
)
@target_options
@dir_option
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the script there; default: print it."
)
def emit(case: str, form: str, directory: Path, output: Path | None, **choices: Any) -> int:
    """Write a standalone script that shows a finding, or the failure of a case file."""
    subject, config, finding = _subject(case, directory, **choices)
    from fuzz.pool import Pool
    from fuzz.publish import script

    with Pool(config, directory, workers=1, deadline=choices["deadline"]) as pool:
        outcome = finding.outcome if finding is not None else pool.run(subject)
        blamed = finding.localisation if finding is not None else None
        text = script(subject, outcome, cast("Form", form), config, pool.export, blamed)
    _write(text, output)
    return NOTHING_NEW


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def faults(as_json: bool) -> int:
    """List the known bugs that `run --inject` can plant."""
    from fuzz.report.faults import faults_plain, faults_table
    from oracles.faults import FAULTS

    every = tuple(FAULTS.values())
    _print(faults_table(every), faults_plain(every) if as_json else None)
    return NOTHING_NEW


@cli.command()
@click.argument("story", type=click.Choice(["glm-router"]))
def demo(story: str) -> int:
    """Tell the story of a router whose bugs pass the usual check: planted, found, reduced and explained in a minute."""
    from fuzz.demo import TARGET, glm_router
    from oracles.targets.environment import prepare

    prepare(TARGET)
    with tempfile.TemporaryDirectory(prefix="meshfuzz-demo-") as folder:
        for line in {"glm-router": glm_router}[story](Path(folder)):
            click.echo(line)
    return NOTHING_NEW


@cli.command()
def doctor() -> int:
    """Say what is installed, which targets start, and how to get the rest. Exit code 3 if a target does not start."""
    from fuzz.doctor import doctor as checks

    broken = False
    for check in checks():
        broken |= not check.ok
        click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}")
        if not check.ok and check.remedy:
            click.echo(f"      {check.remedy}")
    return ENVIRONMENT if broken else NOTHING_NEW


@cli.command()
@click.argument("scripts", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def prove(scripts: Sequence[Path]) -> int:
    """Run repro scripts in clean processes. Exit code 1 if one shows its bug, 3 if none could run here."""
    from repros.prove import prove as prove_script

    codes = []
    for script in scripts:
        proof = prove_script(script)
        codes.append(proof.exit_code)
        click.echo(f"{script}: {proof.meaning} (exit {proof.exit_code}, {proof.seconds:.1f} s)")
        click.echo("".join(f"  {line}\n" for line in proof.output.strip().splitlines()), nl=False)
    if 1 in codes:
        return FINDINGS
    return NOTHING_NEW if 0 in codes else ENVIRONMENT


def _settings(
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
) -> Settings:
    from fuzz.strategies.space import Space

    wanted = tuple(Mesh.parse(text) for text in _split(meshes))
    config = _with_fault(_target(target, mock, plugin, wanted), inject)
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
    return Settings(config, space, seed, workers, deadline, limit, revisit)


# Small ones find most and reduce fast; two real axes are what most bugs need.
MESHES = ("2x2", "1x4", "1x2", "2x4", "1x8", "1x1")


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


def _target(target: str, mock: str, plugin: str | None, meshes: Sequence[Mesh] = ()) -> TargetConfig:
    # Workers run in folders of their own.
    kind, separator, path = target.partition(":")
    target = f"{kind}:{Path(path).resolve()}" if path else kind + separator
    plugin = str(Path(plugin).resolve()) if plugin else None
    if mock == "off":
        if not meshes:
            raise UsageError("--mock off needs --mesh: the mesh of your chips")
        return TargetConfig.parse(target, max(meshes, key=lambda mesh: mesh.size), plugin, mock=False)
    topology = Mesh.parse(mock)
    if kind == "cpu":  # as many devices as asked for: they cost nothing
        topology = max((topology, *meshes), key=lambda mesh: mesh.size)
    return TargetConfig.parse(target, topology, plugin)


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

    own = ("target", "mock", "plugin", "deadline", "meshes", "seed", "ops", "dtypes", "memory", "revisit", "inject")
    for name in own:
        if _given(context, name):
            option = {"meshes": "mesh", "dtypes": "dtype"}.get(name, name)
            raise UsageError(f"--{option} cannot change with --resume: leave it out or start in another --dir")
    with Store.open(directory) as store:
        plain = store.settings
    return Settings.from_plain(plain["settings"]), Budget(**plain["budget"]) if budget == Budget() else budget


def _given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _subject(
    text: str, directory: Path, *, target: str, mock: str, plugin: str | None, deadline: float
) -> tuple[Case, TargetConfig, Finding | None]:
    """A case file with the target of the options, or a finding's case with its campaign's target."""
    if Path(text).is_file():
        case = load(Path(text))
        return case, _target(target, mock, plugin, (case.mesh,)), None
    from fuzz.store import Store

    if "/" in text or "." in text:
        raise CaseError(f"{text}: no such file")
    with Store.open(directory) as store:
        finding = store.finding(text)
        config = Settings.from_plain(store.settings["settings"]).target
    return finding.case, config, finding


def _split(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for value in values for part in value.split(",") if part.strip()))


def _print(text: RenderableType, plain: object) -> None:
    if plain is not None:
        click.echo(json.dumps(plain, indent=2))
        return
    from rich.console import Console

    from fuzz.report.terminal import print_to

    print_to(Console(), text)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        output.write_text(text, encoding="utf-8")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM, from a job scheduler for example, ends a campaign like Ctrl-C."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code; every expected failure is one line on stderr."""
    from fuzz.store import FolderBusy

    try:
        code = cli.main(arguments, prog_name="meshfuzz", standalone_mode=False)
    except click.ClickException as error:
        code = _fail(error.format_message(), USAGE)
    except (TargetUnavailable, FolderBusy) as error:
        code = _fail(str(error), ENVIRONMENT)
    except MeshfuzzError as error:
        code = _fail(str(error), USAGE)
    except (KeyboardInterrupt, click.Abort):
        code = _fail("interrupted", INTERRUPTED)
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code
