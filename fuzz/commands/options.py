# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce as fold
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fuzz.case import Case, CaseError, Mesh
from fuzz.case_file import load
from fuzz.confined import check_folder
from fuzz.document import DocumentError, shown
from fuzz.settings import CORPUS, Budget, Settings, UsageError
from oracles.targets.config import TargetConfig

if TYPE_CHECKING:
    from fuzz.finding import Finding
    from fuzz.store import Store

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
        "--plugin",
        metavar="PATH",
        help="Shared object to load as the target's plugin; default: the installed one. What a campaign's folder or a "
        "configuration names is loaded only if it is named here, too.",
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

corpus_option = click.option(
    "--corpus",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=CORPUS,
    help="Folder of the corpus; default: the one that comes with meshfuzz.",
)


def target_config(target: str, mock: str, plugin: str | None, meshes: Sequence[Mesh] = ()) -> TargetConfig:
    """The target of the options, for cases on these meshes. Raises TargetUnavailable, UsageError, CaseError."""
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


def subject_of(
    text: str, directory: Path, *, target: str, mock: str, plugin: str | None, deadline: float
) -> tuple[Case, TargetConfig, Finding | None]:
    """A case file with the target of the options, or a finding's case with its campaign's target.

    Raises CaseError, StoreError and what `target_config` raises.
    """
    if directory.exists():
        check_folder(directory)
    if Path(text).is_file():
        case = load(Path(text))
        return case, target_config(target, mock, plugin, (case.mesh,)), None
    from fuzz.store import Store

    if "/" in text or "." in text:
        raise CaseError(f"{text}: no such file")
    with Store.open(directory) as store:
        finding = store.finding(text)
        settings, _ = stored(store)
    return finding.case, confirmed(settings.target, plugin), finding


def stored(store: Store) -> tuple[Settings, Budget]:
    """What the campaign of a folder was started with. Raises StoreError."""
    from fuzz.store import StoreError

    plain = store.settings
    try:
        return Settings.from_plain(plain.get("settings")), Budget.from_plain(plain.get("budget", {}))
    except (DocumentError, CaseError) as error:
        raise StoreError(f"{store.directory} holds no campaign of this version: {error.place}: {error}") from error


def confirmed(config: TargetConfig, plugin: str | None) -> TargetConfig:
    """The target that a file names, if the command line names the same plugin: one is code, and files come from anyone.

    Raises UsageError.
    """
    if config.plugin is None:
        return config
    if plugin is None or Path(plugin).resolve() != Path(config.plugin).resolve():
        raise UsageError(
            f"the plugin {shown(config.plugin)} is named in a file, and would run here: "
            "if you trust it, name it with --plugin too"
        )
    return config
