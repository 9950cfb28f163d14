# SPDX-License-Identifier: Apache-2.0
"""The pages: well formed, self-contained, complete, and deaf to what a compiler puts into its messages."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from made_findings import HOSTILE, MESH, finding, ordinary, ugly
from read_page import Page

from fuzz.evidence import Boundary
from fuzz.finding import Finding
from fuzz.report.html import Campaign, Piece, finding_page, index_page
from fuzz.settings import Budget, Settings
from fuzz.strategies.space import Space
from oracles.targets.config import TargetConfig

EVERY = {"ordinary": ordinary(), **ugly()}
TARGET = TargetConfig("tt", MESH)
VERSIONS = {"torch": "2.9.0", "jax-tt-plugin": "0.1.3"}
PIECES = (
    Piece("torch script", "made_torch.py", "python made_torch.py", "proven, bug present: got 5"),
    Piece("StableHLO script", problem=f"no module: {HOSTILE}"),
)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def page(subject: Finding) -> Page:
    return Page(finding_page(subject, TARGET, PIECES, VERSIONS))


def index(*findings: Finding) -> str:
    settings = Settings(TARGET, Space((MESH,)), seed=3)
    campaign = Campaign(findings, settings, Budget(seconds=90), Counter(PASS=5, WRONG=4))
    return index_page(campaign, {f.id: PIECES for f in findings}, VERSIONS)


@pytest.mark.parametrize("name", EVERY)
def test_a_page_is_well_formed_and_needs_nothing_but_itself(name: str) -> None:
    shown = page(EVERY[name])
    tags = {tag for tag, _ in shown.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "image"}
    addresses = [attributes.get("href") for attributes in shown.all("a")]
    assert set(addresses) == {"index.html", "made_torch.py"}
    handlers = [key for _, attributes in shown.tags for key in attributes if key.startswith("on") or key == "src"]
    assert handlers == []


def test_what_a_compiler_says_never_becomes_markup() -> None:
    text = finding_page(EVERY["hostile"], TARGET, PIECES, VERSIONS)
    assert "<script" not in text
    assert "\x1b" not in text
    assert "<script>alert" in Page(text).text  # shown as what it is
    assert "<script" not in index(EVERY["hostile"])


def test_a_page_tells_everything_that_is_known() -> None:
    text = page(ordinary()).text
    for expected in (
        "torch.flip",
        "each device reverses its own shard only",
        "explanation predicted the outputs of 3 fresh inputs",
        "compared exactly",
        "shlo right shlo_compiler wrong ttir not judged: op ttir.rope",
        "shlo -> shlo_compiler",
        "wrong after Fusing (fuse), on the way to shlo_compiler",
        '- %1 = "stablehlo.reverse"(%0)',
        "+ %1 = stablehlo.reverse %0",
        "never written: 4",
        "element of another row: 14",
        "[4, 3] x=1 y=0 never written x0[4, 3] x0[0, 0]",
        "v0 x=1 y=1 2/4 (1, 0) 3 2",
        *map(str, ordinary().boundaries),
        "2048 passes 2049 fails",
        "as index_select WRONG",
        "on torchxla: no lowering for aten::flip of a bool",
        "v0 = x0.flip((0,)) return v0 sharded [{x}, {}]",
        "payload: {kind: position}",
        "proven, bug present: got 5",
        "StableHLO script not written no module:",
        "python made_torch.py",
        "jax-tt-plugin 0.1.3",
    ):
        assert expected in text, expected


def test_colour_is_not_the_only_carrier_of_a_cause() -> None:
    text = finding_page(EVERY["eleven causes"], TARGET, PIECES, VERSIONS)
    for letter in "abcdefghijk":
        assert f">{letter * 3}</text>" in text  # three cells of each cause
        assert f'">{letter}</span>cause number' in text


def test_the_mesh_is_drawn_over_the_output() -> None:
    shown = page(ordinary())
    assert len([a for a in shown.all("rect") if a["class"] == "frame"]) == 4
    for coordinate in ("x=0 y=0", "x=0 y=1", "x=1 y=0", "x=1 y=1"):
        assert coordinate in shown.words


@pytest.mark.parametrize("name", ["no explanation", "unexplained", "crash", "hostile"])
def test_a_finding_without_decoded_elements_has_no_picture(name: str) -> None:
    shown = page(EVERY[name])
    assert shown.all("svg") == []
    assert "What the wrong elements are" not in shown.text


def test_a_value_that_neither_passes_nor_fails_is_shown_as_such() -> None:
    boundary = Boundary("dim 0 of x0", ((1, False), (3, True)), (2,))
    assert "1 passes 2 neither 3 fails" in page(finding(boundaries=(boundary,))).text


def test_a_model_that_does_not_exist_predicts_nothing() -> None:
    assert "predicted" not in page(EVERY["unexplained"]).text


def test_the_size_of_a_page_is_bounded_however_many_elements_are_wrong() -> None:
    sizes = {name: len(finding_page(subject, TARGET, PIECES, VERSIONS)) for name, subject in EVERY.items()}
    assert max(sizes.values()) < 250_000, sizes


def test_the_index_lists_every_finding_with_what_narrows_the_blame() -> None:
    shown = Page(index(ordinary(), EVERY["crash"]))
    addresses = [attributes["href"] for attributes in shown.all("a")]
    assert f"{ordinary().id}.html" in addresses
    for expected in (
        "2 findings on tt --mock 2x2",
        "crashes the compiler: signal SIGSEGV",
        str(ordinary().boundaries[0]),
        "unsharded PASS",
        "not written: StableHLO script",
        "seed 3",
        "limits 90 s",
        "cases 5 PASS, 4 WRONG",
        "torch 2.9.0",
    ):
        assert expected in shown.text, expected


def test_the_index_of_no_findings_says_so() -> None:
    assert "Nothing was found." in Page(index()).text


def test_a_replica_that_is_right_is_told_from_the_one_that_is_not() -> None:
    text = page(EVERY["replicas that disagree"]).text
    assert "The copy at x=0,1 y=0 Every element is right." in text


def test_a_new_finding_says_that_it_is_not_reduced() -> None:
    assert "not done" in page(replace(finding(), state=type(finding().state).NEW)).text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to render with")
@pytest.mark.parametrize("name", ["ordinary", "32 devices in a row", "eleven causes", "hostile"])
def test_a_phone_shows_a_page_without_scrolling_sideways(name: str, tmp_path: Path) -> None:
    """What is wider than the screen scrolls within itself."""
    path, seen = tmp_path / "page.html", tmp_path / "seen.html"
    path.write_text(finding_page(EVERY[name], TARGET, PIECES, VERSIONS), encoding="utf-8")
    # A frame as wide as a phone's screen: browsers without a window have a smallest width.
    script = "let page = frame.contentDocument.documentElement; document.title = page.scrollWidth - page.clientWidth"
    seen.write_text(f'<iframe id="frame" src="page.html" width="360" height="800" onload="{script}"></iframe>')
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom")
    done = subprocess.run(
        [str(BROWSER), *options, f"--user-data-dir={tmp_path / 'profile'}", seen.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "<title>" not in done.stdout:
        pytest.skip(f"the browser does not start here: {done.stderr.strip()[-200:]}")
    assert "<title>0</title>" in done.stdout
