# SPDX-License-Identifier: Apache-2.0
"""`meshfuzz matrix` and `meshfuzz bisect`: cases on several versions of the plugin."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fuzz.case import Mesh
from fuzz.commands.options import corpus_option, dir_option, stored
from fuzz.commands.output import ENVIRONMENT, FINDINGS, NOTHING_NEW, say, show_text, write_text
from fuzz.commands.run import interrupt
from fuzz.settings import UsageError
from oracles.targets.config import TargetConfig

if TYPE_CHECKING:
    from fuzz.versions.subjects import Subject

mock_option = click.option(
    "--mock", default="2x2", show_default=True, metavar="RxC", help="Devices of the mesh that is compiled for."
)
pin_option = click.option(
    "--pin",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Requirements file of pip: what it names is installed beside each plugin, for example another jaxlib.",
)
deadline_option = click.option(
    "--deadline",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds a case may take before it is a HANG.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.command()
@click.argument("cases", nargs=-1, metavar="[ID|FILE]...")
@click.option(
    "--plugins",
    multiple=True,
    required=True,
    metavar="NAME[==VERSION,VERSION..]",
    help="Versions to try, oldest first; a name alone stands for all that can be installed.",
)
@pin_option
@mock_option
@corpus_option
@dir_option
@deadline_option
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(min=1), help="Cases that run at the same time."
)
@click.option("--fresh", is_flag=True, help="Run all again; default: results that are known are taken as they are.")
@json_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the grid there as Markdown, too; default: nowhere.",
)
def matrix(
    cases: Sequence[str],
    plugins: Sequence[str],
    pin: Path | None,
    mock: str,
    folder: Path,
    directory: Path,
    deadline: float,
    workers: int,
    fresh: bool,
    as_json: bool,
    output: Path | None,
) -> int:
    """Run cases on several versions of a plugin, each in a fresh process, and say what changed.

    Without cases: all seeds and regressions, and the findings of --dir. An interrupted matrix goes on where it was.

    Exit code 1 if anything broke or became silent from one version to the next, 3 if no version runs.
    """
    from fuzz.report.matrix import grid_markdown, grid_text
    from fuzz.report.progress import counted
    from fuzz.versions.environments import versions_wanted
    from fuzz.versions.matrix import Matrix, candidates
    from fuzz.versions.results import Results
    from oracles.targets.environment import cache_root

    signal.signal(signal.SIGTERM, interrupt)
    config = TargetConfig("tt", Mesh.parse(mock))
    subjects = _fitting(_subjects(cases, folder, directory), config)
    wanted = versions_wanted(plugins)
    with Results(cache_root() / "results.db") as known:
        starting = candidates(wanted, config, deadline, known, pin)
        tried = list(counted(starting, len(wanted), lambda each: f"{each.name} {each.cannot or 'starts'}"))
        made = Matrix({subject.name: subject.case for subject in subjects}, tried, str(config), known, fresh)
        ran = counted(
            made.run(workers), len(made.missing), lambda each: f"{each.case} {each.version} {each.cell.verdict}"
        )
        for _ in ran:
            if output is not None:
                write_text(grid_markdown(made.grid()), output)
        grid = made.grid()
    if output is not None:
        write_text(grid_markdown(grid), output)
    show_text(grid_text(grid), grid.to_plain() if as_json else None)
    if all(column.cannot for column in grid.columns):
        return ENVIRONMENT
    return FINDINGS if grid.worse else NOTHING_NEW


def _subjects(texts: Sequence[str], corpus: Path, directory: Path) -> list[Subject]:
    """What the arguments name, or everything. Raises UsageError, CorpusError, StoreError."""
    from fuzz.corpus import entries
    from fuzz.finding import Finding
    from fuzz.store import DATABASE, Store
    from fuzz.versions.subjects import chosen, known_subjects

    if texts and all(Path(text).is_file() for text in texts):
        return chosen(texts, ())
    findings: list[Finding] = []
    if (directory / DATABASE).is_file():
        with Store.open(directory) as store:
            if stored(store)[0].target.kind == "tt":
                findings = store.findings()
    known = known_subjects(entries(corpus), findings)
    return chosen(texts, known) if texts else known


def _fitting(subjects: Sequence[Subject], config: TargetConfig) -> list[Subject]:
    """Those whose mesh the devices suffice for; the others are named on stderr. Raises UsageError if none is left."""
    fitting = [subject for subject in subjects if config.serves(subject.case.mesh)]
    if left := [subject.name for subject in subjects if subject not in fitting]:
        say(f"left out, because they need more devices than {config.topology}: {', '.join(left)}", err=True)
    if not fitting:
        raise UsageError(f"no case to run on {config.topology}: name one, or give a larger --mock")
    return fitting


@click.command("bisect")
@click.argument("case", metavar="ID|FILE")
@click.option("--good", metavar="VERSION", help="A version on which the case passes.")
@click.option("--bad", metavar="VERSION", help="A version on which it fails in its bucket, a seed in any way.")
@click.option(
    "--old", metavar="VERSION", help="With --new, in place of good and bad: what the case does may be anything."
)
@click.option("--new", metavar="VERSION", help="A later version on which it does something else.")
@click.option(
    "--plugins",
    default="jax-tt-plugin",
    show_default=True,
    metavar="NAME[==VERSION,VERSION..]",
    help="The versions there are, oldest first; of a name alone, those that can be installed.",
)
@pin_option
@click.option(
    "--command",
    metavar="CMD",
    help="Bisect revisions of --repository instead: runs in it at each, and prints the path of the plugin's shared "
    "object as its last line.",
)
@click.option(
    "--repository",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Clone of the plugin's source; it is left as it was.",
)
@mock_option
@corpus_option
@dir_option
@deadline_option
@json_option
def bisect_command(
    case: str,
    good: str | None,
    bad: str | None,
    old: str | None,
    new: str | None,
    plugins: str,
    pin: Path | None,
    command: str | None,
    repository: Path | None,
    mock: str,
    folder: Path,
    directory: Path,
    deadline: float,
    as_json: bool,
) -> int:
    """Find the first version that changed what a case does: that broke it, or that fixed it.

    Versions that cannot run are passed over; if they lie at the change, the answer is a range.
    """
    ends = _ends(good, bad, old, new)
    if (command is None) != (repository is None):
        raise UsageError("--command and --repository go together")
    signal.signal(signal.SIGTERM, interrupt)
    config = TargetConfig("tt", Mesh.parse(mock))
    (subject,) = _fitting(_subjects([case], folder, directory), config)
    if command is not None and repository is not None:
        from fuzz.versions.builds import bisect_builds

        answer = bisect_builds(subject, ends, config, deadline, command, repository.resolve())
    else:
        from fuzz.versions.releases import bisect_releases

        answer = bisect_releases(subject, ends, config, deadline, plugins, pin, partial(say, err=True))
    if as_json:
        click.echo(json.dumps({"case": subject.name} | answer.to_plain(), indent=2))
    else:
        say(str(answer))
    return NOTHING_NEW


def _ends(good: str | None, bad: str | None, old: str | None, new: str | None) -> dict[str, str]:
    """The two versions by what they are called. Raises UsageError."""
    given = {
        name: value for name, value in (("good", good), ("bad", bad), ("old", old), ("new", new)) if value is not None
    }
    if set(given) not in ({"good", "bad"}, {"old", "new"}):
        raise UsageError("give --good and --bad, or --old and --new")
    return given


@click.command("bisect-step", hidden=True)
@click.argument("job", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def bisect_step(job: Path) -> int:
    """Build and judge one revision for `git bisect run`."""
    from fuzz.versions.builds import Job, step

    signal.signal(signal.SIGTERM, interrupt)
    return step(Job.from_plain(json.loads(job.read_text(encoding="utf-8"))))
