# SPDX-License-Identifier: Apache-2.0
"""Cases that are kept: seeds, written by hand for bugs of the past, and regressions, reduced findings.

An entry is a case file with an `about` that says where it comes from and how it fails. Files are data from anyone:
they are read as `fuzz.document` reads, and what does not fit is refused with file, line and column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fuzz.case import Case, CaseError, MeshfuzzError, check_options, to_plain
from fuzz.case_file import from_document
from fuzz.coverage import features
from fuzz.document import DocumentError, mapping, parse, read_text, sequence, text, texts
from fuzz.evidence import Neighbour
from fuzz.ops.core import specs
from fuzz.reduce.order import complexity
from fuzz.triage import bucket_id
from oracles.targets.config import KINDS

CLASSES = tuple(f"K{number}" for number in range(1, 23))  # of bugs, as corpus/README.md lists them
SEEDS, REGRESSIONS = "seeds", "regressions"
MAX_NEIGHBOURS = 64
ISSUE = re.compile(r"[\w.-]+(/[\w.-]+)?#\d+")


class CorpusError(MeshfuzzError):
    """A file of the corpus is not what it should be; the message begins with file, line and column."""


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an entry beside its case."""

    says: str = ""  # what it asks of a compiler, in a sentence or two
    classes: tuple[str, ...] = ()  # of CLASSES
    issues: tuple[str, ...] = ()  # public ones it was written for, or that it was filed as: tt-mlir#8955
    fails: str = ""  # how it fails, as `fuzz.signature` has it; empty: it passes
    bucket: str = ""  # the key of the finding that it comes down to; of a regression its own
    plugin: str = ""  # that was tried, for example jax-tt-plugin 0.1.3
    neighbours: tuple[Neighbour, ...] = ()  # of a regression: they failed like it

    @property
    def target(self) -> str:
        """The kind of target that `plugin` stands for: what fails on one may pass on another ever since."""
        kind = self.plugin.partition(" ")[0].partition(":")[0]
        return kind if not kind or kind in KINDS else "tt"

    def to_plain(self) -> dict[str, Any]:
        plain = {
            "says": self.says,
            "classes": list(self.classes),
            "issues": list(self.issues),
            "fails": self.fails,
            "bucket": self.bucket,
            "plugin": self.plugin,
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

    @property
    def is_regression(self) -> bool:
        """Whether the entry is named after its bucket."""
        return bool(self.about.bucket) and self.name == bucket_id(self.about.bucket)


def load_entry(path: Path) -> Entry:
    """Read one entry, whose graph torch accepts. Raises CorpusError."""
    try:
        if path.is_symlink():
            raise DocumentError("a link: the files of a corpus are in its folder")
        content = read_text(path)
        document = parse(content)
    except DocumentError as error:
        raise CorpusError(f"{path}:{error.place + ':' if error.place else ''} {error}") from error
    try:
        case = check_options(from_document(document, content, str(path)))
    except CaseError as error:
        raise CorpusError(str(error)) from error
    try:
        about = _about(document.data)
        specs(case)
    except (CaseError, DocumentError) as error:
        raise CorpusError(f"{path}:{document.located(error.place)}: {error.place}: {error}") from error
    return Entry(path.stem, path, case, about)


def dump_entry(case: Case, about: About) -> str:
    """The text of an entry's file."""
    plain = to_plain(case)
    order = {"format": plain.pop("format"), "about": about.to_plain()} | plain
    body = yaml.safe_dump(order, sort_keys=False, default_flow_style=None, width=118)
    return f"# case {case.digest}\n{body}"


def files(folder: Path) -> list[Path]:
    """The files of all entries: seeds and regressions, by name. Raises CorpusError if there is no such folder."""
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder; a corpus has folders {SEEDS} and {REGRESSIONS}")
    return [path for kind in (SEEDS, REGRESSIONS) for path in sorted((folder / kind).glob("*.yaml"))]


def entries(folder: Path) -> tuple[Entry, ...]:
    """All entries of a corpus. Raises CorpusError for the first file that is not one."""
    return tuple(load_entry(path) for path in files(folder))


def lint(folder: Path) -> Iterator[str]:
    """What is wrong with the files of a corpus, a line each. Raises CorpusError if there is no such folder."""
    seen: dict[str, Path] = {}
    for path in files(folder):
        try:
            entry = load_entry(path)
        except CorpusError as error:
            yield str(error)
            continue
        if (other := seen.setdefault(entry.case.digest, path)) != path:
            yield f"{path}:1:1: the same case as {other}"
        if path.parent.name == SEEDS and not (entry.about.says and entry.about.classes):
            yield f"{path}:1:1: a seed says what it asks and for which classes of bugs (about.says, about.classes)"
        if path.parent.name == REGRESSIONS and not entry.is_regression:
            yield f"{path}:1:1: a regression is named after its bucket: {bucket_id(entry.about.bucket)}.yaml"
        if entry.about.fails and not entry.about.plugin:
            yield f"{path}:1:1: say with which plugin it fails (about.plugin)"


def redundant(kept: Iterable[Entry]) -> tuple[Entry, ...]:
    """Entries without which the rest exercises as much: every op x dtype x sharding x boundary, and every bucket.

    Chosen greedily, what adds most first; of equals the smaller case stays.
    """
    left = sorted(kept, key=lambda entry: (complexity(entry.case), entry.name))
    gains = {entry.name: {*features(entry.case), *([entry.name] if entry.is_regression else [])} for entry in left}
    covered: set[object] = set()
    while left:
        best = max(left, key=lambda entry: len(gains[entry.name] - covered))
        if gains[best.name] <= covered:
            break
        covered |= gains[best.name]
        left.remove(best)
    return tuple(sorted(left, key=lambda entry: entry.name))


def _about(data: object) -> About:
    fields = mapping(
        mapping(data, "", None).get("about", {}),
        "about",
        (),
        ("says", "classes", "issues", "fails", "bucket", "plugin", "neighbours"),
    )
    classes, issues = (texts(fields.get(key, []), f"about.{key}") for key in ("classes", "issues"))
    for number, name in enumerate(classes):
        if name not in CLASSES:
            raise DocumentError(f"unknown class {name!r}: use K1 to K{len(CLASSES)}", f"about.classes[{number}]")
    for number, name in enumerate(issues):
        if not ISSUE.fullmatch(name):
            raise DocumentError(f"{name!r} names no issue: write repository#number", f"about.issues[{number}]")
    neighbours = sequence(fields.get("neighbours", []), "about.neighbours")
    if len(neighbours) > MAX_NEIGHBOURS:
        raise DocumentError(f"more than {MAX_NEIGHBOURS} neighbours", "about.neighbours")
    said = {key: text(fields.get(key, ""), f"about.{key}") for key in ("says", "fails", "bucket", "plugin")}
    return About(
        **said,
        classes=classes,
        issues=issues,
        neighbours=tuple(
            Neighbour.from_plain(plain, f"about.neighbours[{number}]") for number, plain in enumerate(neighbours)
        ),
    )
