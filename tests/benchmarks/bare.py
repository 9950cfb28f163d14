# SPDX-License-Identifier: Apache-2.0
"""The least that must be done with a case: lower, compile, execute the stages and compare, in a loop of one process.

Reads a JSON line with the target and the case files, opens the target, waits for a line, runs, prints the seconds.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fuzz.case import Case
from fuzz.case_file import load
from fuzz.payloads import values
from oracles.judge import open_target
from oracles.reference import InvalidCase, reference
from oracles.stagewise import judge_stages
from oracles.targets.base import Target, TargetFailure
from oracles.targets.config import TargetConfig
from oracles.verdict import compare

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
            expected = reference(case, inputs)
            observation = target.run(case, inputs, lambda _: None)
            if observation.compiled is None:
                compare(case, expected, observation)
            else:
                judge_stages(case, expected, observation.compiled, observation.operations)
        except (TargetFailure, InvalidCase):
            continue


if __name__ == "__main__":
    main()
