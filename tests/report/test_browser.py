"""A report in a real browser: on a phone and on a desk, in the light and in the dark."""

from pathlib import Path
from typing import Any

import pytest

from .conftest import open_page


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_a_page_opens_without_a_complaint_and_fits(browser: Any, page: Path, width: int, scheme: str) -> None:
    tab = open_page(browser, page, width, scheme)
    assert tab.evaluate("[...document.images].length") > 100
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
