# SPDX-License-Identifier: Apache-2.0
"""What this machine offers: the TT plugin, its chips, versions, and the prepared files that make the plugin start fast.

Imports no compiler, so that the driver can look around; what needs the plugin to run happens in a process of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from fuzz.case import Mesh
from oracles.targets.config import TargetConfig, TargetUnavailable
from oracles.targets.mock_cluster import check_grid, descriptor

# Modules that bring the plugin, in order of preference: the shared object in them, and their distribution.
TT_PLUGINS = (
    ("pjrt_plugin_tt", "pjrt_plugin_tt.so", "pjrt-plugin-tt"),  # Tenstorrent's own wheel
    ("jax_plugins.libtt", "libtt.so", "jax-tt-plugin"),  # the community build on PyPI
)
DISTRIBUTIONS = ("meshfuzz", "torch", "torch_xla", "jax", "jaxlib", "numpy", "hypothesis")
CHIPS = Path("/dev/tenstorrent")
ASSETS = "libtt-tt-metal-runtime-assets-*"  # what the community plugin unpacks into TMPDIR at every start, 417 MB
PREPARATION = Path(__file__).with_name("preparation.py")
PREPARATION_DEADLINE = 600.0  # seconds; 30 on an idle cold machine, which compiles kernels, 200 were seen on a busy one


# --- plugins and versions --------------------------------------------------------------------------------------------


def check_plugin(path: Path) -> Path:
    """The absolute path of a shared object this machine can load. Raises TargetUnavailable saying what is wrong."""
    try:
        with path.open("rb") as stream:
            header = stream.read(20)
    except OSError as error:
        raise TargetUnavailable(f"plugin {path} cannot be read: {error.strerror}; pass --plugin PATH") from error
    # ELF: magic, class, byte order; type at 16 (3 is a shared object), machine at 18.
    with Path(sys.executable).open("rb") as stream:
        own = stream.read(20)
    if header[:4] != b"\x7fELF" or header[16:18] not in (b"\x03\x00", b"\x00\x03"):
        raise TargetUnavailable(f"plugin {path} is not a shared object (ELF); pass the plugin's .so file")
    if (header[4:6], header[18:20]) != (own[4:6], own[18:20]):
        raise TargetUnavailable(f"plugin {path} is built for another machine than this {platform.machine()}")
    return path.resolve()


def find_tt_plugin(path: str | None = None) -> Path:
    """The TT plugin: the given path, or the installed one. Raises TargetUnavailable."""
    if path is not None:
        return check_plugin(Path(path))
    for module, name, _ in TT_PLUGINS:
        if (folder := _module_folder(module)) is not None:
            return check_plugin(folder / name)
    raise TargetUnavailable("no TT plugin found; pip install 'meshfuzz[tt]' or pass --plugin PATH")


def plugin_version(path: Path) -> str:
    """Name and version of the installed plugin, or the start of the file's hash for any other."""
    for module, name, distribution in TT_PLUGINS:
        folder = _module_folder(module)
        if folder is not None and (folder / name).resolve() == path:
            return f"{distribution} {importlib.metadata.version(distribution)}"
    return f"{path.name} {file_digest(path)}"


def _module_folder(module: str) -> Path | None:
    # Asking for a submodule imports its parent, which must exist; jax_plugins is an empty namespace.
    parent, _, _ = module.rpartition(".")
    if parent and importlib.util.find_spec(parent) is None:
        return None
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def versions() -> dict[str, str]:
    """Versions of Python and of everything installed that takes part in a verdict."""
    found = {"python": platform.python_version()}
    for name in (*DISTRIBUTIONS, *(distribution for _, _, distribution in TT_PLUGINS)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def chips() -> int:
    """Number of TT chips in this machine."""
    return sum(entry.name.isdigit() for entry in CHIPS.iterdir()) if CHIPS.is_dir() else 0


def plugin_variables(plugin: Path) -> dict[str, str]:
    """Environment variables the plugin wants and that are not set yet."""
    wanted = {"TT_METAL_LOGGER_LEVEL": "fatal"}
    # Tenstorrent's wheel carries tt-metal's run-time files beside the plugin and sets this in its Python hooks, which
    # opening the plugin by path goes around.
    if (runtime := plugin.parent / "tt-metal").is_dir():
        wanted["TT_METAL_RUNTIME_ROOT"] = str(runtime)
    return {name: value for name, value in wanted.items() if name not in os.environ}


# --- prepared files --------------------------------------------------------------------------------------------------


def prepare(config: TargetConfig) -> None:
    """Everything slow that can be done before workers start. Does nothing for targets that need no preparation."""
    if config.kind == "tt" and config.mock:
        prepare_compile_only(find_tt_plugin(config.plugin), config.topology)


def prepare_compile_only(plugin: Path, topology: Mesh) -> Path:
    """A descriptor with which the plugin starts at once as a pure compiler for that grid: TT_COMPILE_ONLY_SYSTEM_DESC.

    Made on first use, in a process of its own that may take minutes, then cached per plugin file. Callers in
    other processes wait for the one that makes it. Raises TargetUnavailable.
    """
    check_grid(topology)
    folder = cache_folder(plugin)
    prepared = folder / f"{topology}.ttsys"
    if prepared.exists():
        return prepared
    with _writable_cache(folder), locked(folder / "lock"):
        if not prepared.exists():
            _prepare(plugin, topology, prepared)
    return prepared


def discard_assets(temporary: Path) -> None:
    """Remove the run-time assets that the plugin unpacked into this TMPDIR."""
    for assets in temporary.glob(ASSETS):
        shutil.rmtree(assets, ignore_errors=True)


def cache_folder(plugin: Path) -> Path:
    """Where prepared files of exactly this plugin are: a descriptor is of no use to another version."""
    return cache_root() / file_digest(plugin)


def cache_root() -> Path:
    """Where everything is that can be made again: below XDG_CACHE_HOME, or ~/.cache."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (configured if configured.is_absolute() else Path.home() / ".cache") / "meshfuzz"


def file_digest(path: Path) -> str:
    """16 hex digits of the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


@contextlib.contextmanager
def _writable_cache(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise TargetUnavailable(
            f"cannot prepare the TT compiler in {folder}: {error.strerror}; make it writable or set XDG_CACHE_HOME"
        ) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file. The kernel releases it with the process, so a killed holder blocks nobody."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _prepare(plugin: Path, topology: Mesh, prepared: Path) -> None:
    """Caller holds the lock. The descriptor appears in the cache by renaming, complete."""
    print(
        f"meshfuzz: preparing the TT compiler for a mock {topology} mesh; the first time takes a few minutes",
        file=sys.stderr,
        flush=True,
    )
    # Always the same TMPDIR: tt-metal's kernel cache in it remembers absolute paths of sources, and compiles everything
    # again when they change. Assets in it tell of a preparation that was killed, whose cache is not to be trusted.
    temporary = prepared.parent / "preparation"
    if any(temporary.glob(ASSETS)):
        shutil.rmtree(temporary)
    temporary.mkdir(exist_ok=True)
    copy = temporary / prepared.name
    _start_mock(plugin, topology, temporary, copy, prepared.with_suffix(".log"))
    discard_assets(temporary)
    copy.rename(prepared)


def _start_mock(plugin: Path, topology: Mesh, temporary: Path, copy: Path, log: Path) -> None:
    cluster = temporary / "cluster.yaml"
    cluster.write_text(descriptor(topology))
    try:
        with log.open("w") as stream:
            status = subprocess.run(
                # -P: the script's folder must not offer its modules under top-level names.
                [sys.executable, "-P", str(PREPARATION), str(plugin), str(copy)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=_mock_variables(plugin, temporary, cluster),
                cwd=temporary,  # tt-metal writes a folder `generated` into the working folder
                timeout=PREPARATION_DEADLINE,
                check=False,
            ).returncode
    except subprocess.TimeoutExpired as error:
        raise TargetUnavailable(
            f"the TT plugin {plugin} did not start on a mock {topology} mesh in {PREPARATION_DEADLINE:.0f} s; see {log}"
        ) from error
    if status != 0 or not copy.exists():
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        ended = f"exit code {status}" if status >= 0 else signal.Signals(-status).name
        cause = f"{ended}: {lines[-1]}" if lines else ended
        raise TargetUnavailable(f"the TT plugin {plugin} does not start on a mock {topology} mesh: {cause}; see {log}")


def _mock_variables(plugin: Path, temporary: Path, cluster: Path) -> Mapping[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "TT_COMPILE_ONLY_SYSTEM_DESC"}
    return (
        inherited
        | plugin_variables(plugin)
        | {
            "TMPDIR": str(temporary),
            "TT_METAL_MOCK_CLUSTER_DESC_PATH": str(cluster),
            # Not the user's: nothing else that runs now, and nothing that was killed before, shall disturb this one.
            "TT_METAL_CACHE": str(temporary / "kernels"),
        }
    )
