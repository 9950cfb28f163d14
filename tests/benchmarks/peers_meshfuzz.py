# SPDX-License-Identifier: Apache-2.0
"""The driver of this project for `peers.py`, with the answers that the drivers of the peers give."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

from detection import MESHES, TOPOLOGY
from peers_driver import Clock, Graph, serve, versions

from fuzz.case import Case, Mesh
from fuzz.payloads import values
from fuzz.pool import Pool
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import STRATEGY_VERSION, Space
from oracles.judge import judge, open_target
from oracles.outcome import Outcome, Verdict
from oracles.reference import InvalidCase, reference
from oracles.targets.base import Target
from oracles.targets.config import TargetConfig

SPACE = Space(MESHES)
# In process, as xlaxiom's cases: on one device. XLA's partitioner ends the process on some cases of a larger mesh.
ONE_DEVICE = Space((Mesh.parse("1x1"),))
# The target did not run the case, or nobody could say whether it was right.
NOT_JUDGED = frozenset({Verdict.INVALID, Verdict.UNSUPPORTED, Verdict.ENV, Verdict.NOT_JUDGED})


def graph(case: Case) -> Graph:
    places = {node.name: place for place, node in enumerate(case.nodes)}
    return [(node.op, [places[name] for name in node.operands if name in places]) for node in case.nodes]


def prepared(case: Case) -> bool:
    """Make the inputs and compute the right results."""
    try:
        reference(case, {value.name: values(value.spec, value.payload) for value in case.inputs})
    except InvalidCase:
        return False
    return True


def generate(seed: int, first: int, count: int, confirm: int) -> dict[str, Any]:
    """Seconds of drawing; of the first `confirm` cases, how many torch executes."""
    clock = Clock()
    graphs = []
    executed = 0
    for index in range(first, first + count):
        with clock.running():
            case = sample(SPACE, seed, index)
        graphs.append(graph(case))
        executed += index - first < confirm and prepared(case)
    return {"seconds": clock.seconds, "graphs": graphs, "confirmed": min(confirm, count), "valid": executed}


def prepare(seed: int, first: int, count: int) -> dict[str, Any]:
    """Seconds of drawing, of making inputs, and of computing the right outputs."""
    clock = Clock()
    valid = 0
    for index in range(first, first + count):
        with clock.running():
            valid += prepared(sample(SPACE, seed, index))
    return {"seconds": clock.seconds, "cases": count, "valid": valid}


def counted(clock: Clock, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    valid = sum(outcome.verdict not in NOT_JUDGED for outcome in outcomes)
    return {"seconds": clock.seconds, "cases": len(outcomes), "valid": valid}


@lru_cache(maxsize=1)
def opened() -> Target:
    return open_target(TargetConfig("cpu", TOPOLOGY))


def in_process(first: int, count: int) -> dict[str, Any]:
    """Seconds of drawing and judging, one after the other: tracing a case changes torch for all threads meanwhile."""
    target, clock = opened(), Clock()
    with clock.running():
        outcomes = [
            judge(target, sample(ONE_DEVICE, 1, index), lambda _: None) for index in range(first, first + count)
        ]
    return counted(clock, outcomes)


def pooled(pool: Pool, workers: int, first: int, count: int) -> dict[str, Any]:
    """Seconds of drawing here and judging on the workers."""
    clock = Clock()
    with clock.running(), ThreadPoolExecutor(workers) as executor:
        futures = [executor.submit(pool.run, sample(SPACE, 1, index)) for index in range(first, first + count)]
        outcomes = [future.result() for future in futures]
    return counted(clock, outcomes)


def about() -> dict[str, Any]:
    known = versions("torch", "jaxlib", "hypothesis", "numpy")
    return {"versions": known | {"strategies": str(STRATEGY_VERSION)}}


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))

        @lru_cache
        def pool(target: str, workers: int) -> Pool:
            config = TargetConfig(target, TOPOLOGY, mock=target == "tt")
            return stack.enter_context(Pool(config, folder / f"{target}-{workers}", workers=workers))

        def on_pool(target: str, workers: int, first: int, count: int) -> dict[str, Any]:
            return pooled(pool(target, workers), workers, first, count)

        serve({"about": about, "generate": generate, "prepare": prepare, "in_process": in_process, "pool": on_pool})


if __name__ == "__main__":
    main()
