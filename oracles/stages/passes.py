# SPDX-License-Identifier: Apache-2.0
"""What the TT plugin prints around every pass (TTXLA_LOGGER_LEVEL=VERBOSE), as data.

jax-tt-plugin 0.1.3 prints to stderr, one thing after the other: MLIR's `IR Dump Before/After NAME (argument)` with the
whole module, without locations and with all constants in full, also for a pass that runs on one function; and at the
end of each step `MLIR Module STAGE:`, the module that `export_path` writes as that stage. Before is printed for every
pass, After only if the pass changed the module, or failed. A failing pass may print a module that does not verify, or
none at all: the printer has been seen to crash on a half-converted one (regression cf2c1099).

Imports nothing of the compilers: the driver reads what a process that died has left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

# What the compiler makes of a program, in this order; each is made from the one before it.
STAGES = (
    "vhlo",
    "shlo",
    "shlo_frontend",
    "shlo_compiler",
    "shlo_set_mesh_attr",
    "shlo_compiler_cleaned",
    "ttir",
    "ttnn",
    "ttnn_runtime",
)
EXECUTABLE = "executable"  # what comes out in the end; never printed

_PASS = re.compile(
    r"^// -----// IR Dump (?P<when>Before|After) (?P<name>.+?)(?P<failed> Failed)?(?: \((?P<argument>[^\s()]+)\))?"
    r"(?: \('[^']*' operation(?:: @.*)?\))? //----- //$"
)
_STAGE = re.compile(r"\| MLIR Module (?P<stage>\w+):$")
_ERROR = re.compile(r"^(?:loc\(.*\): )?error: (?P<text>.+)$")
_STAGE_END = re.compile(r"^-+ END OF MLIR MODULE -+$")


@dataclass(frozen=True, slots=True)
class Dump:
    """A module that the compiler printed when a pass or a step was done with it."""

    name: str  # the pass, as its class is called; empty for a step's finished stage
    argument: str  # the pass's name on the command line of tt-mlir's opt; empty if it has none
    step: str  # the stage that was being made
    text: str
    failed: bool = False

    @property
    def is_pass(self) -> bool:
        return bool(self.name)

    def __str__(self) -> str:
        if not self.is_pass:
            return f"the step to {self.step}"
        return f"{self.name} ({self.argument})" if self.argument else self.name


@dataclass(frozen=True, slots=True)
class PassLog:
    """One compile: the modules in the order in which they were printed."""

    dumps: tuple[Dump, ...]
    unfinished: Dump | None = None  # a pass that was begun and after which nothing was printed
    error: str = ""  # MLIR's first error; the exception that the compiler throws in the end says it again, or less

    @property
    def failing(self) -> Dump | None:
        """The pass that failed; of nested ones the innermost, which is printed first."""
        return next((dump for dump in self.dumps if dump.failed), None)


def read(lines: Iterable[str]) -> PassLog:
    """Read the log of one compile. Lines that belong to no module are skipped."""
    dumps: list[Dump] = []
    begun: Dump | None = None
    errors: list[str] = []
    for dump, before in _blocks(_without_errors(lines, errors)):
        if before:
            begun = dump
        else:
            dumps.append(dump)
            begun = None
    if begun is not None:
        dumps.append(begun)
    named = tuple(_with_steps(dumps))
    error = next(iter(errors), "")
    return PassLog(named, None, error) if begun is None else PassLog(named[:-1], named[-1], error)


def _without_errors(lines: Iterable[str], errors: list[str]) -> Iterator[str]:
    for line in lines:
        if found := _ERROR.match(line):
            errors.append(found["text"].strip())
        else:
            yield line


def _blocks(lines: Iterable[str]) -> Iterator[tuple[Dump, bool]]:
    """Every module, and whether it was printed before a pass."""
    block: Dump | None = None
    before = in_stage = False
    text: list[str] = []
    for line in (raw.rstrip("\n") for raw in lines):
        pass_marker, stage_marker = _PASS.match(line), _STAGE.search(line)
        if block is not None and (pass_marker or stage_marker or _ends(line, in_stage, bool(text))):
            yield replace(block, text="".join(text)), before
            block = None
        if pass_marker:
            before, in_stage, text = pass_marker["when"] == "Before", False, []
            block = Dump(pass_marker["name"], pass_marker["argument"] or "", "", "", bool(pass_marker["failed"]))
        elif stage_marker:
            before, in_stage, text = False, True, []
            block = Dump("", "", stage_marker["stage"], "")
        elif block is not None and line:
            text.append(f"{line}\n")
    if block is not None:
        yield replace(block, text="".join(text)), before


def _ends(line: str, in_stage: bool, begun: bool) -> bool:
    """A stage has its own last line; a pass's module, which holds no empty line, is followed by two."""
    return bool(_STAGE_END.match(line)) if in_stage else begun and not line


def following(stage: str) -> str:
    """What is made from a finished stage; the first stage if there is none yet."""
    return (*STAGES, EXECUTABLE)[STAGES.index(stage) + 1] if stage in STAGES else STAGES[0]


def _with_steps(dumps: Sequence[Dump]) -> list[Dump]:
    """Passes get the stage that is printed next after them; those after the last one, the stage that was next."""
    step = following(next((dump.step for dump in reversed(dumps) if not dump.is_pass), ""))
    named: list[Dump] = []
    for dump in reversed(dumps):
        step = step if dump.is_pass else dump.step
        named.append(replace(dump, step=step))
    return named[::-1]
