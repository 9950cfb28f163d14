# SPDX-License-Identifier: Apache-2.0
"""Memory of one worker over many cases.

    python tests/benchmarks/memory.py [--cases 5000] [--target tt] [--every 500]

Prints what the worker holds after so many cases: without pages of mapped files, which the kernel takes back when it
wants to, and with them. Says how many workers there were, and what a case leaked in the second half. Takes about ten
minutes for 5,000 cases on an idle core.
"""

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fuzz.case import Mesh
from fuzz.pool import Pool
from fuzz.processes import marked, memory_of
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space
from oracles.targets.config import TargetConfig

TOPOLOGY = Mesh.parse("2x2")
MESHES = (TOPOLOGY, Mesh.parse("1x4"), Mesh.parse("1x2"), Mesh.parse("1x1"))


def resident(pid: int) -> int:
    """Bytes in memory, with those of mapped files."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--target", default="tt", choices=("tt", "cpu", "torchxla"))
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    config = TargetConfig(options.target, TOPOLOGY, None, options.target == "tt")
    space = Space((TOPOLOGY,) if options.target == "torchxla" else MESHES)
    table = Table(title=f"one worker, --target {config}")
    for heading in ("cases", "seconds", "held MiB", "resident MiB", "workers"):
        table.add_column(heading, justify="right")
    workers: list[int] = []
    curve: list[tuple[int, int]] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name, Pool(config, Path(name), workers=1) as pool:
        for number in range(options.cases + 1):
            if number:
                pool.run(sample(space, options.seed, number))
            pid = next((pid for pid in marked(Path(name).resolve()) if memory_of(pid)), None)
            if pid is None:  # it was just replaced
                continue
            if pid not in workers:
                workers.append(pid)
            if number % options.every == 0:
                curve.append((number, memory_of(pid)))
                held, seconds = memory_of(pid) >> 20, time.perf_counter() - began
                table.add_row(str(number), f"{seconds:.0f}", str(held), str(resident(pid) >> 20), str(len(workers)))
    Console().print(table)
    print(f"{len(workers)} workers, {len(workers) - 1} replaced")
    if len(workers) == 1 and len(curve) > 2:
        (first, before), (last, after) = curve[len(curve) // 2], curve[-1]
        print(f"grew by {(after - before) / (last - first) / 1024:.1f} KiB per case in the second half")


if __name__ == "__main__":
    main()
