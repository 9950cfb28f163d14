# SPDX-License-Identifier: Apache-2.0
"""Cases as text: YAML that anybody may have written. Nothing in it is believed, and nothing of it is run."""

from __future__ import annotations

import math
import re
from pathlib import Path

import yaml

from fuzz.case import (
    FORMAT,
    MAX_RANK,
    Attribute,
    Case,
    CaseError,
    Input,
    Mesh,
    Node,
    Output,
    Payload,
    Sharding,
    TensorSpec,
    check_options,
    to_plain,
)
from fuzz.document import (
    Document,
    DocumentError,
    integer,
    integers,
    joined,
    mapping,
    name,
    parse,
    read_text,
    sequence,
    shown,
    text,
)

# Of what is read; what is generated stays far below.
MAX_VALUES = 512
MAX_LIST = 64  # operands of a node, numbers in an attribute
MAX_NUMBER = 1 << 60  # of a payload: what is computed from it stays within 64 bits
# An attribute that is a text: a dtype, an equation, a mode.
_WORDS = re.compile(r"[A-Za-z0-9_,.> -]{0,64}")


def from_plain(data: object, place: str = "") -> Case:
    """Build a case from plain data, the part at `place` of a document. Raises CaseError with the place at fault.

    What is said about the case (`about`) is for people and for the corpus, and no part of it.
    """
    try:
        return _read_case(data)
    except (DocumentError, CaseError) as error:
        raise CaseError(f"{error.place or 'case'}: {error}", joined(place, error.place)) from error


def _read_case(data: object) -> Case:
    top = mapping(data, "", {"format", "mesh", "inputs", "nodes", "outputs"}, {"options", "about"})
    if top["format"] != FORMAT:
        raise DocumentError(f"format {shown(top['format'])} is not {FORMAT}, the one this version reads", "format")
    mesh = mapping(top["mesh"], "mesh", {"shape", "axes"})
    options = mapping(top.get("options", {}), "options", None)
    for key in ("inputs", "nodes", "outputs"):
        _at_most(MAX_VALUES, top[key], key)
    return Case(
        mesh=Mesh(
            integers(_at_most(MAX_RANK, mesh["shape"], "mesh.shape"), "mesh.shape"), _names(mesh["axes"], "mesh.axes")
        ),
        inputs=tuple(_read_input(x, f"inputs[{i}]") for i, x in enumerate(sequence(top["inputs"], "inputs"))),
        nodes=tuple(_read_node(x, f"nodes[{i}]") for i, x in enumerate(sequence(top["nodes"], "nodes"))),
        outputs=tuple(_read_output(x, f"outputs[{i}]") for i, x in enumerate(sequence(top["outputs"], "outputs"))),
        options=tuple((key, text(value, f"options.{key}")) for key, value in options.items()),
    )


def _at_most(most: int, data: object, where: str) -> object:
    if isinstance(data, list) and len(data) > most:
        raise DocumentError(f"a list of {len(data)}, more than the limit of {most}", where)
    return data


def _names(data: object, where: str) -> tuple[str, ...]:
    items = sequence(_at_most(MAX_LIST, data, where), where)
    return tuple(name(item, f"{where}[{number}]") for number, item in enumerate(items))


def _recipe(data: object, where: str) -> int:
    number = integer(data, where)
    if abs(number) > MAX_NUMBER:
        raise DocumentError(f"{number} is beyond the limit of {MAX_NUMBER}", where)
    return number


def _read_input(data: object, where: str) -> Input:
    fields = mapping(data, where, {"name", "shape", "dtype", "payload", "sharding"})
    recipe = mapping(fields["payload"], f"{where}.payload", {"kind"}, {"low", "high", "dim", "seed"})
    numbers = {key: _recipe(value, f"{where}.payload.{key}") for key, value in recipe.items() if key != "kind"}
    shape = integers(_at_most(MAX_RANK, fields["shape"], f"{where}.shape"), f"{where}.shape")
    return Input(
        name=name(fields["name"], f"{where}.name"),
        spec=TensorSpec(shape, text(fields["dtype"], f"{where}.dtype")),
        payload=Payload(text(recipe["kind"], f"{where}.payload.kind"), **numbers),
        sharding=_read_sharding(fields["sharding"], f"{where}.sharding"),
    )


def _read_node(data: object, where: str) -> Node:
    fields = mapping(data, where, {"name", "op", "operands"}, {"attributes", "sharding"})
    attributes = mapping(fields.get("attributes", {}), f"{where}.attributes", None)
    return Node(
        name=name(fields["name"], f"{where}.name"),
        op=name(fields["op"], f"{where}.op"),
        operands=_names(fields["operands"], f"{where}.operands"),
        attributes=tuple(
            sorted(
                (name(k, f"{where}.attributes"), _attribute(v, f"{where}.attributes.{k}"))
                for k, v in attributes.items()
            )
        ),
        sharding=_read_sharding(fields["sharding"], f"{where}.sharding") if "sharding" in fields else None,
    )


def _read_output(data: object, where: str) -> Output:
    fields = mapping(data, where, {"name"}, {"sharding"})
    sharding = _read_sharding(fields["sharding"], f"{where}.sharding") if "sharding" in fields else None
    return Output(name(fields["name"], f"{where}.name"), sharding)


def _read_sharding(data: object, where: str) -> Sharding:
    dims = sequence(_at_most(MAX_RANK, data, where), where)
    return tuple(_names(axes, f"{where}[{i}]") for i, axes in enumerate(dims))


def _attribute(data: object, where: str) -> Attribute:
    if isinstance(data, list):
        return integers(_at_most(MAX_LIST, data, where), where)
    if data is None or isinstance(data, bool):
        return data
    if isinstance(data, str):
        if not _WORDS.fullmatch(data):
            raise DocumentError(f"{shown(data)} is no word that an op knows", where)
        return data
    if isinstance(data, int):
        return integer(data, where)
    if isinstance(data, float) and math.isfinite(data):
        return data
    raise DocumentError("expected a finite number, text, a truth value or a list of whole numbers", where)


def dump(case: Case) -> str:
    """The case as YAML, with its digest in the first line as a comment."""
    body = yaml.safe_dump(to_plain(case), sort_keys=False, default_flow_style=None, width=118)
    return f"# case {case.digest}\n{body}"


def load(path: Path) -> Case:
    """Read a case file. Raises CaseError in one line for unreadable, broken, hostile or tampered text."""
    try:
        content = read_text(path)
    except DocumentError as error:
        raise CaseError(f"{path}: {error}") from error
    return check_options(loads(content, str(path)))


def loads(content: str, where: str = "case") -> Case:
    """Parse YAML text. A digest in the first line, if present, must match."""
    try:
        document = parse(content)
    except DocumentError as error:
        raise CaseError(f"{where}:{error.place + ':' if error.place else ''} {error}") from error
    return from_document(document, content, where)


def from_document(document: Document, content: str, where: str) -> Case:
    """The same of a text that is parsed already."""
    try:
        case = from_plain(document.data)
    except CaseError as error:
        raise CaseError(f"{where}:{document.located(error.place)}: {error}", error.place) from error
    first = content.split("\n", 1)[0].split()
    if first[:2] == ["#", "case"] and first[2:] != [case.digest]:
        raise CaseError(
            f"{where}: digest mismatch: the file says {shown(' '.join(first[2:]))}, its content is {case.digest}"
        )
    return case
