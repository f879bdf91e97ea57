"""Test the pages of a year of nights in a headless Chromium: `make test-pages`."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.explore import page as data_page
from raypipe.explore.profile import profile
from raypipe.report import report
from tests.pages import year

CHROMIUM = os.environ.get("RAYPIPE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
# axe.min.js of the npm package axe-core.
AXE = Path(os.environ.get("RAYPIPE_AXE", ".pages/package/axe.min.js"))
OUT = Path(os.environ.get("RAYPIPE_PAGES", ".pages"))
MOST_BYTES, MOST_SECONDS = 5_000_000, 5.0
AT = datetime(2026, 2, 1, 6, tzinfo=UTC)

pytestmark = [
    pytest.mark.pages,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium; name it by RAYPIPE_CHROMIUM"),
]


@dataclass(frozen=True)
class Written:
    """The folder of a report, its pages, its bytes, and its seconds: of wall time, and of this process's own work."""

    folder: Path
    pages: tuple[str, ...]
    bytes: int
    seconds: float
    busy: float


@pytest.fixture(scope="module")
def written(endpoint: Endpoint) -> Iterator[Written]:
    """Write the report of a year, and the profile of the whole database."""
    place = replace(endpoint, database=f"raypipe_test_{uuid.uuid4().hex[:12]}")
    with Client(endpoint) as admin:
        admin.run(f"CREATE DATABASE {place.database}")
        try:
            with Client(place) as client:
                year.fill(client)
                folder, started, busy = OUT / "report", time.perf_counter(), time.process_time()
                made = report.write(client, year.pipelines(), folder, at=AT)
                seconds, busy = time.perf_counter() - started, time.process_time() - busy
                explored = data_page.render(profile(client, taken_at=AT))
                (folder / "explore.html").write_text(explored, encoding="utf-8")
            yield Written(folder, (*made.pages, "explore.html"), made.bytes, seconds, busy)
        finally:
            admin.run(f"DROP DATABASE {place.database} SYNC")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start the browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Page:
    """A page of the browser, and whatever its console said or the network was asked for."""

    def __init__(self, browser: Any, width: int = 1280, scheme: str = "light", **options: Any) -> None:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        self.page: Any = context.new_page()
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, written: Written, name: str) -> Any:
        self.page.goto((written.folder / name).resolve().as_uri())
        return self.page


PAGES = ("index.html", "churn.html", "segmentation.html", "recommendation.html", "experiments.html", "data.html")


def test_a_year_of_nights_is_small_and_soon_written(written: Written) -> None:
    print(f"\n{written.seconds:.2f} s, {written.busy:.2f} s busy, {written.bytes:,} bytes, {len(written.pages)} pages")
    assert written.bytes < MOST_BYTES
    # The wall time of a busy machine says nothing.
    assert written.busy < MOST_SECONDS


@pytest.mark.parametrize("name", [*PAGES, "explore.html"])
@pytest.mark.parametrize(
    ("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark"), (1600, "light")]
)
def test_every_page_fits_and_is_quiet(written: Written, browser: Any, name: str, width: int, scheme: str) -> None:
    opened = Page(browser, width, scheme)
    page = opened.open(written, name)
    assert opened.messages == []
    assert len(opened.requests) == 1
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    shots = OUT / "screenshots"
    page.screenshot(path=shots / f"{name.removesuffix('.html')}-{width}-{scheme}.png", full_page=True)


@pytest.mark.parametrize("name", [*PAGES, "explore.html"])
def test_every_plot_draws_inside_its_frame(written: Written, browser: Any, name: str) -> None:
    page = Page(browser).open(written, name)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    wrong = page.evaluate(
        """[...document.querySelectorAll('svg')].filter(svg => {
            const box = svg.getBoundingClientRect();
            const marks = svg.querySelectorAll('rect, path, circle, line');
            return !marks.length || !box.width || !box.height || [...marks].some(mark => {
                const own = mark.getBoundingClientRect();
                return own.left < box.left - 2 || own.right > box.right + 2 || own.bottom > box.bottom + 2;
            });
        }).map(svg => svg.outerHTML.slice(0, 200))"""
    )
    assert wrong == []


@pytest.mark.parametrize("name", [*PAGES, "explore.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_check_passes(written: Written, browser: Any, name: str, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip(f"no {AXE}; `make test-pages` fetches axe-core")
    # The check is a script of its own, which the page's policy would refuse.
    page = Page(browser, 1280, scheme, bypass_csp=True).open(written, name)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert [(item["id"], item["nodes"][0]["html"][:200]) for item in found["violations"]] == []
    assert len(found["passes"]) > 10


def test_the_policy_refuses_a_foreign_script(written: Written, browser: Any) -> None:
    opened = Page(browser)
    page = opened.open(written, "index.html")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.evil = 1'}))")
    assert page.evaluate("window.evil") is None
    assert any("Content Security Policy" in message for message in opened.messages)


def test_a_table_is_sorted_by_keyboard(written: Written, browser: Any) -> None:
    page = Page(browser).open(written, "index.html")
    rows = page.locator("#last-night tbody tr th")
    before = rows.all_inner_texts()
    button = page.locator("#last-night thead button", has_text="rows")
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("#last-night th[aria-sort=ascending]").count() == 1
    counts = [text.replace(",", "") for text in page.locator("#last-night tbody tr td:nth-child(3)").all_inner_texts()]
    known = [int(text) for text in counts if text != "–"]
    assert known == sorted(known)
    # An unknown number is last, whichever the order.
    assert counts[-1] == "–"
    page.keyboard.press("Space")
    assert page.locator("#last-night th[aria-sort=descending]").count() == 1
    assert rows.all_inner_texts() != before
    assert page.locator("#last-night tbody tr td:nth-child(3)").all_inner_texts()[-1] == "–"


def test_changes_of_a_day_are_found_by_search(written: Written, browser: Any) -> None:
    page = Page(browser).open(written, "index.html")
    search = page.get_by_label("Search: What changed, the newest first")
    search.focus()
    page.keyboard.type("14 jan 2026")
    shown = page.locator("#changes tbody tr:visible").all_inner_texts()
    assert shown
    assert all(row.startswith("14 Jan 2026") for row in shown)
    assert any("conversion" in row and "fewer" in row for row in shown)
    assert f"{len(shown)} of" in page.locator("#changes [role=status]").first.inner_text()


def test_a_link_to_a_table_opens_its_section(written: Written, browser: Any) -> None:
    page = Page(browser).open(written, "explore.html")
    page.locator("#tables tbody a", has_text="brands").first.click()
    opened = page.locator("details.table[open] > summary")
    assert "brands" in " ".join(opened.all_inner_texts())


def test_a_page_without_its_script_is_whole(written: Written, browser: Any) -> None:
    page = Page(browser, java_script_enabled=False).open(written, "churn.html")
    assert page.locator("table").count() > 5
    assert page.locator("th button").count() == 0


def test_names_with_markup_stay_text(written: Written, browser: Any) -> None:
    page = Page(browser).open(written, "churn.html")
    assert page.locator("[onclick]").count() == 0
    assert year.EVIL in page.locator("main").inner_text()
