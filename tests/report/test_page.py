"""A report's page as a file: what it holds, that it stands alone, and that it can be read in every way."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import pytest

from upreid.cli import main

from .conftest import report

TEMPLATES = Path(__file__).parents[2] / "src" / "upreid" / "templates"
VOID = {"script", "style"}


def parsed(page: Path) -> Element:
    """Parse a page; a mistake in its markup is an error."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(page.read_text(encoding="utf-8"))


def words(element: Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def test_a_page_holds_every_term_the_results_and_what_was_found(page: Path) -> None:
    tree = parsed(page)
    panels = {words(one) for one in tree.iter("strong")}
    assert {"instance contrast", "global consistency", "intrinsic contrast", "identity loss", "triplet loss"} <= panels
    assert {"learning rate", "images per second", "mAP (%)", "a: distances", "b: distances"} <= panels
    headings = [words(one) for level in ("h2", "h3") for one in tree.iter(level)]
    assert {"Runs", "Results", "Training", "The worst queries", "The best queries", "Settings that differ"} <= set(
        headings
    )
    assert page.stat().st_size < 5_000_000


def test_results_are_those_of_the_run_with_their_protocol(runs: Path, page: Path) -> None:
    result = json.loads((runs / "b" / "retrieval.json").read_text())
    section = next(one for one in parsed(page).iter("section") if one.get("id") == "results")
    row = next(one for one in section.iter("tbody")).find("tr")
    assert row is not None
    assert [words(cell) for cell in row][:3] == ["b", f"{result['mAP']:.1f}", f"{result['mAP_trapezoid']:.1f}"]
    assert json.loads(words(next(section.iter("pre")))) == result["protocol"]


def test_a_page_stands_alone_and_can_be_read_without_seeing(page: Path) -> None:
    tree = parsed(page)
    ids = [one.get("id") for one in tree.iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    for one in tree.iter():
        for name in ("src", "href", "{http://www.w3.org/1999/xlink}href"):
            place = one.get(name, "#runs")
            assert place.startswith("data:image/") or place.removeprefix("#") in ids
    assert "url(" not in page.read_text()
    assert "@import" not in page.read_text()
    pictures = list(tree.iter("img"))
    assert len(pictures) > 100
    assert all(one.get("alt") for one in pictures)
    drawings = [one for one in tree.iter() if str(one.tag).endswith("svg")]
    assert all(
        one.get("aria-hidden") == "true" or (one.get("role") == "img" and one.get("aria-label")) for one in drawings
    )
    for table in tree.iter("table"):
        assert table.find("caption") is not None
        width = {len(list(row)) for row in table.iter("tr")}
        assert len(width) == 1
        assert all(head.get("scope") in ("col", "row") for head in table.iter("th"))


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_contrast_in_the_light_and_in_the_dark(scheme: int) -> None:
    style = (TEMPLATES / "page.html").read_text()
    blocks = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    colours = blocks[0] | blocks[scheme]
    for name in ("ink", "soft", "good", "bad", "accent"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    assert contrast(colours["ink"], colours["block"]) >= 4.5
    for name in ("good", "bad"):
        assert contrast(colours["on-mark"], colours[name]) >= 4.5, name
    for name in (f"s{number}" for number in range(6)):
        assert contrast(colours[name], colours["paper"]) >= 3, name


def test_lines_of_two_runs_differ_without_colour() -> None:
    style = (TEMPLATES / "page.html").read_text()
    dashes = [re.search(rf"\.s{number} \{{ stroke: [^}}]*?(dasharray: [^;}}]*)?;? \}}", style) for number in range(6)]
    assert len({found[1] if found else "" for found in dashes}) == 6


SORTED = """
const cells = [["a", "10.5"], ["b", "-"], ["c", "9"], ["d", "1,200"]];
const rows = cells.map((row) => ({cells: row.map((text) => ({textContent: text}))}));
const body = {rows, append: (...sorted) => { body.rows = sorted; }};
const order = (place, down) => {
  sortBy({tBodies: [body]}, place, down);
  return body.rows.map((row) => row.cells[0].textContent).join("");
};
console.log(order(1, false), order(1, true), order(0, true));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="this machine has no node to run the page's script with")
def test_the_script_sorts_numbers_as_numbers_and_gaps_last() -> None:
    script = re.sub(r"\{#.*?#\}|</?script>", "", (TEMPLATES / "sort.html").read_text(), flags=re.DOTALL)
    functions = script[: script.index("for (const table of document")]
    done = subprocess.run(["node", "-e", functions + SORTED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "cadb dacb dcba"


@pytest.mark.slow
def test_pictures_that_are_gone_are_remarked_and_the_rest_is_shown(
    runs: Path, corpus: Path, tmp_path: Path, capsys
) -> None:
    moved = (corpus / "market1501").rename(tmp_path / "elsewhere")
    try:
        assert report(tmp_path / "report.html", runs / "b") == 0
        assert "b: no pictures of market1501, because" in words(parsed(tmp_path / "report.html"))
        assert "b: no pictures of market1501, because" in capsys.readouterr().err
        again = ["--data.name", "market1501", "--data.root", moved]
        assert report(tmp_path / "report.html", runs / "b", *again) == 0  # a page of ours is written over
        assert "no pictures" not in words(parsed(tmp_path / "report.html"))
    finally:
        moved.rename(corpus / "market1501")


def copied(run: Path, out: Path) -> Path:
    shutil.copytree(run, out)
    return out


def test_a_run_that_is_under_way_is_reported_as_such(runs: Path, tmp_path: Path) -> None:
    run = copied(runs / "c", tmp_path / "half")
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:3]) + lines[3][:20])
    (run / "encoder.safetensors").unlink()
    assert report(tmp_path / "report.html", run) == 0
    text = words(parsed(tmp_path / "report.html"))
    assert "half is at step 3 of 6: it goes on, or was stopped." in text
    assert "half: no pictures, because it has saved no encoder yet" in text


def test_what_cannot_be_reported_is_one_line_and_leaves_nothing(runs: Path, tmp_path: Path, capsys) -> None:
    empty = copied(runs / "c", tmp_path / "empty")
    (empty / "metrics.jsonl").write_text("")
    damaged = copied(runs / "c", tmp_path / "damaged")
    (damaged / "metrics.jsonl").write_text("no journal\n" * 3)
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    (tmp_path / "nothing").mkdir()
    cases = {
        (runs / "a", tmp_path / "nothing"): "holds no run that has started: no config.json",
        (tmp_path / "never",): "holds no run that has started: no config.json",
        (empty,): "has not started: its journal has no step yet",
        (damaged,): "line 1 of",
        (runs / "a", runs / "a"): "was given 2 times",
        (runs / "a", "--data.name", "market1501"): "--data.name and --data.root name a labelled set together",
    }
    for line, complaint in cases.items():
        assert report(tmp_path / "report.html", *line) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert complaint in said[-1]
        assert not (tmp_path / "report.html").exists()
    assert report(tmp_path / "mine.html", runs / "a") == 2
    assert (tmp_path / "mine.html").read_text() == "<p>mine</p>"


@pytest.mark.slow
def test_every_command_of_the_page_about_reports_runs(
    runs: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    commands_of: Callable[[str], list[list[str]]],
) -> None:
    (tmp_path / "runs").symlink_to(runs)
    (tmp_path / "corpus").symlink_to(corpus)
    monkeypatch.chdir(tmp_path)
    lines = commands_of("report.md")
    assert len(lines) == 2
    for line in lines:
        assert main([*line, "--device", "cpu", "--threads", "1", "--workers", "0"]) == 0
        assert Path("report.html").stat().st_size > 50_000
