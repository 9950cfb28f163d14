# SPDX-License-Identifier: Apache-2.0
"""Hostile files by the thousand: loaded, made into scripts and pages, and watched for what they must not do.

    python tests/benchmarks/hostile_files.py --inputs 10000

Each input is made by tests/fuzz/mutator.py and read by tests/fuzz/hostile_reading.py, in a process that an audit hook
watches: it may write in its own folder only, read there and in what is installed, start nothing, connect to nothing,
and run no code that it has not run for good files. The limits are 1 s of processor time to load an input, and 1 GB of
memory beyond what the good files took. Exit code 1 if an input did any of this, or ended in another error than ours.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import sysconfig
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fuzz"))

import torch.distributed.nn  # noqa: F401, E402 - writes a module of its own when torch first needs it, and runs that
from hostile_reading import read_all  # noqa: E402 - found beside the tests
from mutator import CANARY, KINDS, good, mutated  # noqa: E402

LOADING = 1.0  # seconds of processor time to load an input
MAKING = 20.0  # and to write and check all that is made of it, each script twice
STUCK = 120  # seconds of real time
MEMORY = 1 << 30  # bytes beyond what the good files took
CALLS = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "socket.connect",
    "socket.bind", "socket.getaddrinfo", "socket.sendto", "ctypes.dlopen", "pty.spawn", "urllib.Request",
    "sqlite3.load_extension", "sqlite3.enable_load_extension",
)  # fmt: skip
CHANGES = (
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate",
    "shutil.rmtree", "shutil.move", "shutil.copyfile", "sqlite3.connect",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """What an audit hook sees while `folder` is set. Hooks cannot be removed."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.seen: list[str] = []
        self.known: set[object] = set()  # code objects' files that good inputs run
        self.learning = True
        self._installed = tuple({str(ROOT), sys.prefix, sys.base_prefix, sysconfig.get_paths()["stdlib"], "/proc/self"})

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "exec":
            name = getattr(arguments[0], "co_filename", "?")
            if self.learning:
                self.known.add(name)
            elif name not in self.known and not str(name).startswith(self._installed):
                self.seen.append(f"ran code of {name}")
        elif event in CALLS or (event in CHANGES and arguments and not self._inside(_absolute(arguments))):
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open":
            path, mode, flags = arguments
            writes = bool(flags & WRITING) if isinstance(flags, int) else "r" not in str(mode)
            if not isinstance(path, int) and not self._inside(path) and (writes or not self._readable(path)):
                self.seen.append(f"opened {path!r:.200} {mode} {flags}")

    def _inside(self, path: object) -> bool:
        if path in (":memory:", b":memory:"):
            return True
        if not isinstance(path, str | bytes | os.PathLike):
            return isinstance(path, int)
        whole = os.path.realpath(os.fsdecode(path))
        return whole == str(self.folder) or whole.startswith(f"{self.folder}{os.sep}")

    def _readable(self, path: object) -> bool:
        whole = os.path.realpath(os.fsdecode(path))  # type: ignore[arg-type]  # what open takes
        return whole.startswith(self._installed) or whole in (
            "/etc/os-release",
            "/usr/lib/os-release",
            "/etc/localtime",
        )


def _absolute(arguments: tuple[Any, ...]) -> object:
    """The first path of an event, which may be relative to the open folder that is the last argument."""
    path, folder = arguments[0], arguments[-1]
    if isinstance(path, str | bytes) and isinstance(folder, int) and folder > 2:
        try:
            return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))
        except OSError:  # no descriptor but a mode
            return path
    return path


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--inputs", type=int, default=10_000)
    options.add_argument("--first", type=int, default=0, help="number of the first input, which is its seed")
    given = options.parse_args()
    watch = Watch()
    sys.addaudithook(watch.hook)
    with tempfile.TemporaryDirectory(prefix="hostile-files-") as scratch:
        # Temporary files of ours count as inside: they are in the folder.
        tempfile.tempdir = scratch
        outside = Path(scratch).parent / CANARY
        outside.unlink(missing_ok=True)
        return run(watch, Path(scratch).resolve(), given.first, given.inputs, outside)


def run(watch: Watch, scratch: Path, first: int, inputs: int, outside: Path) -> int:
    """All inputs. Prints what came of them; 1 if anything did what it must not."""
    for kind in KINDS:
        said, problems, *_ = one(watch, scratch, dict(good(kind)), kind)
        if said != "read" or problems:
            print(f"the good {kind} is not read: {said} {problems}")
            return 1
    watch.learning = False
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    limit_memory()
    counts: Counter[tuple[str, str]] = Counter()
    refusals: Counter[str] = Counter()
    wrong: list[str] = []
    loading: list[float] = []
    making: list[float] = []
    for number in range(first, first + inputs):
        kind = KINDS[number % len(KINDS)]
        files = mutated(kind, Random(number))
        said, problems, seconds, more = one(watch, scratch, dict(files), kind)
        counts[kind, "read" if said == "read" else "refused"] += 1
        refusals[said] += 1
        loading.append(seconds)
        making.append(more)
        problems += [f"took {seconds:.2f} s to load"] if seconds > LOADING else []
        problems += [f"took {more:.2f} s to make"] if more > MAKING else []
        problems += ["touched a file outside"] if outside.exists() else []
        wrong += [f"input {number} ({kind}): {problem}" for problem in problems]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - start
    for kind in KINDS:
        print(f"{kind:12} {counts[kind, 'read']:6} read {counts[kind, 'refused']:6} refused")
    print(f"{len(refusals) - ('read' in refusals)} different refusals")
    print(f"loading: {max(loading):.2f} s at most, {1000 * sum(loading) / len(loading):.1f} ms each")
    print(f"making and checking: {max(making):.2f} s at most, {1000 * sum(making) / len(making):.1f} ms each")
    print(f"memory: {grown / 2**20:.0f} MB more than the good files took")
    print(f"{len(wrong)} problems on {os.cpu_count()} cores, inputs {first} to {first + inputs - 1}")
    for line in wrong[:50]:
        print(line)
    return 1 if wrong or grown > MEMORY else 0


def one(watch: Watch, scratch: Path, files: dict[str, bytes], kind: str) -> tuple[str, list[str], float, float]:
    """What came of one input, what it did that it must not, and how long it took to load and to make."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        watch.seen.clear()
        watch.folder = scratch
        signal.signal(signal.SIGALRM, _stuck)
        signal.alarm(STUCK)
        try:
            told = read_all(kind, folder)
            return told.said, list(watch.seen), told.loading, told.making
        except Exception as error:  # noqa: BLE001 - whatever comes out is what is looked for
            frames = traceback.extract_tb(error.__traceback__)[-3:]
            where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
            return "error", [f"{type(error).__name__}: {str(error)[:200]} ({where})", *watch.seen], 0.0, 0.0
        finally:
            signal.alarm(0)
            watch.folder = None


def _stuck(number: int, frame: object) -> NoReturn:
    raise TimeoutError(f"no answer within {STUCK} s")


def limit_memory() -> None:
    """A bomb ends in MemoryError, not in the machine's swap."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + 2 * MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    sys.exit(main())
