# SPDX-License-Identifier: Apache-2.0
"""`meshfuzz verify`: is it fixed, and can the workaround go?"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from fuzz.commands.options import corpus_option, dir_option, stored, target_config, target_options
from fuzz.commands.output import ENVIRONMENT, FINDINGS, NOTHING_NEW, show_text
from fuzz.settings import UsageError
from oracles.targets.config import TargetConfig

if TYPE_CHECKING:
    from fuzz.replay import Runner
    from fuzz.verify import Subject
    from fuzz.workarounds import Workaround


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option(
    "--workarounds",
    is_flag=True,
    help="Verify workarounds instead: IDs are of the corpus' workarounds.yaml; default: all of them.",
)
@click.option("--all", "every", is_flag=True, help="Verify every finding of the folder and every regression.")
@target_options
@dir_option
@corpus_option
@click.option(
    "--workers",
    default=2,
    show_default=True,
    type=click.IntRange(min=1),
    help="Failures verified at once; each run is a process that takes up to 2 GB.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the result as JUnit XML, too; default: nowhere.",
)
@click.pass_context
def verify(
    context: click.Context,
    /,
    ids: tuple[str, ...],
    workarounds: bool,
    every: bool,
    target: str,
    mock: str,
    plugin: str | None,
    deadline: float,
    directory: Path,
    folder: Path,
    workers: int,
    as_json: bool,
    junit: Path | None,
) -> int:
    """Run findings and regressions again, in fresh processes, and say which are fixed.

    FIXED takes three passes (ten of a flaky finding) and a pass of every neighbour that was seen to fail.
    Exit code 0 if all are FIXED, 1 if any is not, 3 if none could run.

    With --workarounds: say which workarounds for compiler bugs can go. SAFE TO REMOVE takes a pass of the avoided form
    and of its neighbours on every mesh and in every dtype, three in fresh processes, and a bug that would show here.
    Exit code 0 if there is nothing to do (KEEP, CANNOT TELL HERE), 1 if there is (SAFE TO REMOVE, REPLACEMENT WRONG),
    3 if none could run.
    """
    if workarounds and every:
        raise UsageError("--all is for findings and regressions; --workarounds without IDs verifies all workarounds")
    if not workarounds and bool(ids) == every:
        raise UsageError("say which: IDs of findings or regressions, or --all")
    if workarounds:
        entries = _chosen_workarounds(folder, ids)
        config = target_config(target, mock, plugin, tuple(mesh for each in entries for mesh in each.meshes))
        return _workarounds(entries, config, deadline, workers, as_json, junit)
    from fuzz.replay import Runner

    named = [name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    wanted = _subjects(directory, "directory" in named, folder, "folder" in named)
    chosen = wanted if every else _chosen(wanted, ids)
    config = target_config(target, mock, plugin, tuple(subject.case.mesh for subject in chosen))
    return _verify(chosen, Runner(config, deadline=deadline), workers, as_json, junit)


def _subjects(directory: Path, needs_campaign: bool, folder: Path, needs_corpus: bool) -> list[Subject]:
    """What there is to verify; a folder that was asked for by name must be there. Raises StoreError, CorpusError."""
    from fuzz.corpus import REGRESSIONS, files, load_entry
    from fuzz.store import DATABASE, Store
    from fuzz.verify import subjects

    findings, kind = [], ""
    if needs_campaign or (directory / DATABASE).is_file():
        with Store.open(directory) as store:
            findings, kind = store.findings(), stored(store)[0].target.kind
    paths = files(folder) if needs_corpus or folder.is_dir() else []
    return subjects(findings, [load_entry(path) for path in paths if path.parent.name == REGRESSIONS], kind)


def _chosen(subjects: Sequence[Subject], ids: Sequence[str]) -> list[Subject]:
    """The subjects whose ids begin so, in the order given. Raises UsageError."""
    chosen: dict[str, Subject] = {}
    for name in ids:
        found = [subject for subject in subjects if subject.id.startswith(name)]
        if len(found) != 1:
            raise UsageError(f"{'no' if not found else 'more than one'} finding or regression {name!r}")
        chosen[name] = found[0]
    return list({subject.id: subject for subject in chosen.values()}.values())


def _verify(chosen: Sequence[Subject], runner: Runner, workers: int, as_json: bool, junit: Path | None) -> int:
    from fuzz.report.junit import junit_xml
    from fuzz.report.progress import counted
    from fuzz.report.verification import verification_plain, verification_suite, verification_text
    from fuzz.verify import Status
    from fuzz.verify import verify as verifications
    from oracles.targets.environment import prepare

    where = f"{runner.config}, {_version(runner.config)}"
    prepare(runner.config)
    running = counted(
        verifications(chosen, runner, workers), len(chosen), lambda each: f"{each.subject.id} {each.status}"
    )
    order = [subject.id for subject in chosen]
    done = sorted(running, key=lambda each: order.index(each.subject.id))
    if junit is not None:
        junit.write_text(junit_xml([verification_suite(done)]), encoding="utf-8")
    show_text(verification_text(done, where), verification_plain(done, where) if as_json else None)
    statuses = {each.status for each in done}
    if done and statuses == {Status.NOT_RUN}:
        return ENVIRONMENT
    return NOTHING_NEW if statuses <= {Status.FIXED} else FINDINGS


def _chosen_workarounds(folder: Path, ids: Sequence[str]) -> list[Workaround]:
    """The workarounds of these ids, or all. Raises UsageError, WorkaroundError."""
    from fuzz.workarounds import load_workarounds

    known = {each.id: each for each in load_workarounds(folder)}
    if unknown := [name for name in ids if name not in known]:
        raise UsageError(f"no workaround {unknown[0]!r} in {folder}")
    return [known[name] for name in dict.fromkeys(ids)] or list(known.values())


def _workarounds(
    wanted: Sequence[Workaround],
    config: TargetConfig,
    deadline: float,
    workers: int,
    as_json: bool,
    junit: Path | None,
) -> int:
    from fuzz.pool import Pool
    from fuzz.removal import Advice, confirmed, rulings, trial
    from fuzz.replay import Runner, replaying
    from fuzz.report.junit import junit_xml
    from fuzz.report.progress import counted
    from fuzz.report.verification import removal_plain, removal_suite, removal_text
    from oracles.targets.environment import prepare

    version = _version(config)
    where = f"{config}, {version}"
    prepare(config)
    with (
        tempfile.TemporaryDirectory(prefix="meshfuzz-workarounds-") as scratch,
        Pool(config, Path(scratch), workers=workers, deadline=deadline) as pool,
    ):
        running = rulings(wanted, config, version, trial(pool), workers)
        first = list(counted(running, len(wanted), lambda each: f"{each.workaround.id} {each.advice}"))
    # Warm workers are gone by now: no more processes at once than were asked for.
    safe = [each for each in first if each.advice is Advice.SAFE]
    final = {each.workaround.id: each for each in first}
    if safe:
        with replaying(Runner(config, deadline=deadline), workers) as again, ThreadPoolExecutor(workers) as threads:
            sure = threads.map(lambda each: confirmed(each, again), safe)
            counting = counted(sure, len(safe), lambda each: f"{each.workaround.id} {each.advice}, in fresh processes")
            final |= {each.workaround.id: each for each in counting}
    done = [final[each.id] for each in wanted]
    if junit is not None:
        junit.write_text(junit_xml([removal_suite(done)]), encoding="utf-8")
    show_text(removal_text(done, where), removal_plain(done, where) if as_json else None)
    if done and all(each.broken for each in done):
        return ENVIRONMENT
    return FINDINGS if any(each.actionable for each in done) else NOTHING_NEW


def _version(config: TargetConfig) -> str:
    """Of what the target is made of: a verdict holds for no other. Raises TargetUnavailable."""
    from oracles.targets.environment import check_plugin, find_tt_plugin, plugin_version, versions

    if config.kind == "tt":
        return plugin_version(find_tt_plugin(config.plugin))
    if config.kind == "plugin":
        return plugin_version(check_plugin(Path(str(config.plugin))))
    package = "torch_xla" if config.kind == "torchxla" else "jaxlib"
    return f"{package} {versions().get(package, 'of unknown version')}"
