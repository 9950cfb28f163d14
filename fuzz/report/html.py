# SPDX-License-Identifier: Apache-2.0
"""Pages about findings: one each, and an index. Self-contained files, readable without scripts and without a network.

Everything that comes from cases and compilers is escaped by the templates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fuzz.case import CaseError, Mesh
from fuzz.document import printable
from fuzz.evidence import Boundary
from fuzz.facts import facts
from fuzz.finding import Finding
from fuzz.report.drawing import draw
from fuzz.report.picture import pictures
from fuzz.report.progress import clock
from fuzz.report.words import (
    confirmation,
    coordinate,
    examples,
    further,
    headline,
    ops,
    plural,
    quote_heading,
    quoted,
    reduction,
    source_lines,
)
from fuzz.settings import Budget, Settings
from fuzz.store import SKIPPED
from oracles.explanation import RIGHT_CELL, Decoded
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig

ELEMENTS = 16  # rows of the table of decoded elements
PARTS = 8  # parts whose values are listed
COLOURS = 8  # of the style sheet; further causes begin again, and are told apart by their letter


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of a finding beside its page, or why there is none."""

    name: str  # for people, for example torch script
    path: str = ""  # relative to the page; empty if it could not be written
    command: str = ""  # that runs it
    note: str = ""  # for example what its proof said
    problem: str = ""  # why it could not be written


@dataclass(frozen=True, slots=True)
class Campaign:
    """What the index says."""

    findings: Sequence[Finding]
    settings: Settings
    budget: Budget
    counts: Counter[str]  # cases per verdict


def finding_page(finding: Finding, target: TargetConfig, pieces: Sequence[Piece], versions: Mapping[str, str]) -> str:
    """The page of one finding, beside its pieces."""
    return render(
        "finding.html.j2",
        **told(finding, target),
        pieces=pieces,
        commands=[piece.command for piece in pieces if piece.command],
        target=str(target),
        versions=_listed(versions),
    )


def told(finding: Finding, target: TargetConfig) -> dict[str, Any]:
    """What `told.html.j2` says of a finding."""
    case, explanation = finding.case, finding.explanation
    try:
        source = "\n".join(source_lines(case))
        # Words for Markdown, which marks names with backticks.
        known = facts(case, finding.outcome, target, finding.localisation, explanation)
        words = {"observed": known.seen_by, "rounding": known.exactness, "ruled out": known.ruled_out}
        grounds = {name: text.replace("`", "") for name, text in words.items()}
    except CaseError as error:  # a case of another version, with an op that this one does not have
        source, grounds = f"# {error}", {}
    return {
        "finding": finding,
        "case": case,
        "headline": headline(finding),
        "further": further(finding),
        "confirmation": confirmation(explanation),
        "grounds": grounds,
        "outputs": [] if explanation is None else [_output(decoded, case.mesh) for decoded in explanation.decoded],
        "values": PARTS,
        "quote": quoted(finding),
        "quote_is": quote_heading(finding),
        "reduction": reduction(finding),
        "source": source,
    }


def index_page(campaign: Campaign, pieces: Mapping[str, Sequence[Piece]], versions: Mapping[str, str]) -> str:
    """The page that lists all findings. `pieces`: per finding id."""
    rows = [
        {
            "finding": finding,
            "ops": ops(finding.case),
            "headline": headline(finding),
            "further": further(finding),
            "confirmation": confirmation(finding.explanation),
            "pieces": pieces[finding.id],
        }
        for finding in campaign.findings
    ]
    settings, counts = campaign.settings, campaign.counts
    space = settings.space
    made = {
        "target": str(settings.target),
        "seed": str(settings.seed),
        "meshes": ", ".join(dict.fromkeys(map(str, space.meshes))),
        "ops": ", ".join(space.ops) or "all",
        "dtypes": ", ".join(space.dtypes),
        "limits": _limits(campaign.budget),
        "cases": ", ".join(f"{counts[name]} {name}" for name in (*map(str, Verdict), SKIPPED) if counts[name]),
        "versions": f"{_listed(versions)}, where this page was written",
    }
    verdicts = Counter(str(finding.outcome.verdict) for finding in campaign.findings).most_common()
    return render("index.html.j2", rows=rows, made=made, verdicts=verdicts)


def _limits(budget: Budget) -> str:
    limits = (
        "" if budget.seconds is None else f"{budget.seconds:g} s",
        "" if budget.cases is None else plural(budget.cases, "case"),
        "" if budget.findings is None else plural(budget.findings, "new finding"),
    )
    return ", ".join(filter(None, limits)) or "none"


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _output(decoded: Decoded, mesh: Mesh) -> dict[str, object]:
    seen = pictures(decoded, mesh)
    return {
        "decoded": decoded,
        "causes": [
            {"letter": chr(ord("a") + number), "name": name, "count": count}
            for number, (name, count) in enumerate(decoded.causes.items())
        ],
        "pictures": [
            {
                "title": picture.title,
                "panels": [(panel, draw(panel)) for panel in picture.panels],
                "notes": picture.notes,
            }
            for picture in seen.pictures
        ],
        "notes": seen.notes,
        "elements": examples(decoded, ELEMENTS),
    }


# --- templates --------------------------------------------------------------------------------------------------------


def render(template: str, **values: object) -> str:
    """A page from one of our templates; all values are escaped."""
    return _templates().get_template(template).render(values)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
        finalize=_printable,
    )
    environment.filters |= {
        "cause": _colour_class,
        "clock": clock,
        "coordinate": lambda device, mesh: coordinate(mesh, device),
        "plural": plural,
        "points": _points,
        "position": lambda at: f"[{', '.join(map(str, at))}]",
        "px": lambda number: f"{number:.1f}".removesuffix(".0"),
        "tone": _tone,
    }
    return environment


def _printable(value: object) -> object:
    """Objects that are written as they say themselves say what strangers said; what is escaped already does not."""
    return value if isinstance(value, Markup | int | float) else printable(str(value))


def _points(boundary: Boundary) -> list[tuple[int, str, str]]:
    """What was tried, by value: the value, what came of it, and a class of the style sheet."""
    judged = [(value, *(("fails", "fail") if fails else ("passes", "pass"))) for value, fails in boundary.samples]
    return sorted([*judged, *((value, "neither", "") for value in boundary.neither)])


def _colour_class(letter: str) -> str:
    """Of the style sheet."""
    return "right" if letter == RIGHT_CELL else f"c{(ord(letter) - ord('a')) % COLOURS}"


def _tone(verdict: Verdict) -> str:
    if verdict is Verdict.PASS:
        return "pass"
    return "fail" if verdict.failing else ""
