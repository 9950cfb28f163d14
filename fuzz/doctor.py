# SPDX-License-Identifier: Apache-2.0
"""What is installed, which targets start, and how to get the rest."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz.case import Mesh
from fuzz.pool import Pool
from fuzz.worker_process import WORKER
from oracles.targets import environment
from oracles.targets.config import TargetConfig, TargetUnavailable

JAX_TESTED = ((0, 7), (0, 11))  # from the first, below the second
TOPOLOGY = Mesh.parse("2x2")
# Bytes. Every start of the TT plugin unpacks 0.4 GB, preparing it compiles another 0.3 GB, and logs want room.
DISK_NEEDED = 2 << 30
TARGETS = ("cpu", "torchxla", "tt")


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""  # what to do if it is not ok


def doctor(command: tuple[str, ...] = WORKER) -> Iterator[Check]:
    """The checks in the order a user needs them; starting the targets comes last and takes a while."""
    found = environment.versions()
    python = found["python"]
    yield Check("python", sys.version_info >= (3, 11), python, "install Python 3.11 or newer")
    for name in ("torch", "torch_xla", "jax", "jaxlib"):
        yield Check(name, name in found, found.get(name, "not installed"), f"pip install {name}")
    yield _torch_pair(found)
    yield _jax_range(found)
    yield _plugin()
    count = environment.chips()
    yield Check("chips", True, f"{count} Tenstorrent chips" if count else "none: compiles for a mock mesh")
    yield _disk()
    for kind in TARGETS:
        yield _starts(TargetConfig(kind, TOPOLOGY, None, mock=kind == "tt"), command)


def _release(version: str) -> tuple[int, int]:
    """The first two numbers of a version; (0, 0) if it has none."""
    parts = version.split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else (0, 0)


def _torch_pair(found: dict[str, str]) -> Check:
    """A torch_xla from PyPI fits exactly the torch of its own release; Tenstorrent's fork goes with newer ones."""
    torch, torch_xla = found.get("torch", ""), found.get("torch_xla", "")
    fits = bool(torch and torch_xla) and (
        _release(torch) == _release(torch_xla) or "+" in torch_xla or "git" in torch_xla
    )
    return Check(
        "torch fits torch_xla",
        fits,
        f"{torch or 'none'} with {torch_xla or 'none'}",
        "install the same release of both, for example torch==2.9.0 torch_xla==2.9.0",
    )


def _jax_range(found: dict[str, str]) -> Check:
    version = found.get("jaxlib", "")
    low, high = JAX_TESTED
    return Check(
        "jaxlib is a tested release",
        low <= _release(version) < high,
        version or "not installed",
        f"install one from {low[0]}.{low[1]} on, below {high[0]}.{high[1]}",
    )


def _plugin() -> Check:
    try:
        path = environment.find_tt_plugin()
    except TargetUnavailable as error:
        return Check("TT plugin", False, str(error), "pip install 'meshfuzz[tt]'")
    return Check("TT plugin", True, f"{environment.plugin_version(path)}, {path.name}")


def _disk() -> Check:
    """Room where workers keep their temporary files."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    detail = f"{free / (1 << 30):.1f} GB free in {tempfile.gettempdir()}"
    return Check("disk", free >= DISK_NEEDED, detail, f"free {DISK_NEEDED >> 30} GB or set TMPDIR to another disk")


def _starts(config: TargetConfig, command: tuple[str, ...]) -> Check:
    name = f"target {config}"
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        try:
            environment.prepare(config)
            with Pool(config, Path(folder), workers=1, command=command):
                return Check(name, True, "starts")
        except TargetUnavailable as error:
            return Check(name, False, str(error), "see the lines above; the message names what is missing")
