# SPDX-License-Identifier: Apache-2.0
"""The configuration of a nightly campaign: a YAML file, read as `fuzz.document` reads, checked key by key."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from fuzz.case import CaseError, Mesh, MeshfuzzError
from fuzz.document import DocumentError, integer, mapping, parse, read_text, sequence, text, texts
from fuzz.settings import CORPUS, UsageError, parse_bytes, parse_seconds
from oracles.targets.config import KINDS

NIGHTS_PER_DAY = 100  # of which each draws other cases
Value = TypeVar("Value")


class ConfigError(MeshfuzzError):
    """The file is not what it should be; the message begins with file, line and column."""


class Reason(StrEnum):
    """What may fail a night."""

    NEW_FINDINGS = "new_findings"  # buckets that no night before found and the corpus does not have
    REGRESSIONS = "regressions"  # what was fixed, or passed before, and fails
    PENDING = "pending"  # failures that the time did not suffice to reduce; the next night begins with them
    ENVIRONMENT = "environment"  # the target did not start, went away, or judged no case


class Verifying(StrEnum):
    """What is replayed in fresh processes, of what is known to fail and did not in this night's campaign."""

    NONE = "none"
    FINDINGS = "findings"  # of earlier nights
    ALL = "all"  # those, and the regressions of the corpus


@dataclass(frozen=True, slots=True)
class Config:
    """What a night does. Paths are absolute."""

    folder: Path  # of all nights
    target: str = "tt"
    mock: str = "2x2"
    plugin: str | None = None
    meshes: tuple[Mesh, ...] = ()  # empty: all that fit the mock mesh
    workers: int = 2
    memory: str = "4G"  # of a worker
    deadline: float = 60.0  # seconds per case
    seed: int | None = None  # None: another one each night, from its date
    time: float = 600.0  # seconds of the campaign, the corpus included
    cases: int | None = None  # drawn, of the campaign; None: as many as there is time for
    keep_days: int = 30
    corpus: Path | None = None  # None: none
    verify: Verifying = Verifying.ALL
    verify_share: float = 0.25  # of `time`, which verification may take on top
    policy: frozenset[Reason] = frozenset(Reason) - {Reason.PENDING}
    links: str = ""  # address under which the files of the repository are; empty: pages link to nothing

    def seed_of(self, day: date, number: int) -> int:
        """The seed of the day's n-th night, counted from 1."""
        if self.seed is not None:
            return self.seed
        return int(day.strftime("%Y%m%d")) * NIGHTS_PER_DAY + number - 1

    def to_plain(self) -> dict[str, Any]:
        changes = {
            "folder": str(self.folder),
            "meshes": [str(mesh) for mesh in self.meshes],
            "corpus": str(self.corpus or ""),
            "verify": str(self.verify),
            "policy": sorted(self.policy),
        }
        return asdict(self) | changes


def load_config(path: Path) -> Config:
    """Read a configuration; paths in it are relative to its folder. Raises ConfigError."""
    try:
        document = parse(read_text(path))
    except DocumentError as error:
        raise ConfigError(f"{path}:{error.place}: {error}" if error.place else f"{path}: {error}") from error
    try:
        return _config(document.data, path.resolve().parent)
    except DocumentError as error:
        raise ConfigError(f"{path}:{document.located(error.place)}: {error}") from error


def _config(data: object, folder: Path) -> Config:
    names = [field.name for field in fields(Config)]
    given = mapping(data, "", {"folder"}, [name for name in names if name != "folder"])
    readers = _readers(folder)
    values = {name: readers[name](value, name) for name, value in given.items() if value is not None}
    if "folder" not in values:
        raise DocumentError("needs a path", "folder")
    if "corpus" not in given and CORPUS.is_dir():
        values["corpus"] = CORPUS
    if values.get("mock") == "off" and not values.get("meshes"):
        raise DocumentError("off needs meshes: those of your chips", "mock")
    return Config(**values)


Reader = Callable[[object, str], Any]


def _readers(folder: Path) -> Mapping[str, Reader]:
    """What each key must be, and what becomes of it."""

    def path(data: object, place: str) -> Path:
        if not (given := text(data, place)):
            raise DocumentError("needs a path", place)
        return folder / given

    def existing(data: object, place: str) -> Path | None:
        if not text(data, place):
            return None
        if not (found := path(data, place)).is_dir():
            raise DocumentError(f"no folder {found}", place)
        return found

    return {
        "folder": path,
        "target": lambda data, place: _target(data, place, folder),
        # YAML takes off for a truth value.
        "mock": lambda data, place: "off" if data in ("off", False) else str(_mesh(data, place)),
        "plugin": lambda data, place: str(path(data, place)),
        "meshes": lambda data, place: tuple(_mesh(m, f"{place}[{n}]") for n, m in enumerate(sequence(data, place))),
        "workers": _at_least(1),
        "memory": lambda data, place: _parsed(parse_bytes, data, place) and text(data, place),
        "deadline": lambda data, place: _number(data, place, 0.1, 86400.0),
        "seed": _at_least(0),
        "time": lambda data, place: _parsed(parse_seconds, data, place),
        "cases": _at_least(1),
        "keep_days": _at_least(1),
        "corpus": existing,
        "verify": lambda data, place: _one_of(Verifying, data, place),
        "verify_share": lambda data, place: _number(data, place, 0.0, 10.0),
        "policy": lambda data, place: frozenset(
            _one_of(Reason, name, f"{place}[{n}]") for n, name in enumerate(texts(data, place))
        ),
        "links": _address,
    }


def _target(data: object, place: str, folder: Path) -> str:
    kind, _, path = text(data, place).partition(":")
    if kind not in KINDS or bool(path) != (kind == "plugin"):
        raise DocumentError(f"unknown target {data!r}: use cpu, torchxla, tt or plugin:PATH", place)
    return f"{kind}:{folder / path}" if path else kind


def _mesh(data: object, place: str) -> Mesh:
    try:
        return Mesh.parse(text(data, place))
    except CaseError as error:
        raise DocumentError(str(error), place) from error


def _at_least(least: int) -> Reader:
    def read(data: object, place: str) -> int:
        if (value := integer(data, place)) < least:
            raise DocumentError(f"{value} is less than {least}", place)
        return value

    return read


def _number(data: object, place: str, least: float, most: float) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float) or not math.isfinite(data):
        raise DocumentError(f"expected a number, got {data!r}", place)
    if not least <= data <= most:
        raise DocumentError(f"{data} is not between {least:g} and {most:g}", place)
    return float(data)


def _parsed(read: Callable[[str], Value], data: object, place: str) -> Value:
    """What `fuzz.settings` makes of a text; a plain number of seconds or bytes is one too."""
    plain = str(data) if isinstance(data, int) and not isinstance(data, bool) else text(data, place)
    try:
        return read(plain)
    except UsageError as error:
        raise DocumentError(str(error), place) from error


Choice = TypeVar("Choice", bound=StrEnum)


def _one_of(choices: type[Choice], data: object, place: str) -> Choice:
    named = text(data, place)
    if named not in list(choices):
        raise DocumentError(f"unknown {place.split('[')[0]} {named!r}: use {', '.join(choices)}", place)
    return choices(named)


def _address(data: object, place: str) -> str:
    """Pages link to it, so it must be an address that a browser may open from a page of anyone's."""
    given = text(data, place)
    if given and not given.startswith(("https://", "http://")):
        raise DocumentError(f"{given!r} is no address: it begins with https://", place)
    return given.rstrip("/")
