# SPDX-License-Identifier: Apache-2.0
"""What it costs to execute every stage of a compile, against executing only the partitioned one with XLA.

    python tests/benchmarks/stages.py [--cases 200]

Both ways share lowering and compiling of the same cases in one process, and are timed in turns; only their ratio means
anything on a shared machine. Cases that do not compile are left out.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from fuzz.case import Mesh
from fuzz.payloads import values
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space
from oracles.judge import open_target
from oracles.reference import reference
from oracles.stages.program import NotUnderstood
from oracles.stagewise import judge_stages
from oracles.targets import pjrt
from oracles.targets.base import Observation, TargetFailure
from oracles.targets.config import TargetConfig
from oracles.verdict import compare

MESHES = (Mesh.parse("2x2"), Mesh.parse("1x4"))
WARM = 5  # cases run before the clock counts


@dataclass
class Clock:
    """Adds up the seconds of a function's calls."""

    seconds: float = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.perf_counter() - began

        return call


def measure(count: int) -> tuple[int, Counter[str]]:
    """Cases measured, and seconds per part of the work."""
    target = open_target(TargetConfig("tt", Mesh.parse("2x2")))
    space, seconds, measured = Space(MESHES), Counter[str](), 0
    clock = Clock()
    pjrt.read_staged = clock.timed(pjrt.read_staged)  # the target reads the stages while it has its MLIR context
    for index in range(count + WARM):
        case = sample(space, 1, index)
        inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
        expected = reference(case, inputs)
        took: Counter[str] = Counter()
        began, parsing = time.perf_counter(), clock.seconds
        try:
            compiled = target.run(case, inputs, lambda _: None).compiled
        except TargetFailure:
            continue
        parsing = clock.seconds - parsing
        took["compile"] = time.perf_counter() - began - parsing
        if compiled is None:
            raise RuntimeError("the target executes by itself")
        began = time.perf_counter()
        with suppress(NotUnderstood):
            compare(case, expected, Observation(compiled.confirm()))
        took["partitioned stage with XLA"] = time.perf_counter() - began
        began = time.perf_counter()
        judge_stages(case, expected, compiled, ())
        took["every stage"] = time.perf_counter() - began + parsing
        if index >= WARM:
            seconds += took
            measured += 1
    return measured, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    count = parser.parse_args().cases
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        measured, seconds = measure(count)
    table = Table(title=f"{measured} cases that compile, milliseconds each")
    for name in (*seconds, "ratio"):
        table.add_column(name, justify="right")
    before = seconds["compile"] + seconds["partitioned stage with XLA"]
    ratio = (seconds["compile"] + seconds["every stage"]) / before
    table.add_row(*(f"{1000 * spent / measured:.1f}" for spent in seconds.values()), f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
