# SPDX-License-Identifier: Apache-2.0
"""What a campaign is asked to do, as plain data. Imports no torch, so that the command line starts fast."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from fuzz.case import DTYPES, MeshfuzzError
from fuzz.document import DocumentError, mapping, shown
from fuzz.plain import read
from fuzz.strategies.space import Space
from oracles.targets.config import TargetConfig

_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

# Beyond these a setting in a database is no one's wish.
MAX_WORKERS = 1024
MAX_NUMBER = 1 << 39  # of a case
ENGINES = ("local", "ray")  # this machine, or a cluster
MAX_DEADLINE = 86400.0  # seconds
MAX_MEMORY = 1 << 42  # bytes

# What comes with meshfuzz: beside the packages, in a checkout and where it is installed.
CORPUS = Path(__file__).parents[1] / "corpus"


class UsageError(MeshfuzzError):
    """An option has a value that makes no sense, alone or with the others."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides which cases run, on what, and how they are judged. Stored with the campaign."""

    target: TargetConfig
    space: Space
    seed: int = 0
    workers: int = 2  # processes that run cases; 0, with Ray: one per CPU of the cluster
    deadline: float = 60.0  # seconds per case
    memory_limit: int = 4 << 30  # bytes of a worker before it is replaced
    revisit: float = 0.1  # share of the cases with a known bucket's pattern that run all the same
    corpus: str = ""  # folder whose cases run first; empty: none
    first: int = 0  # number of the first case
    engine: str = "local"  # one of ENGINES: where the workers are

    def to_plain(self) -> dict[str, Any]:
        return asdict(self) | {"target": self.target.to_plain()}

    @classmethod
    def from_plain(cls, data: object) -> Self:
        """The settings in a database, which anyone may have written. Raises DocumentError, CaseError."""
        fields = mapping(data, "settings", {"target"}, cls.__slots__)
        target = TargetConfig.from_plain(fields["target"], "settings.target")
        settings = read(cls, {**fields, "target": asdict(target)}, "settings")
        space = settings.space
        limits = {
            "workers": (settings.workers, 0 if settings.engine == "ray" else 1, MAX_WORKERS),
            "deadline": (settings.deadline, 0, MAX_DEADLINE),
            "memory_limit": (settings.memory_limit, 1, MAX_MEMORY),
            "space.memory_limit": (space.memory_limit, 1, MAX_MEMORY),
            "revisit": (settings.revisit, 0, 1),
            "first": (settings.first, 0, MAX_NUMBER),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise DocumentError(f"{shown(value)} is not between {least} and {most}", f"settings.{name}")
        if settings.engine not in ENGINES:
            raise DocumentError(f"{shown(settings.engine)} is none of {', '.join(ENGINES)}", "settings.engine")
        if not space.meshes or not space.dtypes or not set(space.dtypes) <= set(DTYPES):
            raise DocumentError(f"needs meshes, and dtypes of {', '.join(DTYPES)}", "settings.space")
        return settings


@dataclass(frozen=True, slots=True)
class Budget:
    """When a campaign ends: at the first of these that is reached; None is no limit."""

    seconds: float | None = None  # of this run, from when the target is open
    cases: int | None = None  # drawn since the campaign began, skipped ones included
    findings: int | None = None  # new ones of this run; looked at between rounds

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, data: object) -> Self:
        """Raises DocumentError."""
        return read(cls, data, "budget")


def parse_seconds(text: str) -> float:
    """`90`, `90s`, `15m`, `2h` or `1h30m` in seconds. Raises UsageError."""
    parts = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip().lower())
    if parts is None or not any(parts.groups()):
        raise UsageError(f"unknown duration {text!r}: write for example 90s, 15m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total <= 0:
        raise UsageError(f"duration {text!r} must be more than zero")
    return total


def parse_bytes(text: str) -> int:
    """`512M`, `4G` or a plain number of bytes. Raises UsageError."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:I?B)?", text.strip().upper())
    if parts is None or float(parts[1]) <= 0:
        raise UsageError(f"unknown size {text!r}: write for example 512M or 4G")
    return int(float(parts[1]) * _BYTES[parts[2]])
