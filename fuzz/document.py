# SPDX-License-Identifier: Apache-2.0
"""YAML from anyone, as plain data that remembers where each part of it stands.

Only mappings with text keys, lists, texts, numbers and truth values come out. What could make a small file expand or a
loader act is refused: aliases, tags, merge keys, keys that stand twice, deep nesting, long keys, files that are too
large and those that are no files: a pipe would wait for ever.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MAX_FILE_BYTES = 1 << 18  # the largest file of ours has 30 KB; the worst of this size takes the parser a second
MAX_DEPTH = 24  # of nesting; a case in a list of a workaround needs ten
MAX_DIGITS = 40  # of a number; parsing longer ones takes time that grows with their square
MAX_KEY = 64  # characters; the places of all parts inside repeat it
MAX_NODES = 5_000  # parts of a document, of which the parser makes twelve thousand a second; our largest has a fifth
MAX_SHOWN = 80  # characters of a value that a message repeats

# An identifier of every language that a script may be written in, short enough to be read.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# Written for terminals, or to turn the direction of text, or to end a line for some readers and not for others: nobody
# may write that into a script, a page or a terminal of ours.
_UNPRINTABLE = re.compile(
    r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")

_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map"))


class DocumentError(ValueError):
    """A file or data that is not what it should be: what is wrong in one line, without where.

    `place` is the part at fault, written like `inputs[0].shape`, or `line:column` where there is no data yet.
    """

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data and the line and column, from 1, of each of its parts."""

    data: object
    marks: dict[str, tuple[int, int]]

    def located(self, place: str) -> str:
        """`line:column` of a part, or of the nearest one around it that the file has."""
        while place not in self.marks:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        line, column = self.marks[place]
        return f"{line}:{column}"


def read_text(path: Path) -> str:
    """The text of a file that anyone may have written. Raises DocumentError."""
    try:
        # Opening a pipe waits for its other end unless told not to; reading one or a device is no use either way.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise DocumentError("not a file")
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise DocumentError(f"larger than {MAX_FILE_BYTES} bytes")
        return content.decode()
    except OSError as error:
        raise DocumentError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}") from error


def parse(content: str) -> Document:
    """The one document of a YAML text. Raises DocumentError with line and column as place."""
    try:
        node = _Composer(content).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f"{mark.line + 1}:{mark.column + 1}"
        said = ", ".join(" ".join(part.split()) for part in (error.problem, error.context) if part)
        raise DocumentError(f"not valid YAML: {said}", where) from error
    except yaml.YAMLError as error:  # characters that YAML does not allow
        raise DocumentError(f"not valid YAML: {' '.join(str(error).split())}") from error
    if node is None:
        raise DocumentError("empty", "1:1")
    marks: dict[str, tuple[int, int]] = {}
    return Document(_plain(node, "", marks), marks)


class _Composer(yaml.SafeLoader):
    """Composes nodes, not objects; refuses what has no use in data while it reads, before it can do harm."""

    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not allowed", problem_mark=event.start_mark)
        if self.depth >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH}", problem_mark=event.start_mark)
        if self.nodes >= MAX_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_NODES} parts", problem_mark=event.start_mark)
        self.nodes += 1
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _plain(node: yaml.Node, place: str, marks: dict[str, tuple[int, int]]) -> Any:
    marks[place] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if node.tag not in _PLAIN_TAGS:
        raise DocumentError(f"{node.tag.removeprefix('tag:yaml.org,2002:')} is not plain data", _at(node))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, f"{place}[{number}]", marks) for number, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return {key: _plain(value, f"{place}.{key}" if place else key, marks) for key, value in _pairs(node)}
    if node.tag.endswith((":int", ":float")) and len(node.value) > MAX_DIGITS:
        raise DocumentError(f"a number of {len(node.value)} digits", _at(node))
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, KeyError, IndexError, yaml.YAMLError) as error:  # a tag that the text does not have the form of
        raise DocumentError(" ".join(str(error).split()), _at(node)) from error


def _at(node: yaml.Node) -> str:
    return f"{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
    seen = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            raise DocumentError("a key that is not a text: quote it", _at(key))
        if len(key.value) > MAX_KEY or _SURROGATES.search(key.value):
            raise DocumentError(f"{shown(key.value)} is no key: use at most {MAX_KEY} characters", _at(key))
        if key.value in seen:
            raise DocumentError(f"the key {key.value!r} stands twice", _at(key))
        seen.add(key.value)
        yield key.value, value


def joined(outer: str, inner: str) -> str:
    """The place of a part of a part."""
    return f"{outer}{'' if not outer or not inner or inner.startswith('[') else '.'}{inner}"


# --- what a part must be ----------------------------------------------------------------------------------------------


def mapping(
    data: object, place: str, required: Collection[str] | None, optional: Collection[str] = ()
) -> Mapping[str, object]:
    """A mapping with the required keys and no others than those and the optional ones; None: any keys."""
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise DocumentError("expected a mapping with text keys", place)
    if required is not None:
        if missing := sorted(set(required) - set(data)):
            raise DocumentError(f"missing {missing}", place)
        if unknown := sorted(set(data) - set(required) - set(optional)):
            raise DocumentError(f"unknown keys {shown(unknown)}", place)
    return data


def sequence(data: object, place: str) -> list[object]:
    if not isinstance(data, list):
        raise DocumentError("expected a list", place)
    return data


def text(data: object, place: str) -> str:
    if not isinstance(data, str):
        raise DocumentError(f"expected text, got {shown(data)}", place)
    if _SURROGATES.search(data):
        raise DocumentError("half of a character: no file can hold it", place)
    return data


def name(data: object, place: str) -> str:
    """A text that is an identifier: where it ends up in a program it cannot be more than a name."""
    if not _NAME.fullmatch(given := text(data, place)):
        raise DocumentError(f"{shown(given)} is no name: use letters, digits and _, at most 64", place)
    return given


def integer(data: object, place: str) -> int:
    if isinstance(data, bool) or not isinstance(data, int):
        raise DocumentError(f"expected a whole number, got {shown(data)}", place)
    if data.bit_length() > 63:
        raise DocumentError(f"{shown(data)} does not fit 64 bits", place)
    return data


def texts(data: object, place: str) -> tuple[str, ...]:
    return tuple(text(item, f"{place}[{number}]") for number, item in enumerate(sequence(data, place)))


def integers(data: object, place: str) -> tuple[int, ...]:
    return tuple(integer(item, f"{place}[{number}]") for number, item in enumerate(sequence(data, place)))


def printable(text: str) -> str:
    """The text without colours, control characters and what else cannot be seen."""
    return _UNPRINTABLE.sub("", text)


def shown(data: object) -> str:
    """The beginning of a value, as a message may repeat it."""
    if isinstance(data, int) and data.bit_length() > 4 * MAX_SHOWN:
        return f"a number of {data.bit_length()} bits"  # writing it down takes time that grows with its square
    if isinstance(data, str):
        data = data[: MAX_SHOWN + 1]
    elif isinstance(data, list | dict) and not _is_small(data):
        return f"a {'list' if isinstance(data, list) else 'mapping'} of {len(data)}"
    said = ascii(data)
    return said if len(said) <= MAX_SHOWN else f"{said[:MAX_SHOWN]}.."


def _is_small(data: list[object] | dict[object, object]) -> bool:
    parts = data if isinstance(data, list) else [*data.keys(), *data.values()]
    return len(parts) <= 8 and not any(isinstance(part, list | dict) and part for part in parts)
