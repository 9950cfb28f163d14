# SPDX-License-Identifier: Apache-2.0
"""A folder to hand over: per finding its page, issue text, scripts, test, module and case, and an index of them all.

A piece that cannot be written is a sentence on the page and in the terminal, and the others are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jinja2 import TemplateError

from fuzz.case import Case, MeshfuzzError
from fuzz.document import DocumentError, read_text
from fuzz.finding import Finding
from fuzz.pool import Pool
from fuzz.publish import Export, Form, at_fault, finding_script, forms, issue, lit_test
from fuzz.report.html import Campaign, Piece, finding_page, index_page
from fuzz.report.words import proof
from fuzz.worker_process import WORKER
from oracles.targets.config import TargetConfig, TargetUnavailable
from oracles.targets.environment import versions

# For people, and the file's name.
FORMS: dict[Form, tuple[str, str]] = {
    "torch": ("torch script", "{}_torch.py"),
    "stablehlo": ("StableHLO script", "{}_stablehlo.py"),
    "pytest": ("pytest test", "{}_test.py"),
}
RUN = "// RUN:"


class LazyPool:
    """One worker for all modules of a folder, started when the first is asked for; a context manager.

    Starting takes seconds, and up to minutes to fail: what it said is said again instead of trying again.
    """

    def __init__(self, config: TargetConfig, directory: Path, deadline: float, command: Sequence[str] = WORKER) -> None:
        self._new = Pool(config, directory, workers=1, deadline=deadline, command=command)
        self._open: Pool | None = None
        self._failure: TargetUnavailable | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.close()

    def opened(self) -> Pool:
        """The pool. Raises TargetUnavailable."""
        if self._failure is not None:
            raise self._failure
        try:
            self._open = self._open or self._new.__enter__()
            return self._open
        except TargetUnavailable as error:
            self._failure = error
            raise

    def export(self, case: Case) -> Mapping[str, Any]:
        """See `Pool.export`."""
        return self.opened().export(case)


def write_folder(
    campaign: Campaign, directory: Path, output: Path, export: Export
) -> Iterator[tuple[Finding, tuple[Piece, ...]]]:
    """Write everything about a campaign's findings, whose own folder is `directory`; yields each when it is written.

    The index is written last; if the folder holds an older one, that goes first.
    """
    output.mkdir(parents=True, exist_ok=True)
    (output / "index.html").unlink(missing_ok=True)
    config, installed = campaign.settings.target, versions()
    written: dict[str, Sequence[Piece]] = {}
    for finding in campaign.findings:
        pieces = tuple(_pieces(finding, config, directory, output, export))
        page = finding_page(finding, config, pieces, installed)
        (output / f"{finding.id}.html").write_text(page, encoding="utf-8")
        written[finding.id] = pieces
        yield finding, pieces
    (output / "index.html").write_text(index_page(campaign, written, installed), encoding="utf-8")


def _pieces(finding: Finding, config: TargetConfig, directory: Path, output: Path, export: Export) -> Iterator[Piece]:
    """Those that make sense for the finding."""
    yield from _reports(finding, config, directory, output, export)
    case = output / f"{finding.id}.yaml"
    yield replace(_written("minimal case", case, lambda: finding.reduced), command=_reduce_command(case.name, config))


def _reports(finding: Finding, config: TargetConfig, directory: Path, output: Path, export: Export) -> Iterator[Piece]:
    """What is handed to those who can fix the bug."""
    if fault := finding.outcome.injected:
        yield Piece("bug report", problem=f"the compiler does not have the bug: fault {fault} is injected")
        return
    scripts = [_script(finding, form, config, directory, output, export) for form in _forms(finding, config)]
    pieces = [*scripts, *_modules(finding, config, output, export)]
    beside = [piece.path for piece in pieces if piece.path]
    report = _written("bug report", output / f"{finding.id}_issue.md", lambda: issue(finding, config, beside))
    yield replace(report, note="" if report.problem else f"for {at_fault(finding, config)}")
    yield from pieces


def _modules(finding: Finding, config: TargetConfig, output: Path, export: Export) -> Iterator[Piece]:
    """The module for the compiler's own tests, if one can show the bug."""
    try:
        module = lit_test(finding, config, export)
    except (MeshfuzzError, TemplateError) as error:
        yield Piece("module", problem=str(error))
    else:
        if module is not None:
            path = output / f"{finding.id}.mlir"
            yield replace(_written("module", path, lambda: module), command=_run_line(module, path.name))


def _forms(finding: Finding, config: TargetConfig) -> Iterator[Form]:
    able = forms(finding.outcome, config)
    yield from able
    if "torch" in able:
        yield "pytest"


def _script(finding: Finding, form: Form, config: TargetConfig, directory: Path, output: Path, export: Export) -> Piece:
    """The proven script of the campaign as it is, or a new one that nobody has run."""
    name, file = FORMS[form]
    path = output / file.format(finding.id)
    # Its path was checked where the finding was read, and the folder has no links: it leads nowhere else.
    known = next((s for s in finding.scripts if s.form == form and s.path and (directory / s.path).is_file()), None)
    if known is None:
        piece = _written(name, path, lambda: finding_script(finding, form, config, export))
        note = "" if piece.problem else "not run yet"
    else:
        piece = _written(name, path, lambda: read_text(directory / known.path))
        note = proof(known)
    command = f"{'pytest' if form == 'pytest' else 'python'} {path.name}"
    return replace(piece, note=note, command=command if piece.path else "")


def _written(name: str, path: Path, text: Callable[[], str]) -> Piece:
    try:
        path.write_text(text(), encoding="utf-8")
    except (MeshfuzzError, DocumentError, TemplateError) as error:
        return Piece(name, problem=str(error))
    return Piece(name, path.name)


def _run_line(module: str, file: str) -> str:
    """The command in the first line of a lit test, with its own name in it."""
    line = next((line for line in module.splitlines() if line.startswith(RUN)), "")
    return line.removeprefix(RUN).strip().replace("%s", file)


def _reduce_command(file: str, config: TargetConfig) -> str:
    """Judges a case file again; no option of it plants a fault."""
    if config.inject:
        return ""
    kind = f"plugin:{config.plugin}" if config.kind == "plugin" else config.kind
    mock = "off" if config.kind == "tt" and not config.mock else str(config.topology)
    return f"meshfuzz reduce {file} --target {kind} --mock {mock}"
