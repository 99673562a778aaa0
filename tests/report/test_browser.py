"""A report in a real browser: on a phone and on a desk, in the light and in the dark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 24, 29)"}


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_a_page_opens_without_a_complaint_and_fits(browser: Any, page: Path, width: int, scheme: str) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == PAPER[scheme]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("[...document.images].length") > 100
    assert tab.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    charts = tab.evaluate("[...document.querySelectorAll('.chart')].map((one) => one.getBoundingClientRect().width)")
    assert min(charts) > 250
    assert said == []
    assert [place for place in asked if not place.startswith("data:")] == [page.as_uri()]
    tab.close()


@pytest.mark.slow
def test_tables_sort_by_a_click_and_by_a_key(browser: Any, page: Path) -> None:
    tab = browser.new_page()
    tab.goto(page.as_uri())
    table = tab.locator("#runs table")
    names = table.locator("tbody th")
    steps = table.locator("thead th", has_text="steps")
    steps.get_by_role("button").click()
    assert (names.all_inner_texts(), steps.get_attribute("aria-sort")) == (["b", "a"], "ascending")
    steps.get_by_role("button").press("Enter")
    assert (names.all_inner_texts(), steps.get_attribute("aria-sort")) == (["a", "b"], "descending")
    table.locator("thead th").first.get_by_role("button").click()
    assert names.all_inner_texts() == ["a", "b"]
    assert steps.get_attribute("aria-sort") is None
    tab.close()
