# SPDX-License-Identifier: Apache-2.0
"""An environment per version of a plugin, made on first use and kept: complete, or not there.

It holds the plugin alone, and after it on the path are the packages of this Python: a whole stack is 3 GB, of which
a plugin is 0.1. What a pin file names is installed beside the plugin, and comes before the packages of this Python too.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import re
import shutil
import site
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fuzz.replay import Runner
from fuzz.settings import UsageError
from oracles.targets.config import TargetConfig, TargetUnavailable
from oracles.targets.environment import TT_PLUGINS, cache_root, locked

DEFAULT_PLUGIN = "jax-tt-plugin"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_KNOWN = re.compile(r"the requirement (\S+) .*\(from versions: ([^)]*)\)")
_LISTED = 10  # versions in a message, the newest
_AVAILABLE = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
_PACKAGES = "meshfuzz-packages.pth"
_PIP = ("--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "15")
_UNFINISHED = "unfinished-"
_OBJECTS = tuple(f"{module.replace('.', '/')}/{file}" for module, file, _ in TT_PLUGINS)


class InstallFailed(TargetUnavailable):
    """A version of a plugin cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class PluginVersion:
    """A version of a plugin as package indexes know it."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python that has one version of a plugin and everything else that a worker needs."""

    python: Path
    plugin: Path  # its shared object

    def runner(self, config: TargetConfig, deadline: float) -> Runner:
        """Runs cases in it. The plugin is named, so that no other one is found."""
        command = (str(self.python), "-m", "fuzz.worker")
        return Runner(replace(config, plugin=str(self.plugin)), command, deadline)


def parse_plugins(text: str) -> tuple[str, tuple[str, ...]]:
    """`NAME` or `NAME==VERSION[,VERSION]`: the name, and the versions in the order given. Raises UsageError."""
    name, _, rest = text.partition("==")
    versions = tuple(version.strip().removeprefix("==") for version in rest.split(",")) if rest else ()
    if not _NAME.fullmatch(name.strip()) or not all(map(_VERSION.fullmatch, versions)) or ("==" in text and not rest):
        raise UsageError(f"cannot read plugins {text!r}: write for example {DEFAULT_PLUGIN}==0.1.2,0.1.3")
    return name.strip(), tuple(dict.fromkeys(versions))


def available(name: str) -> tuple[str, ...]:
    """The versions of a plugin that can be installed here, oldest first, as pip says. Raises InstallFailed."""
    done = _pip("index", "versions", name)
    listed = _AVAILABLE.search(done.stdout)
    if listed is None:
        raise InstallFailed(f"no versions of {name} found: {_complaint(done.stderr)}")
    return tuple(reversed([version.strip() for version in listed.group(1).split(",")]))


def environment(wanted: PluginVersion, pin: Path | None = None) -> Environment:
    """The environment of a version, made if it is not there; others who want it wait. Raises InstallFailed.

    `pin` is a requirements file of pip; its packages are installed with what they depend on, as far as this Python
    does not have that.
    """
    folder = cache_root() / "environments" / _key(wanted, pin)
    if _opened(folder) is None:
        with _writable(folder.parent), locked(folder.parent / f"{folder.name}.lock"):
            if _opened(folder) is None:
                shutil.rmtree(folder, ignore_errors=True)  # its Python was removed since
                _build(folder, wanted, pin)
    if (found := _opened(folder)) is None:
        raise InstallFailed(f"{folder} is gone again: something else removes files from the cache")
    return found


def _key(wanted: PluginVersion, pin: Path | None) -> str:
    """Names what the environment is made of: another Python, other packages behind it or other pins make another."""
    parts = [str(folder) for folder in _package_folders()]
    if pin is not None:
        try:
            parts.append(pin.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--pin {pin} cannot be read: {getattr(error, 'strerror', error)}") from error
    made_of = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return f"{wanted.name}-{wanted.version}-py{platform.python_version()}-{made_of}"


def _package_folders() -> list[Path]:
    """Where packages of this Python are."""
    folders = site.getsitepackages() + ([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])
    return [Path(folder) for folder in folders if Path(folder).is_dir()]


def _opened(folder: Path) -> Environment | None:
    python = folder / "bin" / "python"
    plugin = next(filter(Path.is_file, (_own_packages(folder) / path for path in _OBJECTS)), None)
    return None if plugin is None or not python.exists() else Environment(python, plugin)


def _own_packages(folder: Path) -> Path:
    version = sys.version_info
    return folder / "lib" / f"python{version.major}.{version.minor}" / "site-packages"


def _build(folder: Path, wanted: PluginVersion, pin: Path | None) -> None:
    """Caller holds the lock. Built beside, under a name of its own, and renamed.

    The pip of a build that was killed may live on and write: it must not do so into the folder of the next one.
    """
    for left in folder.parent.glob(f"{_UNFINISHED}{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{_UNFINISHED}{folder.name}-", dir=folder.parent))
    try:
        venv.create(unfinished, symlinks=True)
        python = str(unfinished / "bin" / "python")
        # The plugin first: with the packages of this Python in sight, pip would take a plugin among them for it.
        _install(python, ["--no-deps", str(wanted)], wanted)
        behind = "".join(f"import site; site.addsitedir({str(path)!r})\n" for path in _package_folders())
        (_own_packages(unfinished) / _PACKAGES).write_text(behind, encoding="utf-8")
        if pin is not None:
            # The pins must not bring another version of the plugin; what it depends on is left to them.
            constraint = unfinished / "plugin.txt"
            constraint.write_text(f"{wanted}\n", encoding="utf-8")
            pins = ["--requirement", str(pin), "--constraint", str(constraint)]
            _install(python, pins, wanted, f" with --pin {pin}")
        if _opened(unfinished) is None:
            raise InstallFailed(f"{wanted} brings no TT plugin: expected {' or '.join(_OBJECTS)}")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _install(python: str, what: Sequence[str], wanted: PluginVersion, how: str = "") -> None:
    done = _pip("--python", python, "install", "--no-compile", "--quiet", *what)
    if done.returncode != 0:
        raise InstallFailed(f"{wanted} cannot be installed{how}: {_complaint(done.stderr)}")


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Raises InstallFailed if this Python has no pip."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", *_PIP, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0 and "No module named pip" in done.stderr:
        raise InstallFailed(f"{sys.executable} has no pip: run {sys.executable} -m ensurepip")
    return done


def _complaint(stderr: str) -> str:
    """Why pip failed, in one line."""
    known = _KNOWN.search(stderr)
    if known is not None and known.group(2) != "none":
        versions = known.group(2).split(", ")
        return f"no {known.group(1)} for this Python; there are {', '.join(versions[-_LISTED:])}"
    if known is not None or "No matching distribution found" in stderr:
        return "no package index answers, or none knows it"
    errors = [line.removeprefix("ERROR:").strip() for line in stderr.splitlines() if line.startswith("ERROR:")]
    return next(filter(None, errors), "pip failed without a reason")


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InstallFailed(
            f"cannot make an environment in {folder}: {error.strerror}; make it writable or set XDG_CACHE_HOME"
        ) from error


def versions_wanted(texts: Iterable[str]) -> tuple[PluginVersion, ...]:
    """Every version named on the command line, in that order; of a name alone, all there are."""
    return tuple(
        PluginVersion(name, version)
        for name, versions in map(parse_plugins, texts)
        for version in versions or available(name)
    )
