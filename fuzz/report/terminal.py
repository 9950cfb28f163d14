# SPDX-License-Identifier: Apache-2.0
"""What people read on a terminal: tables that survive 80 columns, and one finding in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fuzz.account import Summary
from fuzz.case import Case
from fuzz.corpus import Entry
from fuzz.document import printable
from fuzz.finding import Finding, State
from fuzz.report.progress import clock
from fuzz.report.words import confirmation, coordinate, examples, plural, proof, quote_heading, quoted, reduction
from fuzz.signature import normalise
from fuzz.store import SKIPPED
from oracles.explanation import Decoded
from oracles.outcome import NOT_JUDGED, RIGHT, WRONG, Outcome, Verdict

MESSAGES = 8  # per verdict in a summary
ELEMENTS = 8  # decoded ones of an output
SHORT = {Verdict.NONDETERMINISTIC: "FLAKY"}  # so that the table keeps within 80 columns


def said(text: str) -> Text:
    """A text of anyone's, without what would act on the reader's terminal."""
    return Text(printable(text))


def print_to(console: Console, *parts: RenderableType) -> None:
    """Print without reading markup into compilers' messages, which are full of square brackets."""
    console.print(*parts, sep="\n", markup=False, highlight=False, soft_wrap=False)


def findings_table(findings: Sequence[Finding]) -> RenderableType:
    """One line per finding, and below them what is known to have happened."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("id", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    table.add_column("ops", overflow="fold", ratio=1)
    table.add_column("cases", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("proven", no_wrap=True)
    sentences = _grid()
    for finding in findings:
        proven = {State.PROVEN: "yes", State.KNOWN: "known"}.get(finding.state, "no")
        ops = " ".join(node.op for node in finding.case.nodes) or "none"
        verdict, stage = SHORT.get(finding.outcome.verdict, str(finding.outcome.verdict)), finding.outcome.stage
        table.add_row(*map(said, (finding.id, verdict, stage, ops, str(finding.count), size(finding.case), proven)))
        if finding.explanation is not None:
            sentences.add_row(said(finding.id), said(finding.explanation.sentence))
    return Group(table, sentences, Text("")) if sentences.row_count else table


def corpus_table(kept: Sequence[Entry]) -> RenderableType:
    """One line per entry of a corpus."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("entry", overflow="fold", max_width=34)
    table.add_column("mesh", no_wrap=True)
    table.add_column("classes", overflow="fold", max_width=12)
    table.add_column("fails", overflow="fold", ratio=1)
    for entry in kept:
        about = entry.about
        row = (entry.name, str(entry.case.mesh), " ".join(about.classes), about.bucket or about.fails or "passes")
        table.add_row(*map(said, row))
    return table


def _grid() -> Table:
    """Names, and what is said of each."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def size(case: Case) -> str:
    """How large a case is: elements of all inputs, and devices."""
    return f"{sum(value.spec.elements for value in case.inputs)} on {case.mesh}"


def summary_text(summary: Summary, directory: Path) -> Group:
    """The end of a campaign: what was found, and what was not looked at."""
    return Group(*_summary_parts(summary, directory))


def _summary_parts(summary: Summary, directory: Path) -> Iterator[RenderableType]:
    if summary.findings:
        yield findings_table(summary.findings)
        yield said(f"meshfuzz show ID --dir {directory} shows one in full")
        yield Text("")
    speed = summary.run / summary.elapsed if summary.elapsed else 0.0
    share = 100 * summary.generation / summary.elapsed if summary.elapsed else 0.0
    yield said(f"{summary.ended} after {clock(summary.elapsed)}: {summary.run} cases run, {speed:.1f}/s")
    yield said(f"drawing cases took {summary.generation:.1f} s, {share:.1f} % of the time")
    busy = [f"{activity} {share:.0%}" for activity, share in summary.spent.items()]
    yield said(f"workers: {', '.join(busy)}, idle {max(0.0, 1 - sum(summary.spent.values())):.0%}")
    order = [*map(str, Verdict), SKIPPED]
    yield said("verdicts: " + (", ".join(f"{n} {summary.counts[n]}" for n in order if summary.counts[n]) or "none"))
    if summary.counts[SKIPPED]:
        yield said(f"skipped: {summary.counts[SKIPPED]} cases with the pattern of a known finding (--revisit)")
    for verdict, messages in summary.messages.items():
        yield said(f"{verdict}:")
        for message, count in messages[:MESSAGES]:
            yield said(f"  {count:6} x {normalise(message) or 'no message'}")
        if len(messages) > MESSAGES:
            yield said(f"  and {len(messages) - MESSAGES} other messages")
    if summary.pending:
        yield said(f"{summary.pending} failing cases are not investigated yet: meshfuzz run --resume --dir {directory}")
    if summary.fixed:
        yield said(
            f"{plural(len(summary.fixed), 'known bug')} not seen any more: meshfuzz verify {' '.join(summary.fixed)}"
        )
    new = f"{summary.new} new" if summary.new else "nothing new"
    yield said(f"{len(summary.findings)} findings, {new}")


def finding_text(finding: Finding, directory: Path) -> Group:
    """One finding in full."""
    outcome, explanation = finding.outcome, finding.explanation
    facts = {
        "finding": finding.id,
        "bucket": finding.key,
        "verdict": str(outcome.verdict),
        "state": str(finding.state),
        "injected": outcome.injected,
        "stage": outcome.stage,
        "stages": ", ".join(f"{stage} {said}" for stage, said in outcome.stages.items()),
        "guilty": outcome.transition,
        "digits lost": outcome.number_format,
        "pass": "" if finding.localisation is None else str(finding.localisation),
        "message": outcome.message,
        "explained": "" if explanation is None else explanation.sentence,
        "confirmed": confirmation(explanation),
        "boundaries": "\n".join(map(str, finding.boundaries)),
        "controls": "\n".join(map(str, finding.controls)),
        "pcc": "" if outcome.pcc is None else f"{outcome.pcc:.6f} (decides nothing)",
        "cases": f"{finding.count}, the first is {'of the corpus' if finding.first < 0 else f'number {finding.first}'}",
        "reduction": reduction(finding),
    }
    grid = _grid()
    for name, value in facts.items():
        if value:
            grid.add_row(said(name), said(value))
    for script in finding.scripts:
        path = str(directory / script.path) if script.path else "not written"
        grid.add_row(said(script.form), said(f"{path}: {proof(script)}"))
    parts: list[RenderableType] = [grid, Text("")]
    for decoded in () if explanation is None else explanation.decoded:
        parts += [*decoded_text(finding.case, decoded), Text("")]
    if outcome.mismatches:
        parts += [mismatch_table(finding.case, outcome), Text("")]
    if lines := quoted(finding):
        parts += [said(quote_heading(finding)), *(said(f"{sign} {line}") for sign, line in lines), Text("")]
    parts.append(said(finding.reduced.rstrip()))
    return Group(*parts)


def decoded_text(case: Case, decoded: Decoded) -> Iterator[RenderableType]:
    """What the wrong elements of an output are: how many of each cause, and some of them."""
    causes = ", ".join(f"{count} {cause}" for cause, count in decoded.causes.items())
    yield said(f"{decoded.output}: {plural(decoded.wrong, 'wrong element')} on all devices together: {causes}")
    if not decoded.elements:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("position", "device", "cause", "expected", "got"):
        table.add_column(name, overflow="fold")
    for element in examples(decoded, ELEMENTS):
        at = f"[{', '.join(map(str, element.at))}]"
        device = coordinate(case.mesh, element.device)
        table.add_row(*map(said, (at, device, element.cause, element.wanted, element.got)))
    yield table


def coverage_text(stages: Mapping[str, Counter[str]], ops: Mapping[str, Sequence[str]]) -> Group:
    """Which stages were executed, how they were judged, what was not understood; `ops`: dialects of each known op."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True)
    for name in ("executed", "right", "wrong", "not judged", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    unknown: Counter[tuple[str, str]] = Counter()
    for stage, told in stages.items():
        missed = {said.removeprefix(NOT_JUDGED): count for said, count in told.items() if said.startswith(NOT_JUDGED)}
        unknown.update({(stage, reason): count for reason, count in missed.items()})
        total, left = told.total(), sum(missed.values())
        row = (stage, total - left, told[RIGHT], told[WRONG], left, f"{100 * left / total:.2f} %")
        table.add_row(*(said(str(cell)) for cell in row))
    lines = [said(f"{count:6} x {stage}: {reason}") for (stage, reason), count in unknown.most_common()]
    per_dialect = Counter(dialect for names in ops.values() for dialect in names)
    known = ", ".join(f"{dialect} {count}" for dialect, count in per_dialect.most_common())
    return Group(table, *([said("not judged, and why:"), *lines] if lines else []), said(f"ops understood: {known}"))


def mismatch_table(case: Case, outcome: Outcome) -> Table:
    """Wrong elements per mesh coordinate: position, expected, got."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("output", "device", "wrong", "position", "expected", "got"):
        table.add_column(name, overflow="fold")
    for mismatch in outcome.mismatches:
        first = (mismatch.output, coordinate(case.mesh, mismatch.device), f"{mismatch.wrong}/{mismatch.total}")
        for sample in mismatch.samples or (("", "", ""),):
            table.add_row(*map(said, (*first, *sample)))
            first = ("", "", "")
    return table
