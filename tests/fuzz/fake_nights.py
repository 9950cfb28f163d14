# SPDX-License-Identifier: Apache-2.0
"""Nights on a fake worker: real graphs, bugs as the cases' options say. Also a program, to be killed.

python fake_nights.py FOLDER CASES
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from fake_campaign import MESH, publish, reduce

from fuzz.campaign import Tools
from fuzz.case import Case, Input, Node, Output, Payload, TensorSpec
from fuzz.nightly.config import Config, Verifying
from fuzz.nightly.night import Ended, run_night
from fuzz.settings import Settings
from fuzz.strategies.space import Space
from oracles.targets.config import TargetConfig

COMMAND = (sys.executable, str(Path(__file__).with_name("mending_worker.py")))
EVENING = datetime(2026, 11, 23, 22, 0)
OPS: Mapping[str, tuple[tuple[str, Any], ...]] = {
    "flip": (("dims", (0,)),),
    "neg": (),
    "abs": (),
    "sort": (("dim", 0),),
}
BUGS: tuple[dict[str, str], ...] = (
    {"does": "wrong", "needs": "flip", "model": "local position"},
    {"does": "error", "needs": "neg", "at": "ttir", "message": "'ttir.neg' op is not <b>liked</b>"},
    {"does": "error", "needs": "abs", "at": "ttnn", "message": "'ttnn.abs' op has no kernel"},
)


def sample(space: Space, seed: int, index: int) -> Case:
    """Two ops on one input; every other case has a bug, and the op that shows it."""
    random = Random(f"{seed}/{index}")
    value = Input("x0", TensorSpec((4, 4), "f32"), Payload("position", seed=index), ((), ("y",)))
    bug = random.choice(BUGS) if index % 2 else {"does": "pass"}
    ops = [random.choice(("flip", "neg", "abs")), bug.get("needs", "neg")]
    nodes = tuple(Node(f"v{i}", op, (f"v{i - 1}" if i else "x0",), OPS[op]) for i, op in enumerate(ops))
    return Case(MESH, (value,), nodes, (Output(nodes[-1].name),), tuple(sorted(bug.items())))


TOOLS = Tools(sample, reduce, publish, COMMAND)


def config(folder: Path, **changes: Any) -> Config:
    values = {"time": 60.0, "cases": 32, "verify": Verifying.NONE, "mock": str(MESH), **changes}
    return Config(folder, **values)


def run(
    folder: Path, *, now: datetime = EVENING, tools: Tools = TOOLS, plugin: str | None = None,
    prepare: Callable[[], Mapping[str, str]] = lambda: {"plugin": "fake 1"}, **changes: Any,
) -> Ended:  # fmt: skip
    settings = Settings(
        TargetConfig("tt", MESH, plugin), Space((MESH,), ops=("abs", "flip", "neg")), workers=1, deadline=20.0
    )
    return run_night(config(folder, **changes), settings, tools, prepare, say=lambda line: None, now=lambda: now)


if __name__ == "__main__":
    print(os.getpid(), flush=True)
    ended = run(Path(sys.argv[1]), cases=int(sys.argv[2]))
    print(ended.folder.name, ended.night.cases)
