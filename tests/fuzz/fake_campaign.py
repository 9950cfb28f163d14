# SPDX-License-Identifier: Apache-2.0
"""A campaign on the fake worker: strategies, reducer and scripts replaced by small ones. Also a program, to be killed.

python fake_campaign.py DIR SEED CASES [resume]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from fuzz.account import Summary
from fuzz.campaign import Tools, run_campaign
from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec
from fuzz.corpus import Entry
from fuzz.finding import Finding, Script
from fuzz.settings import Budget, Settings
from fuzz.strategies.space import Space
from oracles.targets.config import TargetConfig

COMMAND = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
MESH = Mesh((1, 2), ("x", "y"))
SHARDINGS = (((), ()), ((), ("y",)), (("y",), ()))
BUGS: tuple[dict[str, str], ...] = (
    {"does": "error", "needs": "gather", "at": "ttir", "message": "'ttir.gather' op has {0} dims"},
    {"does": "error", "needs": "scatter", "at": "ttir", "message": "'ttir.scatter' op has {0} dims"},
    {"does": "wrong", "needs": "scatter"},
    {"does": "wrong", "needs": "gather"},
    {"does": "segfault", "needs": "sort"},
    {"does": "unsupported", "message": "sort of {0} rows"},
)


@dataclass(frozen=True)
class FakeReduction:
    case: Case
    runs: int
    minimal: bool = True


def sample(space: Space, seed: int, index: int) -> Case:
    """A chain of ops on one input; most cases have a bug and the op that shows it."""
    random = Random(f"{seed}/{index}")
    value = Input("x0", TensorSpec((4, 4), "f32"), Payload("position", seed=index), random.choice(SHARDINGS))
    ops = [random.choice(("gather", "scatter", "sort", "neg", "abs")) for _ in range(random.randint(1, 4))]
    bug = random.choice(BUGS) if random.random() < 0.6 else {"does": "pass"}
    ops[random.randrange(len(ops))] = bug.get("needs", "neg")
    nodes = tuple(
        Node(f"v{i}", op, (f"v{i - 1}" if i else "x0",), (("dim", 1),) if op == "gather" else ())
        for i, op in enumerate(ops)
    )
    options = {key: text.format(random.randint(1, 99)) for key, text in bug.items()}
    return Case(MESH, (value,), nodes, (Output(nodes[-1].name),), tuple(sorted(options.items())))


def reduce(case: Case, fails: Callable[[Case], bool]) -> FakeReduction:
    """One node on the input, without its payload seed."""
    runs = 0
    value = replace(case.inputs[0], payload=Payload("position"))
    for node in case.nodes:
        small = replace(case, inputs=(value,), nodes=(replace(node, operands=("x0",)),), outputs=(Output(node.name),))
        runs += 1
        if fails(small):
            return FakeReduction(small, runs)
    return FakeReduction(case, runs)


def publish(finding: Finding, directory: Path, *_: object) -> tuple[Script, ...]:
    path = directory / "repros" / f"{finding.id}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise SystemExit(1)\n")
    return (Script("torch", str(path.relative_to(directory)), True, "exit 1"),)


TOOLS = Tools(sample, reduce, publish, COMMAND)


def settings(seed: int = 0, **changes: object) -> Settings:
    base = Settings(TargetConfig("tt", MESH), Space((MESH,)), seed, deadline=20.0)
    return replace(base, **changes)  # type: ignore[arg-type]  # the caller names fields


def campaign(
    directory: Path, seed: int = 0, cases: int | None = 64, *, resume: bool = False, tools: Tools = TOOLS,
    budget: Budget | None = None, corpus: Sequence[Entry] = (), **changes: object,
) -> Summary:  # fmt: skip
    limit = budget or Budget(cases=cases)
    return run_campaign(directory, settings(seed, **changes), limit, tools, corpus=lambda: corpus, resume=resume)


if __name__ == "__main__":
    print(os.getpid(), flush=True)
    result = campaign(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), resume=sys.argv[4:] == ["resume"])
    print(json.dumps(result.to_plain()))
