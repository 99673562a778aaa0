"""What the documents name is there."""

import importlib
import re
from pathlib import Path

import pytest

from upreid.cli import COMMANDS
from upreid.config.methods import METHODS
from upreid.config.options import known_flags

ROOT = Path(__file__).parents[1]
ROWS = [line for line in (ROOT / "docs" / "paper.md").read_text().splitlines() if line.startswith("| ")]


def spelt_out(path: str) -> list[str]:
    """Expand braces: `losses/{identity,triplet}.py` is two files."""
    found = re.search(r"\{([^}]*)\}", path)
    return [path.replace(found[0], part, 1) for part in found[1].split(",")] if found else [path]


def named(pattern: str) -> list[str]:
    return sorted({path for row in ROWS for word in re.findall(pattern, row) for path in spelt_out(word)})


@pytest.mark.parametrize("path", named(r"`([\w/{},-]+\.(?:py|toml))`"))
def test_a_file_that_the_page_about_the_paper_names_is_there(path: str) -> None:
    folder = "tests" if path.rpartition("/")[2].startswith("test_") else "src/upreid"
    assert (ROOT / folder / path).is_file()


@pytest.mark.parametrize(("path", "name"), sorted(set(re.findall(r"`([\w/]+\.py)` `(\w+)`", "\n".join(ROWS)))))
def test_a_name_that_the_page_about_the_paper_gives_is_in_its_file(path: str, name: str) -> None:
    text = (ROOT / "src/upreid" / path).read_text()
    assert re.search(rf"^\s*(def {name}\(|class {name}\b|{name}\b.*=)", text, re.MULTILINE)


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = {
    "torchrun": "nproc-per-node nnodes max-restarts rdzv-backend rdzv-endpoint rdzv-id standalone shutdown-timeout",
    "sbatch": "nodes ntasks-per-node gpus-per-node signal cpus-per-task time open-mode requeue",
    "upreid, before it is parsed": "help version resume",
    "nsys": "stats",
    "boxmot": "reid",
    "tensorboard": "logdir",
    "mistakes that the page on reliability shows": "root batch",
    "tests/methods/simsiam.py": "predictor.hidden",
}
"""Options in the documents that belong to other programs."""


def every_option() -> set[str]:
    """List the options of all commands and all methods."""
    places = [row.schema.partition(":") for row in COMMANDS.values()]
    schemas = [getattr(importlib.import_module(f"upreid.config.{module}"), name) for module, _, name in places if name]
    schemas += [entry.config for entry in METHODS.values()]
    return {flag for schema in schemas for flag in known_flags(schema)}


def options_in(text: str) -> set[str]:
    """List the options that a text names."""
    return set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_option_that_a_page_names_is_one(page: Path) -> None:
    elsewhere = {f"--{word}" for words in ELSEWHERE.values() for word in words.split()}
    elsewhere |= options_in("".join(path.read_text() for path in (ROOT / "benchmarks").glob("*.py")))
    assert not options_in(page.read_text()) - every_option() - elsewhere


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_every_file_that_a_page_links_to_is_in_the_repository(page: Path) -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    links = [link for link in links if link and not link.startswith("http")]
    assert not [link for link in links if not (page.parent / link).exists()]
