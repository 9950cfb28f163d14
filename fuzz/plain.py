# SPDX-License-Identifier: Apache-2.0
"""Frozen dataclasses from plain data that anyone may have written, checked against their own type hints.

What a class says of its fields is what is accepted: no other keys, no other types, and texts that can be encoded.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from fuzz.document import DocumentError, integer, joined, mapping, sequence, shown, text

MAX_JSON = 16 << 20  # characters of one text

Plain = TypeVar("Plain")
Reader = Callable[[object, str], Any]


def read(kind: type[Plain], data: object, place: str = "") -> Plain:
    """An instance of a dataclass from a mapping of its fields. Fields with defaults may be missing.

    Fields may be numbers, texts, truth values, enumerations of texts, tuples, dicts with text keys, dataclasses, and
    unions of one of these with None. Raises DocumentError.
    """
    return cast(Plain, _reader(cast(Any, kind))(data, place))


def parse_json(content: object) -> Any:
    """The plain data of a JSON text. Raises DocumentError for anything else."""
    if not isinstance(content, str) or len(content) > MAX_JSON:
        raise DocumentError(f"expected a JSON text of at most {MAX_JSON} characters")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are ValueErrors too
        raise DocumentError(f"not valid JSON: {str(error).splitlines()[0]}") from error


@lru_cache(maxsize=256)
def _reader(kind: Any) -> Reader:
    """What reads one type."""
    if kind is str:
        return text
    if kind is bool:
        return _truth
    if kind is int:
        return integer
    if kind is float:
        return _number
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return lambda data, place: _choice(kind, data, place)
    if isinstance(kind, type) and is_dataclass(kind):
        return _fields_reader(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and arguments[-1] is Ellipsis:
        item = _reader(arguments[0])
        return lambda data, place: tuple(item(each, f"{place}[{n}]") for n, each in enumerate(_items(data, place)))
    if origin is tuple:
        return _row_reader(tuple(map(_reader, arguments)))
    if origin is dict:
        value = _reader(arguments[1])
        return lambda data, place: {
            text(key, place): value(each, place) for key, each in mapping(data, place, None).items()
        }
    if origin in (Union, types.UnionType):
        (inner,) = (_reader(each) for each in arguments if each is not type(None))
        return lambda data, place: None if data is None else inner(data, place)
    raise TypeError(f"no reader for {kind}")


def _fields_reader(kind: type) -> Reader:
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}

    def read_fields(data: object, place: str) -> Any:
        given = mapping(data, place, required, readers.keys())
        return kind(**{name: readers[name](value, joined(place, name)) for name, value in given.items()})

    return read_fields


def _row_reader(readers: tuple[Reader, ...]) -> Reader:
    def read_row(data: object, place: str) -> tuple[Any, ...]:
        items = _items(data, place)
        if len(items) != len(readers):
            raise DocumentError(f"expected {len(readers)} items, got {len(items)}", place)
        return tuple(one(each, f"{place}[{n}]") for n, (one, each) in enumerate(zip(readers, items, strict=True)))

    return read_row


def _items(data: object, place: str) -> list[object]:
    return sequence(list(data) if isinstance(data, tuple) else data, place)


def _truth(data: object, place: str) -> bool:
    if not isinstance(data, bool):
        raise DocumentError(f"expected true or false, got {shown(data)}", place)
    return data


def _number(data: object, place: str) -> float:
    if isinstance(data, float):
        return data
    return float(integer(data, place))


def _choice(kind: type[StrEnum], data: object, place: str) -> StrEnum:
    named = text(data, place)
    if named not in list(kind):
        raise DocumentError(f"unknown {shown(named)}: use {', '.join(kind)}", place)
    return kind(named)
