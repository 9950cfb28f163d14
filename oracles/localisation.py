# SPDX-License-Identifier: Apache-2.0
"""Which pass of the compiler a failure begins in, as plain data, and what can be told without executing anything.

Imports nothing of the compilers: the driver keeps the answer, and finds it itself if the compiler kills its process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fuzz.plain import read
from oracles.outcome import Verdict
from oracles.quotation import Quote, changed, named
from oracles.stages.passes import Dump, PassLog

PASS_LOG = "passes.log"  # in the TMPDIR of the process that compiles: what the compiler prints around its passes


@dataclass(frozen=True, slots=True)
class Localisation:
    """The first pass with a wrong module, or the one that fails; or why it is not known. Never a guess."""

    verdict: Verdict  # how the compile with the compiler's passes printed ended
    passes: tuple[str, ...] = ()  # the guilty one; if more, it is one of these, in the order in which they ran
    step: str = ""  # the stage that was being made
    unknown: str = ""  # why no pass is named
    # What the guilty pass wrote, or the op that it fails on; empty if no pass is named.
    quote: Quote = field(default_factory=Quote)

    def to_plain(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": str(self.verdict)}

    @classmethod
    def from_plain(cls, data: object, place: str = "") -> Localisation:
        """Raises DocumentError."""
        return read(cls, data, place)

    def __str__(self) -> str:
        if self.unknown:
            return f"no pass named: {self.unknown}"
        verb = {Verdict.WRONG: "wrong after", Verdict.COMPILE_ERROR: "fails in"}.get(self.verdict, "ends in")
        *unjudged, guilty = self.passes
        between = f"; {', '.join(unjudged)} before it could not be judged" if unjudged else ""
        return f"{verb} {guilty}, on the way to {self.step}{between}"


def failing_pass(log: PassLog, verdict: Verdict) -> Localisation:
    """Of a compile that the compiler gave up."""
    failing = log.failing
    if failing is not None:
        # The failed pass may print half a module or none: then the op is looked for in the module that it was given.
        modules = [dump.text for dump in (failing, *reversed(log.dumps[: log.dumps.index(failing)]))]
        return Localisation(verdict, (str(failing),), failing.step, quote=named(log.error, modules))
    if not log.dumps or log.dumps[-1].is_pass or log.unfinished is not None:
        return Localisation(verdict, unknown="the compile failed, and none of its passes says that it did")
    return Localisation(verdict, unknown=f"the compile failed outside any pass, after stage {log.dumps[-1].step}")


def fatal_pass(log: PassLog, verdict: Verdict) -> Localisation:
    """Of a compile that took its process with it, or never ended."""
    if log.failing is not None:
        # Printing the module of the failed pass is what crashed; without printing it is a mere error.
        return failing_pass(log, Verdict.COMPILE_ERROR)
    if log.unfinished is None:
        return Localisation(verdict, unknown="it was not in a pass, as far as the compiler's log tells")
    return Localisation(verdict, (str(log.unfinished),), log.unfinished.step)


def first_wrong(judged: Sequence[tuple[Dump, bool | None]]) -> Localisation:
    """From each module's judgement, in order: right, wrong, or None for one that cannot be executed.

    The pass is the first with a wrong module after the last right one; unjudged passes in between may be it as well.
    """
    last_right = max((number for number, (_, right) in enumerate(judged) if right), default=-1)
    suspects: list[Dump] = []
    for dump, right in judged[last_right + 1 :]:
        suspects.append(dump)
        if right is False:
            break
    else:
        return Localisation(Verdict.WRONG, unknown="no module that can be executed after a pass is wrong")
    if last_right < 0:
        return Localisation(Verdict.WRONG, unknown="no module that can be executed before the wrong one is right")
    names = tuple(dict.fromkeys(str(dump) for dump in suspects))
    guilty = suspects[-1]
    finished = next((dump.text for dump, _ in judged if not dump.is_pass and dump.step == guilty.step), "")
    quote = changed(judged[last_right][0].text, guilty.text, finished)
    return Localisation(Verdict.WRONG, names, guilty.step, quote=quote)
