# SPDX-License-Identifier: Apache-2.0
"""A campaign whose driver is killed with SIGKILL again and again, resumed each time, against one that nobody killed.

    python tests/benchmarks/killed_driver.py [--kills 50] [--seed 0]

Half of the kills come at a random moment, the others in the middle of a step: while it draws, writes, reduces,
publishes, and so on. Another campaign begins when one comes to its end. Takes about five minutes on two cores. Exit
code 1 if anything is not as it must be.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

import killed_campaign as killed

JITTER = "0.2"  # seconds up to which every case is delayed, so that there is time to be killed in
LONGEST = 4.0  # seconds until a random kill


def kill_somewhere(folder: Path, chosen: random.Random) -> tuple[str, bool]:
    """Let it run and die: where, and whether it came to its end before."""
    if chosen.random() < 0.5:
        phase, count = chosen.choice(killed.PHASES), chosen.randint(1, 6)
        driver = killed.start(folder, phase, count)
        return phase, driver.wait() == 0
    driver = killed.start(folder, "never")
    try:
        return "at random", driver.wait(chosen.uniform(0.3, LONGEST)) == 0
    except subprocess.TimeoutExpired:
        driver.kill()
        driver.wait()
        return "at random", False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = random.Random(options.seed)
    os.environ["FAKE_JITTER"] = JITTER
    began = time.monotonic()
    died: Counter[str] = Counter()
    complaints: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole"
        killed.start(whole, "never").wait()
        campaigns = 0
        while died.total() < options.kills:
            folder, ended, done = Path(name) / f"killed-{campaigns}", False, set[int]()
            campaigns += 1
            while not ended and died.total() < options.kills:
                phase, ended = kill_somewhere(folder, chosen)
                if ended:
                    break
                died[phase] += 1
                found = killed.complaints_after_kill(folder)
                now = killed.recorded(folder)
                found += [f"case {number} was recorded and is not any more" for number in done - now]
                done = now
                complaints += [f"kill {died.total()}, {phase}: {text}" for text in found]
            if not ended:
                killed.start(folder, "never").wait()
            complaints += [f"campaign {campaigns}: {text}" for text in killed.complaints_at_end(folder, whole)]
    for phase, count in sorted(died.items()):
        print(f"{count:4} x killed {phase}")
    seconds = time.monotonic() - began
    print(f"{died.total()} kills in {campaigns} campaigns, {seconds:.0f} s, {len(complaints)} complaints")
    for text in complaints:
        print(f"  {text}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
