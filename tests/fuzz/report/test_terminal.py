# SPDX-License-Identifier: Apache-2.0
"""What people read on a terminal, within 80 columns."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from made_findings import finding, ordinary, ugly
from rich.console import Console, RenderableType

from fuzz.finding import Finding, Script
from fuzz.report.terminal import ELEMENTS, finding_text, findings_table, print_to

EVERY = {"ordinary": ordinary(), **ugly()}
FOLDER = Path("campaign")


def printed(text: RenderableType) -> str:
    stream = io.StringIO()
    print_to(Console(file=stream, width=80), text)
    return stream.getvalue()


def shown(subject: Finding) -> str:
    return printed(finding_text(subject, FOLDER))


@pytest.mark.parametrize("name", EVERY)
def test_a_finding_keeps_within_80_columns(name: str) -> None:
    assert max(map(len, shown(EVERY[name]).splitlines())) <= 80


def test_a_finding_says_what_happened_and_how_well_that_is_known() -> None:
    text = shown(ordinary())
    assert all(str(boundary) in " ".join(text.split()) for boundary in ordinary().boundaries)
    for expected in (
        "explained   mesh rows 1-3 used mesh row 0's offset",
        "confirmed   predicted the outputs of 3 fresh inputs",
        "as index_select WRONG (the same elements)",
        '- %1 = "stablehlo.reverse"(%0)',
        "+ %1 = stablehlo.reverse %0",
    ):
        assert expected in text, expected


def test_a_script_that_needs_chips_is_said_once_not_to_be_proven() -> None:
    unproven = finding(scripts=(Script("torch", "repros/made_torch.py", False, "not proven: needs chips"),))
    assert "made_torch.py: not proven, needs chips" in shown(unproven)


def test_an_unexplained_finding_says_so_and_confirms_nothing() -> None:
    text = shown(EVERY["unexplained"])
    assert "explained  unexplained: the first wrong element is x0[3, 1]" in text
    assert "predicted" not in text


def test_decoded_elements_are_counted_by_cause_and_some_of_each_shown() -> None:
    text = shown(ordinary())
    lines = text.splitlines()
    told = "v0: 18 wrong elements on all devices together: 4 never written, 14 element of another row"
    assert told in " ".join(text.split())
    rows = [line.split("  ") for line in lines if "x0[" in line and "x=1" in line]
    assert len(rows) == ELEMENTS
    assert any("never written" in line and "x=1 y=0" in line for line in lines)
    assert any("element of another row" in line and "x=1 y=1" in line for line in lines)


def test_a_compilers_colours_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in shown(EVERY["hostile"])


def test_the_list_says_below_what_happened() -> None:
    text = printed(findings_table([ordinary(), EVERY["crash"]]))
    assert max(map(len, text.splitlines())) <= 80
    assert f"{ordinary().id}  mesh rows 1-3 used mesh row 0's offset" in text
    assert text.count(EVERY["crash"].id) == 1


def test_the_list_of_findings_without_explanations_is_the_table_alone() -> None:
    text = printed(findings_table([finding("unknown", None)]))
    assert text.count(finding("unknown", None).id) == 1
