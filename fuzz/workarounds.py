# SPDX-License-Identifier: Apache-2.0
"""Workarounds for compiler bugs as data: the form of a program that is avoided, and the form that is used instead.

`corpus/workarounds.yaml` lists them. Their forms are case files, tried on every mesh and in every dtype of the entry.
What a run says of them is in `fuzz.removal`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from fuzz.case import DTYPES, Case, CaseError, Input, Mesh, MeshfuzzError, Node, Output, is_uneven
from fuzz.case_file import load
from fuzz.document import DocumentError, mapping, parse, read_text, sequence, text, texts
from fuzz.ops.core import specs

FILE = "workarounds.yaml"
_CASE_FILE = re.compile(r"(workarounds|seeds)/[A-Za-z0-9][A-Za-z0-9_-]*\.yaml")
_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_TICKET = re.compile(r"([\w.-]+#\d+)?")
_REQUIRED = (
    "id",
    "ticket",
    "repository",
    "file",
    "avoids",
    "avoided",
    "replacement",
    "neighbours",
    "meshes",
    "dtypes",
    "shows_in",
)
Item = TypeVar("Item")
FormReader = Callable[[object, str], "Form"]  # of a part of the list and where it stands


class WorkaroundError(MeshfuzzError):
    """The list of workarounds is not what it should be; the message begins with file, line and column."""


class ShowsIn(StrEnum):
    """What has to run for the avoided bug to show."""

    STAGES = "stages"  # the compiler: the stages that it writes are wrong, or it refuses
    BUILD = "build"  # another compiler or front end: in this one the workaround is active, or the avoided path is not
    SILICON = "silicon"  # a kernel or the run time, which a mock does not run


@dataclass(frozen=True, slots=True)
class Form:
    """A case and the file it is in, relative to the corpus."""

    name: str
    case: Case


@dataclass(frozen=True, slots=True)
class Workaround:
    """What is avoided, where, and how."""

    id: str
    ticket: str  # repository#number; empty: the code cites none
    repository: str
    file: str  # and what in it
    avoids: str  # one sentence
    avoided: Form
    replacement: Form
    neighbours: tuple[Form, ...]  # of the avoided form: what a narrowed fix would leave
    meshes: tuple[Mesh, ...]
    dtypes: tuple[str, ...]  # the first is the one that the forms are written in
    shows_in: ShowsIn
    needs: str = ""  # what a verdict takes that is not here; empty if the bug shows in the stages


@dataclass(frozen=True, slots=True)
class Instance:
    """A form on one mesh in one dtype."""

    form: Form
    mesh: Mesh
    dtype: str
    case: Case

    def __str__(self) -> str:
        return f"{Path(self.form.name).stem} on {self.mesh} in {self.dtype}"


# --- reading ----------------------------------------------------------------------------------------------------------


def load_workarounds(corpus: Path) -> tuple[Workaround, ...]:
    """All workarounds of a corpus folder. Raises WorkaroundError, and CaseError for a form."""
    path = corpus / FILE
    try:
        document = parse(read_text(path))
    except DocumentError as error:
        raise WorkaroundError(f"{path}:{error.place + ':' if error.place else ''} {error}") from error
    try:
        items = sequence(document.data, "")
        form = _reader(corpus)
        read = tuple(_workaround(item, f"[{number}]", form) for number, item in enumerate(items))
        _distinct([each.id for each in read], "", ".id")
    except DocumentError as error:
        raise WorkaroundError(f"{path}:{document.located(error.place)}: {error}") from error
    return read


def _workaround(data: object, place: str, form: FormReader) -> Workaround:
    fields = mapping(data, place, _REQUIRED, ("needs",))
    said = {key: text(fields[key], f"{place}.{key}") for key in ("repository", "file", "avoids")}
    for key, words in said.items():
        if not words:
            raise DocumentError("say it in a few words", f"{place}.{key}")
    shows_in = text(fields["shows_in"], f"{place}.shows_in")
    if shows_in not in [*ShowsIn]:
        raise DocumentError(f"unknown {shows_in!r}: use {', '.join(ShowsIn)}", f"{place}.shows_in")
    needs = text(fields.get("needs", ""), f"{place}.needs")
    if bool(needs) == (shows_in == ShowsIn.STAGES):
        problem = "nothing is missing if the bug shows in the stages" if needs else "missing ['needs']: what is missing"
        raise DocumentError(problem, f"{place}.needs")
    names = texts(fields["neighbours"], f"{place}.neighbours")
    avoided, replacement = (form(fields[key], f"{place}.{key}") for key in ("avoided", "replacement"))
    for value in replacement.case.inputs:
        other = avoided.case.input(value.name)
        if other is not None and (other.spec, other.payload) != (value.spec, value.payload):
            raise DocumentError(f"its input {value.name!r} is another in {avoided.name}", f"{place}.replacement")
    return Workaround(
        id=_matching(_ID, fields, "id", place, "small letters, digits and -"),
        ticket=_matching(_TICKET, fields, "ticket", place, "repository#number, or nothing"),
        **said,
        avoided=avoided,
        replacement=replacement,
        neighbours=tuple(form(name, f"{place}.neighbours[{n}]") for n, name in enumerate(names)),
        meshes=_distinct(_meshes(fields["meshes"], f"{place}.meshes"), f"{place}.meshes"),
        dtypes=_distinct(_dtypes(fields["dtypes"], f"{place}.dtypes"), f"{place}.dtypes"),
        shows_in=ShowsIn(shows_in),
        needs=needs,
    )


def _matching(pattern: re.Pattern[str], fields: Mapping[str, object], key: str, place: str, form: str) -> str:
    value = text(fields[key], f"{place}.{key}")
    if not pattern.fullmatch(value):
        raise DocumentError(f"{value!r} is no {key}: write {form}", f"{place}.{key}")
    return value


def _reader(corpus: Path) -> FormReader:
    """Reads forms, each file once: many entries share theirs."""
    known: dict[str, Form] = {}

    def form(data: object, place: str) -> Form:
        if not isinstance(data, str) or data not in known:
            found = _form(data, place, corpus)
            known[found.name] = found
        return known[str(data)]

    return form


def _form(data: object, place: str, corpus: Path) -> Form:
    name = text(data, place)
    if not _CASE_FILE.fullmatch(name):
        raise DocumentError(f"{name!r} is no case of the corpus: write workarounds/NAME.yaml or seeds/NAME.yaml", place)
    if not (corpus / name).is_file():
        raise DocumentError(f"{name}: no such file", place)
    if (corpus / name).is_symlink():
        raise DocumentError(f"{name} is a link: the files of a corpus are in its folder", place)
    return Form(name, load(corpus / name))


def _meshes(data: object, place: str) -> tuple[Mesh, ...]:
    found = []
    for number, name in enumerate(texts(data, place)):
        try:
            found.append(Mesh.parse(name))
        except CaseError as error:
            raise DocumentError(str(error), f"{place}[{number}]") from error
    return tuple(found)


def _dtypes(data: object, place: str) -> tuple[str, ...]:
    names = texts(data, place)
    for number, name in enumerate(names):
        if name not in DTYPES:
            raise DocumentError(f"unknown dtype {name!r}: use {', '.join(DTYPES)}", f"{place}[{number}]")
    return names


def _distinct(items: Sequence[Item], place: str, part: str = "") -> tuple[Item, ...]:
    """The items if there is one at least, and none twice."""
    if not items:
        raise DocumentError("empty", place)
    for number, item in enumerate(items):
        if item in items[:number]:
            raise DocumentError(f"{item} stands twice", f"{place}[{number}]{part}")
    return tuple(items)


# --- forms on meshes and in dtypes ------------------------------------------------------------------------------------


def instances(form: Form, workaround: Workaround) -> Iterator[Instance]:
    """The form on each mesh in each dtype of its workaround, the first ones first."""
    for mesh in workaround.meshes:
        for dtype in workaround.dtypes:
            case = in_dtype(replace(form.case, mesh=mesh), workaround.dtypes[0], dtype)
            yield Instance(form, mesh, dtype, case)


def in_dtype(case: Case, before: str, after: str) -> Case:
    """The case with every input of one dtype, and every node told to make it, in another."""

    def of_input(value: Input) -> Input:
        return replace(value, spec=replace(value.spec, dtype=after)) if value.spec.dtype == before else value

    def of_node(node: Node) -> Node:
        changed = ((key, after if (key, value) == ("dtype", before) else value) for key, value in node.attributes)
        return replace(node, attributes=tuple(changed))

    return replace(case, inputs=tuple(map(of_input, case.inputs)), nodes=tuple(map(of_node, case.nodes)))


def undivided(case: Case) -> str:
    """The value that the mesh does not divide, where a sharding asks for it; empty if all divide. Raises CaseError."""
    known = specs(case)
    values: tuple[Input | Node | Output, ...] = (*case.inputs, *case.nodes, *case.outputs)
    asked = [(value.name, value.sharding) for value in values]
    for name, sharding in asked:
        if sharding is not None and is_uneven(known[name].shape, sharding, case.mesh):
            return f"{name} of shape {list(known[name].shape)} does not divide on {case.mesh}"
    return ""
