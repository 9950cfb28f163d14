# SPDX-License-Identifier: Apache-2.0
"""What is known about a failure, in words: all that scripts, lit tests and bug reports say besides the program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Failure = Literal["wrong numbers", "compile error", "crash", "hang"]


@dataclass(frozen=True, slots=True)
class Wrong:
    """The wrong part of one output on one device."""

    coordinate: str  # on the mesh, for example x=0, y=1
    output: str
    count: str  # for example 3 of 4
    at: str  # position of the first wrong element in the whole output
    expected: str  # a value, or where it comes from, for example x0[3, 1]
    got: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All text; any of it may have several lines, and any that is not known is empty."""

    what: str  # the bug in one line: op, condition, effect
    where: str  # guilty stage, pass or op
    versions: str  # of everything that took part
    bucket: str
    plugin_hint: str = ""  # how to get the plugin that has the bug
    failure: Failure = "wrong numbers"
    error: str = ""  # of a compile error: what the message of this bug, and of no other, contains
    message: str = ""  # of a failure that is none of numbers: all the compiler said
    explanation: str = ""  # how the wrong numbers come about, or that nobody knows
    confirmation: str = ""  # how well the explanation is tested
    wrong: tuple[Wrong, ...] = ()
    right: str = ""  # devices whose part is right, in words
    exactness: str = ""  # whether the difference is a matter of rounding, and why not
    ruled_out: str = ""  # known causes of the same symptom that cannot be behind this
    seen_by: str = ""  # how the failure was observed, where that takes more than running the program
    wrote: tuple[str, ...] = ()  # by the guilty pass, in the compiler's own words
    replaced: tuple[str, ...] = ()  # what stood there before
    boundaries: tuple[str, ...] = ()  # between passing and failing
    controls: tuple[str, ...] = ()  # the same computation in other settings
    system: str = ""  # operating system
    devices: str = ""
    # The guilty stage if it comes after the partitioned program, which is as far as a script gets without chips.
    late_stage: str = ""
