# SPDX-License-Identifier: Apache-2.0
"""A target that is an enemy: every case gets its verdict, nothing is lost, nothing is left behind.

    python tests/benchmarks/hostile_target.py [--cases 2000] [--workers 2] [--seed 0]

Nine tenths of the cases do something to the process, the rest return what no target should to the real judge. Takes
about ten minutes for 2,000 cases on two cores. Exit code 1 if anything is not as it must be.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

import hostile_campaign

from fuzz import worker_process

DEADLINE = 2.0  # seconds per case
JUDGED_DEADLINE = 60.0  # the first case of a worker imports torch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # Of a process that closed its pipe and does not die; the product waits longer.
    worker_process.EXIT_WAIT = 1.0
    wrong = 0
    lies = options.cases // 10
    for title, cases, judged in (("hostile process", options.cases - lies, False), ("false results", lies, True)):
        deadline = JUDGED_DEADLINE if judged else DEADLINE
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as name:
            found = hostile_campaign.campaign(
                Path(name), cases, judged=judged, seed=options.seed, deadline=deadline, workers=options.workers
            )
        behaviours = hostile_campaign.LIES if judged else hostile_campaign.ACTS
        print(
            f"{title}: {cases} cases of {len(behaviours)} behaviours in {time.monotonic() - began:.0f} s, "
            f"{len(found)} complaints"
        )
        for line in found:
            print(f"  {line}")
        wrong += len(found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
