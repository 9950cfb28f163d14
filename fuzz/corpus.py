# SPDX-License-Identifier: Apache-2.0
"""Cases that are kept: seeds, written by hand for bugs of the past, and regressions, reduced findings.

An entry is a case file with an `about` that says where it comes from and how it fails. Files are data from anyone:
they are read as `fuzz.document` reads, and what does not fit is refused with file, line and column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz.case import Case, CaseError, MeshfuzzError, from_plain
from fuzz.document import DocumentError, mapping, parse, read_text, sequence, text, texts
from fuzz.evidence import Neighbour

CLASSES = tuple(f"K{number}" for number in range(1, 23))  # of bugs, as corpus/README.md lists them
SEEDS, REGRESSIONS = "seeds", "regressions"
ISSUE = re.compile(r"[\w.-]+(/[\w.-]+)?#\d+")


class CorpusError(MeshfuzzError):
    """A file of the corpus is not what it should be; the message begins with file, line and column."""


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an entry beside its case."""

    says: str = ""  # what it asks of a compiler, in a sentence or two
    classes: tuple[str, ...] = ()  # of CLASSES
    issues: tuple[str, ...] = ()  # public ones it was written for, or that it was filed as: tt-mlir#8955
    fails: str = ""  # the bucket it fails in, or of a seed the signature; empty: it passes
    on: str = ""  # the plugin that was tried, for example jax-tt-plugin 0.1.3
    neighbours: tuple[Neighbour, ...] = ()  # of a regression: they failed like it

    def to_plain(self) -> dict[str, Any]:
        plain = {
            "says": self.says,
            "classes": list(self.classes),
            "issues": list(self.issues),
            "fails": self.fails,
            "on": self.on,
            "neighbours": [neighbour.to_plain() for neighbour in self.neighbours],
        }
        return {key: value for key, value in plain.items() if value}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the corpus."""

    name: str  # of the file, without its ending; of a regression the id of its bucket
    path: Path
    case: Case
    about: About


def load_entry(path: Path) -> Entry:
    """Read one entry. Raises CorpusError."""
    try:
        document = parse(read_text(path))
    except DocumentError as error:
        raise CorpusError(f"{path}:{error.place}: {error}") from error
    try:
        return Entry(path.stem, path, from_plain(document.data), _about(document.data))
    except (CaseError, DocumentError) as error:
        raise CorpusError(f"{path}:{document.located(error.place)}: {error}") from error


def entries(folder: Path) -> Iterator[Entry]:
    """All entries of a folder, by name. Raises CorpusError."""
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder")
    for path in sorted(folder.glob("*.yaml")):
        yield load_entry(path)


def _about(data: object) -> About:
    fields = mapping(
        mapping(data, "", None).get("about", {}),
        "about",
        (),
        ("says", "classes", "issues", "fails", "on", "neighbours"),
    )
    classes, issues = (texts(fields.get(key, []), f"about.{key}") for key in ("classes", "issues"))
    for number, name in enumerate(classes):
        if name not in CLASSES:
            raise DocumentError(f"unknown class {name!r}: use K1 to K{len(CLASSES)}", f"about.classes[{number}]")
    for number, name in enumerate(issues):
        if not ISSUE.fullmatch(name):
            raise DocumentError(f"{name!r} names no issue: write repository#number", f"about.issues[{number}]")
    neighbours = sequence(fields.get("neighbours", []), "about.neighbours")
    said = {key: text(fields.get(key, ""), f"about.{key}") for key in ("says", "fails", "on")}
    return About(
        **said,
        classes=classes,
        issues=issues,
        neighbours=tuple(_neighbour(plain, f"about.neighbours[{number}]") for number, plain in enumerate(neighbours)),
    )


def _neighbour(data: object, place: str) -> Neighbour:
    fields = mapping(data, place, {"why", "case"})
    return Neighbour(text(fields["why"], f"{place}.why"), from_plain(fields["case"], f"{place}.case"))
