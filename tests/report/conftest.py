"""A pre-training, a fine-tuning from it, and pages about them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from upreid.cli import main

TINY = "--model.channels 4 --train.batch 8 --model.bn-groups 2 --contrast.queue 16"
ALONE = "--train.threads 1 --train.workers 0 --train.device cpu"


@pytest.fixture(scope="package")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from upreid.commands.synth import synthesise
    from upreid.synthetic.settings import CorpusSettings

    out = tmp_path_factory.mktemp("people") / "corpus"
    synthesise(out, CorpusSettings(version=1, identities=8, height=64, width=32), workers=1)
    return out


def trained(*words: object) -> None:
    line = [word for text in words for word in str(text).split()]
    assert main([*line, *ALONE.split()]) == 0


@pytest.fixture(scope="package")
def runs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs: `a` pre-trained and watched, `c` its baseline, `b` fine-tuned from `a`."""
    out = tmp_path_factory.mktemp("runs")
    watched = f"--monitor.every-epochs 0.5 --monitor.root {corpus / 'market1501'}"
    wild = f"--data.root {corpus / 'wild'}"
    trained("pretrain both-terms-laptop", TINY, wild, "--train.steps 24", watched, "--out", out / "a")
    trained("pretrain moco-laptop", TINY, wild, "--train.steps 6 --out", out / "c")
    data = f"--data.name market1501 --data.root {corpus / 'market1501'} --data.identity-share 1"
    tuning = "--train.identities 2 --train.images 2 --train.steps 6"
    trained("finetune laptop-bot --init", out / "a" / "encoder.safetensors", data, tuning, "--out", out / "b")
    return out


def report(out: Path, *words: object) -> int:
    flags = ["--out", str(out), "--device", "cpu", "--threads", "1", "--workers", "0"]
    return main(["report", *map(str, words), *flags])


@pytest.fixture(scope="package")
def page(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about two runs."""
    out = tmp_path_factory.mktemp("pages") / "report.html"
    assert report(out, runs / "a", runs / "b") == 0
    return out


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser; a test that needs it is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("this machine has no Chromium; install one (Debian: chromium) to open the pages in a browser")
    return found


PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 24, 29)"}


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


def open_page(browser: Any, page: Path, width: int, scheme: str) -> Any:
    """Open a page, which must fit, show its pictures and charts, load nothing else and bring no complaint."""
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == PAPER[scheme]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    charts = tab.evaluate("[...document.querySelectorAll('.chart')].map((one) => one.getBoundingClientRect().width)")
    assert min(charts) > 250
    assert said == []
    assert [place for place in asked if not place.startswith("data:")] == [page.as_uri()]
    return tab
