# SPDX-License-Identifier: Apache-2.0
"""The page of a night in a real browser, opened as a file and without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from made_findings import ordinary
from made_nights import SCRIPT, night, subjects

from fuzz.report.night import Standing
from fuzz.report.night_page import night_page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]


@dataclass
class Opened:
    """A page in a browser, and what it did that it must not."""

    page: playwright.Page
    address: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def shown(self) -> list[str]:
        """Ids of the findings that are to be seen."""
        return [card.get_attribute("id") or "" for card in self.page.locator(".card:visible").all()]


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(night_page(night()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(browser: playwright.Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The page as it opens; its test fails if it asks for anything, or complains."""
    context = browser.new_context(offline=True, **getattr(request, "param", {}))
    found = Opened(context.new_page(), address)
    found.page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("request", lambda asked: found.requests.append(asked.url))
    found.page.goto(address)
    yield found
    assert found.complaints == []
    assert {url.partition("#")[0] for url in found.requests} - {"about:blank"} == {address}
    context.close()


def test_all_findings_are_there_and_open_by_keyboard(opened: Opened) -> None:
    assert len(opened.shown()) == len(subjects())
    first = opened.page.locator(".card").first
    first.locator("> summary").focus()
    opened.page.keyboard.press("Enter")
    assert first.get_attribute("open") is not None
    assert first.locator("svg").is_visible()
    assert first.locator("text=never written").first.is_visible()


def test_a_state_and_a_verdict_filter_together(opened: Opened) -> None:
    opened.page.check("input[value=new]")
    opened.page.check("input[value=WRONG]")
    assert opened.shown() == [ordinary().id]
    assert opened.page.evaluate("location.hash") == "#state=new&verdict=WRONG"
    assert opened.page.inner_text("#shown") == "1 of 7 shown"
    opened.page.click("button[type=reset]")
    opened.page.wait_for_function("location.hash === ''")
    assert len(opened.shown()) == len(subjects())


def test_an_op_a_stage_and_a_text_filter_too(opened: Opened) -> None:
    neg = next(s.finding.id for s in subjects() if s.finding.case.nodes[0].op == "neg")
    opened.page.select_option("select[name=op]", "neg")
    assert opened.shown() == [neg]
    opened.page.select_option("select[name=op]", "")
    opened.page.select_option("select[name=stage]", "ttir")
    assert neg in opened.shown()
    opened.page.fill("input[name=text]", "LEGALIZE scatter")
    assert opened.shown() == [neg]
    opened.page.fill("input[name=text]", "nothing is like this")
    assert opened.shown() == []
    assert opened.page.is_visible("#none")


def test_an_address_brings_its_filters_back(opened: Opened) -> None:
    opened.page.goto("about:blank")
    opened.page.goto(f"{opened.address}#state=known%2Cfixed&text=flip")
    known = [s.finding.id for s in subjects() if s.standing in (Standing.KNOWN, Standing.FIXED)]
    assert opened.shown() == known[1:]  # the first is about neg
    assert opened.page.is_checked("input[value=known]")
    assert opened.page.input_value("input[name=text]") == "flip"


def test_a_tile_filters_and_a_link_to_a_finding_opens_it(opened: Opened) -> None:
    opened.page.click(".tiles a.regressed")
    regressed = [s.finding.id for s in subjects() if s.standing is Standing.REGRESSED]
    opened.page.wait_for_function("document.querySelectorAll('.card:not([hidden])').length === 1")
    assert opened.shown() == regressed
    opened.page.evaluate(f"location.hash = '{ordinary().id}'")
    opened.page.wait_for_selector(f"[id='{ordinary().id}'][open]")
    assert len(opened.shown()) == len(subjects())


@pytest.mark.parametrize("opened", [{"permissions": ["clipboard-read", "clipboard-write"]}], indirect=True)
def test_a_script_is_copied_as_it_is(opened: Opened) -> None:
    card = opened.page.locator(".card").first
    card.locator("> summary").click()
    text = card.locator(".text", has_text="torch script")
    text.locator("summary").click()
    text.locator("button").click()
    opened.page.wait_for_function("[...document.querySelectorAll('button')].some((b) => b.textContent === 'Copied')")
    assert opened.page.evaluate("navigator.clipboard.readText()") == SCRIPT


def test_a_browser_that_refuses_the_clipboard_copies_too(opened: Opened) -> None:
    opened.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    opened.page.evaluate("() => { document.addEventListener('copy', () => { window.taken = true; }); }")
    card = opened.page.locator(".card").first
    card.locator("> summary").click()
    card.locator(".text", has_text="torch script").locator("summary").click()
    card.locator(".text", has_text="torch script").locator("button").click()
    opened.page.wait_for_function("window.taken")


@pytest.mark.parametrize("opened", [{"viewport": {"width": 360, "height": 800}}], indirect=True)
def test_a_phone_shows_it_without_scrolling_sideways(opened: Opened) -> None:
    widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert opened.page.evaluate(widths) == [360, 360]
    opened.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert opened.page.evaluate(widths) == [360, 360]


@pytest.mark.parametrize("opened", [{"color_scheme": "dark"}, {"color_scheme": "light"}], indirect=True)
def test_every_text_stands_out_from_its_ground(opened: Opened) -> None:
    """Contrast of at least 4.5, as the accessibility guidelines (WCAG 2.1, 1.4.3) want it."""
    opened.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    poor = opened.page.evaluate(
        """() => {
          const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
          const light = (rgb) => {
            const [r, g, b] = rgb.map((c) => c / 255).map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b;
          };
          const ground = (node) => {
            for (let at = node; at; at = at.parentElement) {
              const [r, g, b, a = 1] = numbers(getComputedStyle(at).backgroundColor);
              if (a) return [r, g, b];
            }
            return numbers(getComputedStyle(document.documentElement).backgroundColor).slice(0, 3);
          };
          const poor = [];
          const texts = "h1, h2, h4, p, .head, .meta, .tag, .chip, td, th, a, label, dt, dd, .quiet, button, summary";
          for (const node of document.querySelectorAll(texts)) {
            if (!node.innerText || !node.innerText.trim()) continue;
            const one = light(numbers(getComputedStyle(node).color).slice(0, 3)), other = light(ground(node));
            const contrast = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
            if (contrast < 4.5) poor.push(`${contrast.toFixed(2)} ${node.className} ${node.innerText.slice(0, 30)}`);
          }
          return poor;
        }"""
    )
    assert poor == []


@pytest.mark.parametrize("opened", [{"java_script_enabled": False}], indirect=True)
def test_it_reads_without_scripts(opened: Opened) -> None:
    assert len(opened.shown()) == len(subjects())
    assert not opened.page.is_visible("#filters")
    assert not opened.page.locator("button:visible").all()
    opened.page.locator(".card > summary").first.click()
    assert opened.page.locator(".card svg").first.is_visible()
