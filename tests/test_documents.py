"""What the documents name is there."""

import re
from pathlib import Path

import pytest

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
