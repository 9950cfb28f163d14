# SPDX-License-Identifier: Apache-2.0
"""What the failures of one round are: more of what is known, or findings.

Nothing is written here, so that a round is settled in one step or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fuzz.finding import Finding, State
from fuzz.investigation import Start, unreduced
from fuzz.triage import pattern
from oracles.outcome import MISMATCHING

# Reductions of one error message: each adds a pattern to avoid.
WITNESSES = 5


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of failures."""

    joined: tuple[tuple[int, str], ...] = ()  # number of a case, key of the finding that explains it
    found: tuple[Finding, ...] = ()
    complete: bool = True  # False: the time was up before all were investigated


def settle(
    starts: Sequence[Start],
    known: Iterable[Finding],
    investigated: Callable[[Start], Finding],
    time_is_up: Callable[[], bool],
) -> Settlement:
    """Failures of one signature: each joins a finding that explains it, or is investigated."""
    before = tuple(known)
    joined: list[tuple[int, str]] = []
    found: list[Finding] = []
    complete = True
    for start in starts:
        match = explaining(start, (*before, *found))
        if match is not None:
            joined.append((start.number, match.key))
        elif time_is_up():
            found.append(unreduced(start))
            complete = False
        else:
            found.append(investigated(start))
    return Settlement(tuple(joined), tuple(found), complete)


def united(settlements: Iterable[Settlement]) -> Settlement:
    """Those of several signatures as one, findings by the case that they begin with."""
    parts = tuple(settlements)
    return Settlement(
        tuple(pair for part in parts for pair in part.joined),
        tuple(sorted((finding for part in parts for finding in part.found), key=lambda finding: finding.first)),
        all(part.complete for part in parts),
    )


def explaining(start: Start, findings: Iterable[Finding]) -> Finding | None:
    """The first finding whose bucket a failure is in, as far as can be told without reducing it.

    An error message names its bucket; of what is known, and after a few reductions, more of them only cost time.
    """
    name, seen = start.signature, pattern(start.case)
    named_by_message = start.outcome.verdict not in MISMATCHING
    for finding in findings:
        ways = [witness.pattern for witness in finding.witnesses if witness.signature == name]
        enough = 1 if finding.state is State.KNOWN else WITNESSES
        if (named_by_message and len(ways) >= enough) or any(way.covers(seen) for way in ways):
            return finding
    return None
