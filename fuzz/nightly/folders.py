# SPDX-License-Identifier: Apache-2.0
"""The folders of nights: what they are called, which one is the newest, and which are old enough to go."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from fuzz.case import MeshfuzzError
from fuzz.document import mapping, text
from fuzz.plain import read

NAME = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.([1-9]\d{0,5}))?")
STATE = "night.json"
LATEST = "latest"
REMOVING = ".removing-"  # a folder that is being removed; a kill in between leaves no half of a night behind


class NightError(MeshfuzzError):
    """A night's own files are not what they should be."""


def nights(folder: Path) -> list[Path]:
    """The folders of nights, the first one first. What else lies beside them is none of ours."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _order(path.name) is not None and _is_night(path)]
    return sorted(found, key=lambda path: _order(path.name) or ("", 0))


def _order(name: str) -> tuple[str, int] | None:
    """Date and number of a night; None if the name is no night's."""
    parts = NAME.fullmatch(name)
    if parts is None:
        return None
    try:
        date.fromisoformat(parts[1])
    except ValueError:
        return None
    return parts[1], int(parts[2] or 1)


def _is_night(path: Path) -> bool:
    state = path / STATE
    return path.is_dir() and not path.is_symlink() and state.is_file() and not state.is_symlink()


def number_of(name: str) -> int:
    """Which of its day's nights it is, from 1."""
    order = _order(name)
    if order is None:
        raise NightError(f"{name} is no name of a night: those are like 2026-11-23 or 2026-11-23.2")
    return order[1]


def unused_name(folder: Path, day: date) -> str:
    """The name of the day's next night: the date, and from the second on its number."""
    taken = {path.name for path in folder.iterdir()}
    number = 1
    while (name := f"{day}" if number == 1 else f"{day}.{number}") in taken:
        number += 1
    return name


def read_state(night: Path) -> dict[str, Any]:
    """What a night says of itself. Raises NightError."""
    try:
        state = json.loads((night / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NightError(f"{night / STATE} cannot be read ({error}): remove or move that night") from error
    try:
        fields = dict(mapping(state, "", None))
        datetime.fromisoformat(text(fields.get("began"), "began"))
        for name, phase in mapping(fields.get("phases"), "phases", None).items():
            mapping(phase, f"phases.{name}", {"seconds"}, phase if isinstance(phase, dict) else ())
        read(_State, {name: fields.get(name) for name in ("seed", "spent", "attempt", "finished")})
    except ValueError as error:
        raise NightError(f"{night / STATE} is no night's state ({error}): remove or move that night") from error
    return fields


@dataclass(frozen=True, slots=True)
class _State:
    seed: int
    spent: float
    attempt: float | None
    finished: bool


def write_state(night: Path, state: Mapping[str, Any]) -> None:
    """At once: a kill leaves the old state or the new one."""
    beside = night / f"{STATE}.new"
    beside.write_text(json.dumps(state, indent=1), encoding="utf-8")
    beside.replace(night / STATE)


def point_latest(folder: Path, name: str) -> None:
    """Make `latest` lead to a night; a folder or file of that name is left alone."""
    link = folder / LATEST
    if link.exists() and not link.is_symlink():
        raise NightError(f"{link} is no symbolic link: move it away")
    beside = folder / f"{LATEST}.new"
    beside.unlink(missing_ok=True)
    beside.symlink_to(name, target_is_directory=True)
    os.replace(beside, link)


def remove_old(folder: Path, today: date, keep_days: int) -> list[str]:
    """Remove nights older than so many days, never the newest. Returns their names."""
    for path in folder.glob(f"{REMOVING}*"):
        if path.is_dir() and not path.is_symlink() and NAME.fullmatch(path.name.removeprefix(REMOVING)):
            shutil.rmtree(path)
    removed = []
    for path in nights(folder)[:-1]:
        day = date.fromisoformat((_order(path.name) or ("", 0))[0])
        if day < today - timedelta(days=keep_days):
            going = folder / f"{REMOVING}{path.name}"
            path.rename(going)
            shutil.rmtree(going)  # removes links in it, not what they lead to
            removed.append(path.name)
    return removed
