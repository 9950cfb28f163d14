# SPDX-License-Identifier: Apache-2.0
"""`meshfuzz nightly` and `meshfuzz report`: campaigns that report themselves."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fuzz.commands.options import confirmed, dir_option, stored
from fuzz.commands.output import ENVIRONMENT, FINDINGS, NOTHING_NEW, say, write_text
from fuzz.commands.run import interrupt, settings_of
from fuzz.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fuzz.case import Case
    from fuzz.nightly.config import Config
    from fuzz.nightly.night import Ended

REVISIT = 0.1  # as `meshfuzz run` has it


@click.command()
@click.option(
    "--config",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="What a night does; docs/nightly/nightly.yaml explains every key.",
)
@click.option(
    "--plugin",
    metavar="PATH",
    help="The plugin that the configuration names, if it names one: files do not say what runs here.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what the night came to as JSON.")
def nightly(path: Path, plugin: str | None, as_json: bool) -> int:
    """Run tonight's campaign, and write its report into a folder of its own.

    The corpus and what earlier nights found run first; what does not fail any more is verified in fresh processes.
    A night that was interrupted goes on where it was. Exit code 1 for findings and 3 for the environment, as far as
    the configuration's policy says so, else 0.
    """
    from fuzz.campaign import Tools
    from fuzz.nightly.config import Reason, load_config
    from fuzz.nightly.night import run_night
    from fuzz.publish import publish
    from fuzz.reduce.reducer import reduce
    from fuzz.report.progress import progress
    from fuzz.strategies.sampling import sample

    config = load_config(path)
    settings = _settings(config)
    confirmed(settings.target, plugin)
    signal.signal(signal.SIGTERM, interrupt)
    ended = run_night(
        config,
        settings,
        Tools(sample, reduce, publish),
        lambda: _prepared(settings),
        say=lambda line: say(line, err=True),
        display=progress,
    )
    _tell(ended, as_json)
    if Reason.ENVIRONMENT in ended.reasons:
        return ENVIRONMENT
    return FINDINGS if ended.reasons else NOTHING_NEW


def _settings(config: Config) -> Settings:
    """As `meshfuzz run` would have them. Raises what its options raise."""
    return settings_of(
        target=config.target,
        mock=config.mock,
        plugin=config.plugin,
        deadline=config.deadline,
        meshes=[str(mesh) for mesh in config.meshes],
        seed=0,
        ops=(),
        dtypes=(),
        workers=config.workers,
        memory=config.memory,
        revisit=REVISIT,
        inject="",
        folder=config.corpus or Path(),
        no_corpus=config.corpus is None,
    )


def _prepared(settings: Settings) -> dict[str, str]:
    """Make the target ready. Returns what verdicts hold for. Raises TargetUnavailable."""
    from oracles.targets.environment import check_plugin, find_tt_plugin, plugin_version, prepare, versions

    target, found = settings.target, versions()
    if target.kind == "tt":
        found["plugin"] = plugin_version(find_tt_plugin(target.plugin))
    elif target.kind == "plugin":
        found["plugin"] = plugin_version(check_plugin(Path(str(target.plugin))))
    prepare(target)
    return found


def _tell(ended: Ended, as_json: bool) -> None:
    import json

    from fuzz.report.night import Standing
    from fuzz.report.summary import title

    night = ended.night
    if as_json:
        plain: dict[str, Any] = {
            "night": night.name,
            "folder": str(ended.folder),
            "seed": night.settings.seed,
            "cases": night.cases,
            "seconds": round(night.seconds, 1),
            "counts": dict(night.counts),
            "phases": dict(night.phases),
            "environment": night.environment,
            "findings": {str(s): [subject.finding.id for subject in night.of(s)] for s in Standing},
            "fails": {str(reason): said for reason, said in ended.reasons.items()},
        }
        click.echo(json.dumps(plain, indent=2))
        return
    say(f"{night.name}: {title(night)}")
    for said in ended.reasons.values():
        say(f"fails: {said}")
    say(ended.folder / "report.html")


@click.command()
@dir_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; default: report.html in --dir.",
)
def report(directory: Path, output: Path | None) -> int:
    """Write one self-contained page about a campaign: findings with pictures, scripts to copy, coverage."""
    from fuzz.nightly.one_campaign import campaign_page
    from fuzz.pool import ExportFailed
    from fuzz.store import Store

    def refuse(case: Case) -> Mapping[str, Any]:
        raise ExportFailed("not written here: meshfuzz emit --all writes modules")

    output = output or directory / "report.html"
    with Store.open(directory) as store:
        settings, budget = stored(store)
        write_text(campaign_page(store, settings, budget, refuse), output)
    say(output)
    return NOTHING_NEW
