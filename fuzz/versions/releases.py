# SPDX-License-Identifier: Apache-2.0
"""Bisection over the released versions of a plugin, each in its environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fuzz.grid import Cell
from fuzz.replay import replay
from fuzz.settings import UsageError
from fuzz.versions.bisection import Answer, Criterion, bisect
from fuzz.versions.environments import InstallFailed, PluginVersion, available, environment, parse_plugins
from fuzz.versions.subjects import Subject
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig


def bisect_releases(
    subject: Subject,
    ends: Mapping[str, str],
    config: TargetConfig,
    deadline: float,
    plugins: str,
    pin: Path | None,
    tell: Callable[[str], object],
) -> Answer:
    """The first version between two that changed what the case does.

    `ends`: versions named good and bad, or old and new. `plugins`: all versions in order, or the name to ask pip for.
    Raises UsageError, BisectionError, InstallFailed.
    """
    name, versions = parse_plugins(plugins)
    known = versions or available(name)
    if missing := [version for version in ends.values() if version not in known]:
        raise UsageError(f"there is no {name} {missing[0]} to bisect; there are {', '.join(known)}")
    first, second = sorted(ends, key=lambda end: known.index(ends[end]))
    if ends[first] == ends[second]:
        raise UsageError(f"--{first} and --{second} are one version")
    if first == "new":
        raise UsageError(f"--old {ends['old']} must be before --new {ends['new']}")

    def run(version: str) -> Cell:
        try:
            runner = environment(PluginVersion(name, version), pin).runner(config, deadline)
        except InstallFailed as error:
            cell = Cell(Verdict.ENV, "install", str(error))
        else:
            again = replay(subject.case, runner)
            cell = Cell.of(again.outcome, again.bucket)
        tell(f"{name} {version}: {cell.message if cell.verdict is Verdict.ENV else cell.says}")
        return cell

    between = known[known.index(ends[first]) : known.index(ends[second]) + 1]
    return bisect(between, run, Criterion(first, second, subject.bucket))
