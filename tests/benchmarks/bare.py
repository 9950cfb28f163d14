# SPDX-License-Identifier: Apache-2.0
"""The least that can be done with a case: lower, compile and execute it, in a loop, without reference or comparison.

Reads a JSON line with the target and the case files, opens the target, waits for a line, runs, prints the seconds.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fuzz.case import Case, load
from fuzz.payloads import values
from oracles.judge import open_target
from oracles.stages.program import NotUnderstood
from oracles.targets.base import Target, TargetFailure
from oracles.targets.config import TargetConfig

WARM = 2  # cases run before the clock starts: the first compile of a process is slow


def main() -> None:
    request = json.loads(sys.stdin.readline())
    target = open_target(TargetConfig.from_plain(request["target"]))
    cases = [load(Path(path)) for path in request["cases"]]
    run(target, cases[:WARM])
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    run(target, cases)
    print(time.perf_counter() - began, flush=True)


def run(target: Target, cases: Sequence[Case]) -> None:
    for case in cases:
        inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
        try:
            observation = target.run(case, inputs, lambda _: None)
            if observation.compiled is not None:
                for stage in observation.compiled.staged.stages:
                    observation.compiled.staged.run(stage)
        except (TargetFailure, NotUnderstood):
            continue


if __name__ == "__main__":
    main()
