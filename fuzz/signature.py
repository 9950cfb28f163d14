# SPDX-License-Identifier: Apache-2.0
"""Error texts reduced to what stays the same when names, numbers and shapes change: the text half of a bucket."""

from __future__ import annotations

import re

from oracles.outcome import Outcome, Verdict

LIMIT = 160  # characters; the cause comes first in the messages of compilers

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_ARROW = "\u2192"
# In this order: each step relies on what the earlier ones removed.
_STEPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (_ANSI, ""),
    (re.compile(r"\b(?:\d{4}-\d\d-\d\d [\d:.]+: [IWEF]|[IWEF]\d{4} [\d:.]+ +\d+) "), ""),  # absl's time and thread
    (re.compile(r"(?<![\w/.@+-])(?:[\w.+@-]+/)+([\w.+@-]+\.(?:h|cc|cpp|py)\b)"), r"\1"),  # a relative source path
    (re.compile(r"->"), _ARROW),  # so that the next steps see matched angle brackets only
    (re.compile(r"\bhttps?://[^\s;]+"), "<url>"),
    (re.compile(r"'?\{+(?:devices=|replicated|maximal)[^ :]*(?: last_tile[^ :]*)*"), "{}"),  # HLO shardings
    (re.compile(r"\b(?:pred|[fsu](?:8|16|32|64)|bf16)\["), "["),  # HLO types
    (re.compile(r"\b(?:PRED|[FSU](?:8|16|32|64)|BF16)\b"), "type"),
    (re.compile(r"loc\((?:[^()]|\([^()]*\))*\):?\s*"), ""),
    (re.compile(r"\bat (?=/)"), ""),
    (re.compile(r"(?:/[\w.+@-]+)+/([\w.+@-]+)"), r"\1"),  # a path: its last part
    (re.compile(r"\b([\w-]+\.(?:cpp|cc|hpp|h|py|mlir|td|inc))(?::\d+)+"), r"\1"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "#"),
    (re.compile(r"%[\w#:.-]+"), "%"),  # SSA names
    (re.compile(r"\"[A-Za-z_]\w*\""), '"_"'),  # axis and symbol names; op names hold a dot or stand in single quotes
    (re.compile(r"@[A-Za-z_][\w.]*"), "@_"),
    (re.compile(r"\b[xv]\d+\b"), "_"),  # names of values in our cases
    (re.compile(r"[\[(][\s\d,.:\-]*\d[\s\d,.:\-]*[\])]"), "[#]"),  # shapes and index lists
    (re.compile(r"\b\d+(?:x\d+)+(?:x[a-z]+\d*)?\b"), "#"),
    (re.compile(r"(?<![\w.])-?\d+(?:[.,:]\d+)*(?:e[+-]?\d+)?(?!\w)"), "#"),
    (re.compile(r"\s+"), " "),
)
_TYPE = re.compile(r"(?<![<\w])(!?[A-Za-z_][\w.]*)?<[^<>]*>")
_URL = re.compile(r"<url>")

# Lines that say where a process was when it died, not why.
_FRAME = re.compile(
    r"""^\s*(?:
        \#\d+\s | @\s+0x | ---\s | \d+\s+0x | 0x[0-9a-f]+ | \[0x
        | \[[^\]]*:\d+\]\s+\*\*\*       # Open MPI and absl banners
        | \*\*\*\s | PC:\s@
        | (?:Stack|Back)\s?trace | backtrace: | Stack\sdump
        | (?:Current\s)?[Tt]hread\s0x | File\s" | Extension\smodules | Timeout\s\(
        | .*\bcore\sdumped\b
    )""",
    re.VERBOSE,
)
_CAUSE = re.compile(
    r"error:|fatal|assert|terminate called|what\(\):|TT_THROW|TT_FATAL|LLVM ERROR|check failed|unreachable|exception",
    re.IGNORECASE,
)
_PYTHON_DUMP = "Fatal Python error:"


def normalise(message: str) -> str:
    """The first cause a message names, without what varies between cases: names, numbers, shapes, places."""
    text = message.strip().partition("\n")[0]
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    text = _URL.sub("url", text)
    previous = None
    while previous != text:
        previous = text
        text = _TYPE.sub(lambda match: match.group(1) or "", text)
    # Pipelines join their diagnostics, one per op and one per pass that gave up: "a; a; b; Failed to run pipeline".
    # The first is the cause.
    clauses = [clause.strip(" .") for clause in text.split("; ")]
    return next(filter(None, clauses), "").replace(_ARROW, "->")[:LIMIT].strip()


def signature(outcome: Outcome) -> str:
    """What kind of failure this is, in one readable line; equal for failures that look alike.

    An injected fault is always named: it must never reduce to a bug that the compiler has.
    """
    planted = f"injected {outcome.injected}: " if outcome.injected else ""
    place = f"{planted}{outcome.verdict} {outcome.stage or 'start'}"
    match outcome.verdict:
        case Verdict.WRONG | Verdict.SUSPECTED:
            lost = f", {number_format_words(outcome)}" if outcome.number_format else ""
            lowered = f" as {became}" if (became := late_subject(outcome)) in MISTAKEN_FOR else ""
            return f"{place}: {outcome.op or 'output'}{lowered}{lost}"
        case Verdict.HANG:
            return place
        case _:
            message = normalise(outcome.message)
            return f"{place}: {message}" if message else place


# The compiler writes these only where it takes a whole graph for something else: that is the bug, whatever it computes.
MISTAKEN_FOR = frozenset({"fill_cache", "update_cache", "paged_update_cache"})

# What a graph's op became in the TT compiler, if that tells one bug from another; first match wins.
LATE_SUBJECTS = (
    "fill_cache",
    "paged_update_cache",
    "update_cache",
    "embedding",
    "rows_scatter",
    "rows_gather",
    "scatter",
    "gather",
    "sort",
    "topk",
    "argmax",
    "cumsum",
    "matmul",
    "dot_general",
    "prod",
    "mean",
    "sum",
    "max",
    "min",
    "pad",
    "reverse",
    "point_to_point",
    "all_to_all",
    "collective_permute",
    "reduce_scatter",
    "all_reduce",
    "all_gather",
    "mesh_partition",
)


def late_subject(outcome: Outcome) -> str:
    """The op of the guilty TTIR or TTNN stage that the case is about; empty for other stages."""
    return next((name for name in LATE_SUBJECTS if name in outcome.became), "")


def number_format_words(outcome: Outcome) -> str:
    """What is wrong with a result in which every element is in its place."""
    suspected = "suspected: " if outcome.verdict is Verdict.SUSPECTED else ""
    return f"{suspected}number format {outcome.number_format}"


def last_meaningful_line(text: str) -> str:
    """The line of a dead process's stderr that says most about the cause; empty if there is none.

    The last line that reads like an error, else the last that is not part of a stack dump.
    """
    # Python's own dump follows whatever the compiler said and only repeats the signal.
    lines = [_ANSI.sub("", line).strip() for line in text.partition(_PYTHON_DUMP)[0].splitlines()]
    kept = [line for line in lines if line and not _FRAME.match(line)]
    causes = [line for line in kept if _CAUSE.search(line)]
    return (causes or kept or [""])[-1]
