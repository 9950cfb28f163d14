# SPDX-License-Identifier: Apache-2.0
"""Larger failing cases of a fault: where its reductions start from.

Cases written by hand come first, then those that the strategies draw and that happen to fail. The rest are grown: one
random edit after another makes a failing case larger, and stays if it still fails. All of it is drawn from named
streams, so every run starts from the same cases.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from complications import EDITS, drawn
from notation import read
from planted import Fault

from fuzz.case import Case, CaseError
from fuzz.ops.core import case_bytes

STARTS = 5
DRAWN_STARTS = 2  # at most
TRIES_PER_EDIT = 5
MAX_BYTES = 1 << 20


@cache
def starting_points(fault: Fault) -> tuple[Case, ...]:
    """Five failing cases: written by hand, drawn, and grown from those and from the minimal case in turn."""
    starts = [read(text) for text in fault.starts]
    starts += [case for case in drawn() if len(starts) < STARTS and fault.fails(case)][:DRAWN_STARTS]
    roots = [read(fault.text), *starts]
    for number in range(STARTS - len(starts)):
        starts.append(grown(roots[number % len(roots)], fault.fails, Random(f"{fault.name}/{number}")))
    return tuple(starts)


def grown(case: Case, fails: Callable[[Case], bool], random: Random, edits: int = 12) -> Case:
    """A case that is larger by some edits and still fails."""
    limit = max(MAX_BYTES, 4 * case_bytes(case))
    kept = 0
    for _ in range(edits * TRIES_PER_EDIT):
        try:
            candidate = random.choice(EDITS)(case, random)
            if candidate == case or case_bytes(candidate) > limit or not fails(candidate):
                continue
        except (CaseError, IndexError, ValueError):  # the edit does not fit this case
            continue
        case, kept = candidate, kept + 1
        if kept == edits:
            break
    return case
