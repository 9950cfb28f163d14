# SPDX-License-Identifier: Apache-2.0
"""Cases per second of each target, and what our own work costs over the bare minimum.

    python tests/benchmarks/speed.py [--cases 200] [--workers 2] [--targets tt,cpu,torchxla]

`ours` draws every case and judges it on the worker pool, as a campaign does. `bare` only lowers, compiles and executes
the same cases, split over as many processes. Both start warm, both run in turns within one invocation, and only their
ratio means anything on a shared machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fuzz.case import Case, Mesh
from fuzz.case_file import dump
from fuzz.pool import Pool
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space
from oracles.targets.config import TargetConfig

MESHES = (Mesh.parse("2x2"), Mesh.parse("1x4"))
TOPOLOGY = Mesh.parse("2x2")
BLOCK = 50  # cases of one turn


def ours(pool: Pool, space: Space, indices: range, workers: int) -> tuple[float, float]:
    """Seconds to draw and judge the cases: (generation, all)."""
    began = time.perf_counter()
    generation = 0.0
    with ThreadPoolExecutor(workers) as executor:
        futures = []
        for index in indices:
            drawing = time.perf_counter()
            case = sample(space, 1, index)
            generation += time.perf_counter() - drawing
            futures.append(executor.submit(pool.run, case))
        for future in futures:
            future.result()
    return generation, time.perf_counter() - began


def bare(config: TargetConfig, cases: list[Case], folder: Path, workers: int) -> float:
    """Seconds of the slowest of the processes that share the cases."""
    paths = []
    for case in cases:
        path = folder / f"{case.digest}.yaml"
        path.write_text(dump(case))
        paths.append(str(path))
    processes = [_start(config, paths[number::workers], folder) for number in range(workers)]
    for process in processes:
        _expect(process, "ready")
    for process in processes:
        print(file=process.stdin, flush=True)
    seconds = [float(_expect(process)) for process in processes]
    for process in processes:
        process.wait()
    return max(seconds)


def _start(config: TargetConfig, paths: list[str], folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("bare.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"TMPDIR": tempfile.mkdtemp(dir=folder), "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    print(json.dumps({"target": config.to_plain(), "cases": paths}), file=process.stdin, flush=True)
    return process


def _expect(process: subprocess.Popen[str], prefix: str = "") -> str:
    """The next line that is ours: compilers print to stdout too."""
    if process.stdout is None:
        raise RuntimeError("the process has no stdout")
    for line in process.stdout:
        text = line.strip()
        if (prefix and text == prefix) or (not prefix and text.replace(".", "", 1).replace("e-", "", 1).isdigit()):
            return text
    raise RuntimeError("the bare loop ended early")


def measure(kind: str, count: int, workers: int) -> tuple[str, ...]:
    config = TargetConfig(kind, TOPOLOGY, None, kind == "tt")
    space = Space(MESHES)
    drawn = judged = minimal = 0.0
    with tempfile.TemporaryDirectory() as name, Pool(config, Path(name), workers=workers) as pool:
        ours(pool, space, range(100_000, 100_000 + 4 * workers), workers)  # warms every worker
        for first in range(0, count, BLOCK):
            indices = range(first, min(first + BLOCK, count))
            generation, seconds = ours(pool, space, indices, workers)
            drawn, judged = drawn + generation, judged + seconds
            minimal += bare(config, [sample(space, 1, index) for index in indices], Path(name), workers)
    rates = f"{count / judged:.1f}", f"{count / minimal:.1f}"
    return kind, str(count), *rates, f"{judged / minimal:.2f}", f"{100 * drawn / judged:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--targets", default="tt,cpu,torchxla")
    options = parser.parse_args()
    table = Table(title=f"{options.workers} workers, {os.cpu_count()} cores")
    for heading in ("target", "cases", "ours /s", "bare /s", "ours : bare", "generation"):
        table.add_column(heading, justify="right")
    for kind in options.targets.split(","):
        table.add_row(*measure(kind, options.cases, options.workers))
    Console().print(table)


if __name__ == "__main__":
    main()
