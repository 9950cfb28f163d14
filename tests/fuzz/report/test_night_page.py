# SPDX-License-Identifier: Apache-2.0
"""What a night leaves behind as files: a page that holds together without scripts, SARIF, JUnit, Markdown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from xml.etree import ElementTree

import pytest
from made_findings import HOSTILE, finding, ordinary, ugly
from made_nights import night, subject
from read_page import Page

from fuzz.evidence import Feature
from fuzz.report.chart import NIGHTS, chart
from fuzz.report.junit import junit_xml
from fuzz.report.night import Past, Standing, by_sharding
from fuzz.report.night_page import coverage_by_op, night_page
from fuzz.report.sarif import sarif
from fuzz.report.suites import night_suites
from fuzz.report.summary import ROWS, summary_markdown, title

UNEXPLAINED_LINKS = re.compile(r"""(?:href|src|url)\s*[=(]\s*["']?(?!#|issues/)([^"'\s>)]+)""")


def test_a_page_is_well_formed_and_asks_for_nothing_but_itself() -> None:
    text = night_page(night())
    shown = Page(text)
    assert not {tag for tag, _ in shown.tags} & {"link", "img", "iframe", "object", "image"}
    assert UNEXPLAINED_LINKS.findall(text) == []
    assert len(shown.all("script")) == 1
    assert [key for _, attributes in shown.tags for key in attributes if key.startswith("on")] == []


def test_only_our_own_script_may_run() -> None:
    """The policy names its hash: what a compiler says would not run even if it were not escaped."""
    policy = next(a for a in Page(night_page(night())).all("meta") if "http-equiv" in a)["content"] or ""
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/=]{44}'", policy)
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_what_a_compiler_says_never_becomes_markup() -> None:
    hostile = [subject(found, Standing.NEW, detail=HOSTILE) for found in (ugly()["hostile"], ordinary())]
    text = night_page(night(*hostile, environment=HOSTILE, ended=HOSTILE))
    assert text.count("<script") == 1
    assert "\x1b" not in text
    assert "<script>alert" in Page(text).text


def test_a_page_tells_what_happened_in_its_first_line() -> None:
    assert title(night()) == "2 new, 1 regressed, 2 known, 1 fixed, 1 not reduced"
    assert "2026-11-23: 2 new, 1 regressed" in Page(night_page(night())).text
    assert title(replace(night(), subjects=[])) == "nothing found"


@pytest.mark.parametrize(
    "expected",
    [
        "torch.flip",
        "each device reverses its own shard only",
        "was fixed on 2026-11-21",
        "first seen 2026-11-20",
        "raise SystemExit(1)",
        "proven, bug present",
        "module: not written, no module:",
        "element of another row: 14",
        "wrong after Fusing (fuse), on the way to shlo_compiler",
        "2048 passes 2049 fails",
        "as index_select WRONG",
        "payload: {kind: position}",
        "flip 42 cases, 3 failed",
        "Not exercised: scatter.",
        "1000 cases in 2:05, 8.0 per second; the time is up. Phases: campaign 2:10, verification 0:31.",
        "2026-11-12 912 9.1 0 0 0 4 0 no plugin",
        "FIXED 3 passes",
        "4 cases run before all others: 2 passed, 1 failed",
    ],
)
def test_a_page_has_all_there_is(expected: str) -> None:
    assert expected in _words()


@lru_cache(maxsize=1)
def _words() -> str:
    return Page(night_page(night())).text


def test_a_campaign_alone_has_no_history() -> None:
    text = Page(night_page(night(past=[], verified=[], replayed=[]))).text
    assert "History" not in text
    assert "Verification" not in text
    assert "first seen" not in text


def test_a_night_without_findings_says_so() -> None:
    assert "Nothing was found." in Page(night_page(replace(night(), subjects=[]))).text
    broken = replace(night(), subjects=[], environment="no plugin")
    assert "Nothing was found, for nothing could be run." in Page(night_page(broken)).text


def test_a_page_of_many_findings_stays_small_enough_to_open() -> None:
    many = [subject(finding(f"WRONG {number}"), Standing.KNOWN) for number in range(40)]
    assert len(night_page(night(*many))) < 800_000


def test_every_finding_can_be_linked_to() -> None:
    shown = Page(night_page(night()))
    ids = [attributes["id"] for _, attributes in shown.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {found.finding.id for found in night().subjects} <= set(ids)


# --- history and coverage -----------------------------------------------------------------------------------------


def past(number: int, **standings: int) -> Past:
    counts = {Standing(name): count for name, count in standings.items()}
    return Past(f"2026-11-{number:02}", 100, 10.0, {}, {}, "", counts)


def test_columns_stand_on_each_other_and_what_is_fixed_hangs_below() -> None:
    drawn = chart([past(1, known=2), past(2, new=1, known=3, fixed=2)])
    base = drawn.lines[-1]
    known, new, fixed = (next(b for b in drawn.bars if b.said == f"2026-11-02: {said}") for said in
                         ("3 known", "1 new", "2 fixed"))  # fmt: skip
    assert known.y + known.height == base
    assert new.y + new.height == known.y
    assert fixed.y == base
    assert new.height * 3 == known.height


@pytest.mark.parametrize("count", [1, 2, 400])
def test_a_chart_stays_in_its_frame(count: int) -> None:
    drawn = chart([past(number % 30 + 1, known=number, fixed=7 * number) for number in range(count)])
    assert all(bar.x >= 0 and bar.x + bar.width <= drawn.width for bar in drawn.bars)
    assert all(bar.y >= 0 and bar.y + bar.height <= drawn.height for bar in drawn.bars)
    assert len({bar.x for bar in drawn.bars}) <= NIGHTS


def test_coverage_is_a_table_per_op_that_says_what_was_not_run() -> None:
    found = {each.op: each for each in coverage_by_op(night().coverage)}
    assert found["flip"].dtypes == ("bf16", "f32")
    assert found["flip"].rows == (("split along its dim", ((12, 3), None)), ("whole", (None, (30, 0))))


def test_boundaries_are_summed() -> None:
    counted = {Feature("flip", "f32", "whole", 0): (3, 1), Feature("flip", "f32", "whole", 128): (2, 2)}
    assert by_sharding(counted) == {("flip", "f32", "whole"): (5, 3)}


# --- for machines -------------------------------------------------------------------------------------------------


def test_sarif_has_a_rule_and_a_result_per_bucket() -> None:
    log = json.loads(sarif(night()))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    for number, result in enumerate(run["results"]):
        assert result["ruleIndex"] == number
        assert rules[number]["id"] == result["ruleId"] == result["partialFingerprints"]["meshfuzzBucket/v1"]
        (location,) = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert uri == f"issues/{result['ruleId']}.yaml"
        assert {place["kind"] for place in location["logicalLocations"]} >= {"op", "stage"}
    states = [result["baselineState"] for result in run["results"]]
    assert states == ["new", "new", "new", "new", "unchanged", "unchanged", "absent"]
    assert {result["level"] for result in run["results"]} == {"error", "warning"}


def test_sarif_says_when_nothing_could_be_run() -> None:
    (invocation,) = json.loads(sarif(night(environment="no plugin")))["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False
    assert invocation["toolExecutionNotifications"][0]["message"]["text"] == "no plugin"


def test_only_news_fails_a_test_suite() -> None:
    root = ElementTree.fromstring(junit_xml(night_suites(night())).encode())
    failed = [case.get("name", "").split()[0] for case in root.iter("testcase") if case.find("failure") is not None]
    new = [s.finding.id for s in night().subjects if s.standing in (Standing.NEW, Standing.REGRESSED)]
    assert failed == [*new, "broken"]
    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    assert list(suites) == ["target", "findings", "corpus", "verification"]
    assert suites["corpus"].get("skipped") == "1"


def test_an_environment_that_failed_is_an_error_of_a_suite() -> None:
    root = ElementTree.fromstring(junit_xml(night_suites(night(environment=HOSTILE))).encode())
    assert root.get("errors") == "1"


# --- for a CI step ------------------------------------------------------------------------------------------------


def test_a_summary_has_a_table_of_what_is_new_first() -> None:
    text = summary_markdown(night())
    assert text.startswith("# meshfuzz 2026-11-23: 2 new, 1 regressed")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[:2] == ["## New findings", "## Regressions"]
    assert ordinary().id in text


def test_every_row_of_a_summary_has_the_columns_of_its_table() -> None:
    columns = 0
    for line in summary_markdown(night(environment=HOSTILE)).splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line))
        if not line.startswith("|"):
            columns = 0
            assert not cells or "environment" in line, line
        elif columns:
            assert cells == columns, line
        else:
            columns = cells


def test_markup_of_compilers_is_text_in_a_summary() -> None:
    text = summary_markdown(night())
    assert not re.search(r"(?<!\\)<", text)


def test_a_summary_is_far_smaller_than_a_step_may_write() -> None:
    many = [subject(finding(f"WRONG {number} " + "x" * 900), Standing.NEW) for number in range(3 * ROWS)]
    text = summary_markdown(night(*many))
    assert len(text.encode()) < 200_000
    assert f"And {2 * ROWS} more findings" in text
