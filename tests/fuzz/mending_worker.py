# SPDX-License-Identifier: Apache-2.0
"""The fake worker, of a compiler without bugs as soon as the file that FAKE_FIXED names exists."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from fake_worker import ANSWERS, judge_fake, open_fake

from fuzz.case import Case
from fuzz.worker import Service, serve
from oracles.outcome import Outcome, Verdict


def judge(target: str, case: Case, on_stage: Callable[[str], None]) -> Outcome:
    if Path(os.environ["FAKE_FIXED"]).exists():
        return Outcome(Verdict.PASS)
    return judge_fake(target, case, on_stage)


if __name__ == "__main__":
    sys.exit(serve(Service(open_fake, judge, ANSWERS)))
