# SPDX-License-Identifier: Apache-2.0
"""What running and judging one case says, as plain data that crosses process borders."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from fuzz.plain import read


class Verdict(StrEnum):
    PASS = "PASS"
    WRONG = "WRONG"
    COMPILE_ERROR = "COMPILE_ERROR"
    SUSPECTED = "SUSPECTED"  # wrong only if the chip computes as a simulator does: a suspicion about rounding
    CRASH = "CRASH"
    HANG = "HANG"
    NONDETERMINISTIC = "NONDETERMINISTIC"
    UNSUPPORTED = "UNSUPPORTED"  # the target says plainly that it does not do this
    NOT_JUDGED = "NOT_JUDGED"  # our stage executor does not understand something in the stage: neither pass nor fail
    INVALID = "INVALID"  # the reference rejects the case
    ENV = "ENV"  # our side failed

    @property
    def failing(self) -> bool:
        return self in FAILING


FAILING = frozenset(
    {
        Verdict.WRONG,
        Verdict.SUSPECTED,
        Verdict.COMPILE_ERROR,
        Verdict.CRASH,
        Verdict.HANG,
        Verdict.NONDETERMINISTIC,
    }
)
# The target computes something else than the reference.
MISMATCHING = frozenset({Verdict.WRONG, Verdict.SUSPECTED})


# What is said of an executed stage.
RIGHT = "right"
WRONG = "wrong"
NOT_JUDGED = "not judged: "  # and why

UNEXPLAINED = "unexplained"  # the sentence of an explanation without a fault model begins so


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Wrong elements of one output on one device."""

    output: str
    device: int
    wrong: int  # elements
    total: int  # elements of this device's part
    # up to 8 of them: (global position, expected, got), as text
    samples: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The judged result of one run of one case."""

    verdict: Verdict
    # reference, lower, compile (or the compiler stage that failed), execute, compare; if stages are executed: the first
    # that is wrong
    stage: str = ""
    message: str = ""  # the first line of what went wrong, as the target said it
    op: str = ""  # WRONG: op that produces the first wrong output
    operations: tuple[str, ...] = ()  # WRONG: telling ops of the lowered graph (gather, scatter, ...), if known
    pcc: float | None = None  # WRONG: lowest over the outputs; reported, decides nothing
    mismatches: tuple[Mismatch, ...] = ()
    log: str = ""  # last lines of stderr, or the traceback; never part of a bucket
    seconds: dict[str, float] = field(default_factory=dict)  # per phase: reference, lower, compile, execute, compare
    transition: str = ""  # WRONG: the step of the compiler that made the first wrong stage from a right one
    # WRONG: no element is misplaced, digits are lost; the rule of oracles.stages.numerics that loses them
    number_format: str = ""
    became: tuple[str, ...] = ()  # WRONG after partitioning: names of the ops that the guilty stage consists of
    stages: dict[str, str] = field(default_factory=dict)  # executed stages: right, wrong, or not judged and why
    injected: str = ""  # the fault that was planted, if it is what made the outcome
    # WRONG: PCC of each output as a whole, which is what users' checks look at; decides nothing either
    coefficients: dict[str, float] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": str(self.verdict)}

    @classmethod
    def from_plain(cls, data: object, place: str = "") -> Outcome:
        """Raises DocumentError."""
        return read(cls, data, place)
