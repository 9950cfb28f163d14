# SPDX-License-Identifier: Apache-2.0
"""YAML from anyone, as plain data that remembers where each part of it stands.

Only mappings with text keys, lists, texts, numbers and truth values come out. What could make a small file expand or a
loader act is refused: aliases, tags, merge keys, keys that stand twice, deep nesting, and files that are too large.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 24  # of nesting; a case in a list of a workaround needs ten
MAX_DIGITS = 40  # of a number; parsing longer ones takes time that grows with their square

_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map"))


class DocumentError(Exception):
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
        with path.open("rb") as stream:
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

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not allowed", problem_mark=event.start_mark)
        if self.depth >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH}", problem_mark=event.start_mark)
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
    except (ValueError, yaml.YAMLError) as error:  # a tag that the text does not have the form of
        raise DocumentError(" ".join(str(error).split()), _at(node)) from error


def _at(node: yaml.Node) -> str:
    return f"{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
    seen = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            raise DocumentError("a key that is not a text: quote it", _at(key))
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
            raise DocumentError(f"unknown keys {unknown}", place)
    return data


def sequence(data: object, place: str) -> list[object]:
    if not isinstance(data, list):
        raise DocumentError("expected a list", place)
    return data


def text(data: object, place: str) -> str:
    if not isinstance(data, str):
        raise DocumentError(f"expected text, got {data!r}", place)
    return data


def integer(data: object, place: str) -> int:
    if isinstance(data, bool) or not isinstance(data, int):
        raise DocumentError(f"expected a whole number, got {data!r}", place)
    if data.bit_length() > 63:
        raise DocumentError(f"{data} does not fit 64 bits", place)
    return data


def texts(data: object, place: str) -> tuple[str, ...]:
    return tuple(text(item, f"{place}[{number}]") for number, item in enumerate(sequence(data, place)))


def integers(data: object, place: str) -> tuple[int, ...]:
    return tuple(integer(item, f"{place}[{number}]") for number, item in enumerate(sequence(data, place)))
