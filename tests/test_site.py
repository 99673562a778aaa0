"""The documentation site: it builds without a warning, its links lead somewhere, and it fetches nothing from elsewhere."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest

import upreid
from upreid.cli import COMMANDS
from upreid.config.methods import METHODS
from upreid.config.options import known_flags
from upreid.config.recipe import shipped_recipes

ROOT = Path(__file__).parents[1]
needs_builder = pytest.mark.skipif(
    importlib.util.find_spec("zensical") is None, reason="needs zensical: pip install 'upreid[docs]'"
)


def build(program: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", program, out]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    done = build(ROOT / "docs" / "build_site.py", out)
    assert done.returncode == 0, done.stderr
    return out / "site"


class Page(HTMLParser):
    """What a page has: places that a link may lead to, links, and what a browser fetches by itself."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places, self.links, self.fetched = set[str](), list[str](), list[str]()
        self.without_words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("img", "script", "iframe", "source") and "src" in found:
            self.fetched.append(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "preload", "icon"):
            self.fetched.append(found["href"])
        if tag == "img" and not found.get("alt"):
            self.without_words.append(found.get("src", ""))


def targets(page: Path, links: list[str]) -> Iterator[tuple[str, Path, str]]:
    for link in links:
        parts = urlsplit(link)
        if not parts.scheme:
            yield link, (page.parent / unquote(parts.path)).resolve() if parts.path else page, unquote(parts.fragment)


@needs_builder
@pytest.mark.slow
def test_every_link_of_the_site_leads_to_a_place_that_is_there(site: Path) -> None:
    pages = {path.resolve(): Page(path) for path in site.glob("*.html") if path.name != "404.html"}
    assert len(pages) > 15
    dead = []
    for path, page in pages.items():
        for link, target, place in targets(path, [*page.links, *page.fetched]):
            is_there = target.exists() and (not place or target not in pages or place in pages[target].places)
            dead += [] if is_there else [f"{path.name}: {link}"]
    assert not dead


@needs_builder
@pytest.mark.slow
def test_a_reader_of_the_site_asks_nobody_else_for_anything_and_every_picture_has_words(site: Path) -> None:
    for path in site.glob("*.html"):
        page = Page(path)
        assert not [link for link in page.fetched if urlsplit(link).scheme], path.name
        assert not page.without_words, path.name


@needs_builder
@pytest.mark.slow
def test_every_page_can_be_reached_from_the_start(site: Path) -> None:
    start = site / "index.html"
    reached = {target.name for _, target, _ in targets(start, Page(start).links)}
    written = {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")} | {"contributing.html"}
    assert written <= reached


@needs_builder
@pytest.mark.slow
def test_the_site_has_every_command_option_recipe_and_public_name(site: Path) -> None:
    commands = (site / "commands.html").read_text(encoding="utf-8")
    places = Page(site / "commands.html").places
    assert {f"upreid-{name}" for name in COMMANDS} <= places
    options = {option.flag for entry in METHODS.values() for option in known_flags(entry.config).values()}
    assert not {flag for flag in options - {"--recipe"} if f">{flag}<" not in commands}
    assert set(shipped_recipes()) <= Page(site / "recipes.html").places
    names = (site / "python.html").read_text(encoding="utf-8")
    assert not [name for name in upreid.__all__ if not name.startswith("_") and f"upreid.{name}" not in names]
    assert "<!--" not in "".join(path.read_text() for path in (site.parent / "pages").glob("*.md"))


@needs_builder
@pytest.mark.slow
@pytest.mark.parametrize("line", ["[a page](no-such-page.md)", "[a place](sources.md#no-such-place)"])
def test_a_link_that_leads_nowhere_fails_the_build_and_is_named(line: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("README.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("src", "tests"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    with (tmp_path / "docs" / "search.md").open("a") as page:
        page.write(f"\n{line}\n")
    done = build(tmp_path / "docs" / "build_site.py", tmp_path / "out")
    assert done.returncode == 1
    assert "search.md" in done.stderr
    assert line in done.stderr


@pytest.mark.slow
def test_the_pictures_of_the_concepts_are_those_that_their_script_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    assert found
    assert found.loader
    figures = importlib.util.module_from_spec(found)
    found.loader.exec_module(figures)
    monkeypatch.setattr(figures, "HERE", tmp_path)
    figures.main()
    drawn = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    kept = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.svg")}
    assert drawn.keys() == kept.keys()
    for name, text in drawn.items():
        assert ElementTree.fromstring(text).findtext("{http://www.w3.org/2000/svg}title"), name
        assert without_pixels(text) == without_pixels(kept[name]), name
        assert text.count("data:image") > 2, name


def without_pixels(text: str) -> str:
    """Leave out the pictures in an SVG: versions of Pillow may compress them otherwise."""
    return re.sub(r"base64,[^\"]*", "", text)
