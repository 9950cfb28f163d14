# SPDX-License-Identifier: Apache-2.0
"""The lines of a compiler's module worth quoting: what a pass wrote and what it replaced, or the op an error names.

Works on the text alone, in the custom and in the generic form of MLIR, and executes nothing. A quote is for people:
an op with a region becomes one line, locations are left out, and long lines are cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from typing import Any

from fuzz.plain import read

LINES = 6  # a quote has this many at most, on each side
WIDTH = 200  # characters of a line

# Ops that only hold others. Their lines change with every type inside and say nothing.
_STRUCTURE = frozenset(
    {"module", "builtin.module", "ttcore.device_module", "ttcore.device", "sdy.mesh", "func.func"}
    | {"sdy.manual_computation", "return", "func.return", "sdy.return"}
)
# Ops around the one that a pass gets wrong: the first to leave a quote that is too long.
_PLAIN = frozenset(
    {"constant", "full", "iota", "arange", "reshape", "broadcast_in_dim", "broadcast", "convert", "typecast"}
    | {"to_layout", "to_tensor_spec", "empty", "get_device", "deallocate", "permute", "transpose"}
)
_OP = re.compile(r"^(?:%[\w:#, %]+ = )?\"?(?P<name>[a-z_][\w.]*)")
_RESULTS = re.compile(r"^(%[\w:#, %]+) = ")
_LOCATION = re.compile(r" loc\((?:[^()\"]|\"[^\"]*\"|\([^()]*\))*\)")
_SHARDING = re.compile(r" ?\{sdy\.sharding = #sdy\.sharding_per_value<\[.*?\]>\}")
_VALUE = re.compile(r"%[\w#]+")
_NAMED = re.compile(r"'(?P<op>[a-z_]\w*\.\w+)'")
_ATTRIBUTES = re.compile(r"<\{(.*)\}>")
# What a reader can do without: (pattern, replacement).
_ABBREVIATIONS = (
    (re.compile(r"channel_handle = #stablehlo\.channel_handle<[^>]*>, "), ""),
    (re.compile(r"#sdy\.sharding_per_value<\[<@\w+, (\[[^]]*\])>\]>"), r"\1"),
    (re.compile(r"(-?\d) : [su]?i\d+(?=[,\]])"), r"\1"),
    (re.compile(r"(?:scatter_)?dimension_numbers = #stablehlo\."), ""),
    (re.compile(r"(?:indices_are_sorted = false|use_multicore = true), |, unique_indices = false"), ""),
    (re.compile(r", #ttnn_layout\d*"), ""),
)


@dataclass(frozen=True, slots=True)
class Quote:
    """What a pass wrote, in the compiler's own words."""

    wrote: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    # The line of the op that is wrong as it still stands, whole, in the stage made by this pass and those after it:
    # what a FileCheck line can be made of. Empty if there is none.
    stands: str = ""

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, data: object, place: str = "") -> Quote:
        """Raises DocumentError."""
        return read(cls, data, place)


def changed(before: str, after: str, finished: str = "") -> Quote:
    """What a pass made of a module. `finished`: the stage that was made by it and the passes that followed."""
    old, new = _statements(before), _statements(after)
    matcher = SequenceMatcher(None, [s.key for s in old], [s.key for s in new], autojunk=False)
    replaced: list[_Statement] = []
    wrote: list[_Statement] = []
    for tag, from_old, to_old, from_new, to_new in matcher.get_opcodes():
        if tag != "equal":
            replaced += old[from_old:to_old]
            wrote += new[from_new:to_new]
    for plain in (True, False):
        if plain or max(len(wrote), len(replaced)) > LINES:
            fewer = _without(wrote, others=replaced, plain=plain), _without(replaced, others=wrote, plain=plain)
            wrote, replaced = fewer if all(fewer) else (wrote, replaced)
    return Quote(_shown(wrote), _shown(replaced), _standing(wrote, replaced, old, finished))


def named(message: str, modules: Iterable[str]) -> Quote:
    """The op that an error names, after what it reads, in the first of the modules that has it."""
    ops = [match["op"] for match in _NAMED.finditer(message)]
    for text in modules:
        statements = _statements(text)
        for number, statement in enumerate(statements):
            if statement.op in ops:
                read = [s for s in statements[:number] if set(s.results) & set(statement.operands)]
                return Quote(_shown([*(s for s in read if not s.plain), statement]))
    return Quote()


# --- statements ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Statement:
    """One op; the ops of its regions are named in it."""

    op: str
    lines: list[str]  # as printed, without what lies inside regions
    inner: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        first, *others = self.lines
        if not self.inner:
            return " ".join(self.lines)
        inner = [op.partition(".")[2] for op in self.inner]
        words = ", ".join(inner[:-1] or inner)  # the last one returns what the region computes
        return f"{first if first.endswith('{') else first + ' {'} {words} {' '.join(others)}"

    @property
    def key(self) -> str:
        """Equal for ops that differ only in names of values and annotations."""
        return _plainly(self.text)

    @property
    def name(self) -> str:
        return self.op.partition(".")[2] or self.op

    @property
    def plain(self) -> bool:
        return self.name in _PLAIN

    @property
    def identity(self) -> tuple[str, str]:
        """Name and result types, which stay when another dialect only spells the op differently."""
        return self.name, self.text.rpartition("->")[2].rpartition(" : ")[2].strip(" ()")

    @property
    def results(self) -> list[str]:
        found = _RESULTS.match(self.lines[0])
        return [name.partition(":")[0].strip() for name in found[1].split(",")] if found else []

    @property
    def operands(self) -> list[str]:
        return [name.partition("#")[0] for name in _VALUE.findall(_RESULTS.sub("", self.lines[0]))]


def _plainly(line: str) -> str:
    return _VALUE.sub("%", _SHARDING.sub("", line)).replace("  ", " ")


def _statements(text: str) -> list[_Statement]:
    """The ops of a module but those that only hold others, and without private functions: those are helpers."""
    found: list[_Statement] = []
    regions: list[_Statement | str] = []  # open ones: of a statement, or the line of an op that only holds others
    for raw in text.splitlines():
        line = _LOCATION.sub("", raw).strip()
        if not line or line[0] in "#^":
            continue
        if line.startswith("}"):
            closed = regions.pop() if regions else ""
            if isinstance(closed, _Statement):
                closed.lines.append(line)
            if line.endswith("{"):
                regions.append(closed)
            continue
        name = match["name"] if (match := _OP.match(line)) else ""
        around = next((region for region in reversed(regions) if isinstance(region, _Statement)), None)
        holder: _Statement | str = line
        if around is not None:
            around.inner.append(name)
        elif "." not in name and found and line.endswith("{") and name not in _STRUCTURE:
            holder = found[-1]  # a region of the op above: `reducer(...) {`
        elif name not in _STRUCTURE and not any(
            isinstance(region, str) and " private " in region for region in regions
        ):
            holder = _Statement(name, [line])
            found.append(holder)
        if line.endswith("{"):
            regions.append(holder)
    return found


def _without(statements: Sequence[_Statement], *, others: Sequence[_Statement], plain: bool) -> list[_Statement]:
    """What is no mere translation of one of the others; `plain`: only plain ops count as translations."""
    known = {statement.identity for statement in others}
    return [s for s in statements if (plain and not s.plain) or s.identity not in known]


def _shown(statements: Sequence[_Statement]) -> tuple[str, ...]:
    """One line for each of the most telling statements."""
    chosen = list(statements)
    for plain in (True, False):
        while len(chosen) > LINES and (dispensable := [s for s in chosen if s.plain or not plain]):
            chosen.remove(dispensable[0])
    return tuple(_short(statement.text) for statement in chosen)


def _short(text: str) -> str:
    """At most WIDTH characters; the types at the end are the last to go."""
    for pattern, replacement in _ABBREVIATIONS:
        text = pattern.sub(replacement, text)
    if len(text) > WIDTH and (attributes := _ATTRIBUTES.search(text)):
        kept = max(len(attributes[1]) - (len(text) - WIDTH) - 1, 0)
        head, tail = attributes[1][: kept - kept // 3], attributes[1][len(attributes[1]) - kept // 3 :]
        text = f"{text[: attributes.start(1)]}{head}…{tail}{text[attributes.end(1) :]}"
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _standing(
    wrote: Sequence[_Statement], replaced: Sequence[_Statement], old: Sequence[_Statement], finished: str
) -> str:
    """The line of the last telling op that the pass wrote, if it is still in the finished stage."""
    known = {_plainly(line) for statement in old for line in statement.lines}
    standing = {_plainly(line) for statement in _statements(finished) for line in statement.lines} - known
    untranslated = _without(wrote, others=replaced, plain=False)
    telling = [s for s in untranslated if not s.plain] or [s for s in wrote if not s.plain] or wrote
    lines = [line for statement in reversed(telling) for line in statement.lines]
    return next((line for line in lines if _plainly(line) in standing), "")
