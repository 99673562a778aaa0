import re
from pathlib import Path

import pytest
import torch
from torch import nn

from upreid.report.activation import activations, brightest
from upreid.report.terms import patch_table
from upreid.types import Preprocess

from .conftest import report
from .test_page import parsed, words

PLAIN = Preprocess(height=8, width=4, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Corner(nn.Module):
    """A backbone that responds in one cell of its map."""

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.zeros(len(images), 5, 4, 2)
        maps[:, :, 2, 1] = 3.0
        return maps


def test_a_picture_is_bright_where_the_backbone_responds() -> None:
    [found] = activations(Corner(), torch.ones(1, 3, 8, 4), PLAIN, "a")
    assert (found.caption, found.words) == ("a", "a: strongest in row 3 of 4 from the top, column 2 of 2 from the left")
    assert found.uri.startswith("data:image/jpeg;base64,")
    assert brightest(torch.tensor([[0.0, 1.0], [0.5, 0.2]])).startswith(
        "strongest in row 1 of 2 from the top, column 2"
    )


def test_a_backbone_without_a_map_has_no_such_picture() -> None:
    flat = nn.Module()
    flat.forward_features = lambda images: images.flatten(1)  # pyright: ignore[reportAttributeAccessIssue]
    assert activations(flat, torch.ones(1, 3, 8, 4), PLAIN, "a") == []


def test_patches_are_compared_as_a_mean_over_images() -> None:
    query = torch.eye(3)[None].repeat(2, 1, 1)  # [images, patches, dim]
    key = torch.stack([torch.eye(3), torch.eye(3).roll(1, dims=0)])
    table = patch_table([{"head_": query}, {"head_": key}], {"patches": [3, 1]})
    assert table is not None
    assert table.names == ["1.1", "2.1", "3.1"]
    assert torch.tensor(table.values).tolist() == [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]]
    assert table.who == "the patch head's embeddings"
    assert patch_table([{}, {}], {}) is None


def test_a_page_shows_what_the_terms_look_at(page: Path) -> None:
    section = next(one for one in parsed(page).iter("section") if one.get("id") == "terms")
    table = next(one for one in section.iter("table") if one.get("class") == "heat")
    values = [[float(words(cell)) for cell in row.iter("td")] for row in table.iter("tr")][1:]
    assert [len(row) for row in values] == [8] * 8
    assert all(-1 <= value <= 1 for row in values for value in row)
    described = [one.get("alt") or "" for one in section.iter("img")]
    assert described.count("original") == 6
    likeness = [float(found[1]) for alt in described if (found := re.match(r"view [12]: (-?[\d.]+) similar", alt))]
    assert len(likeness) == 12
    assert max(likeness) > 0.5
    assert sum("feature map: strongest in row" in alt for alt in described) == 6


@pytest.mark.slow
def test_views_come_from_where_the_images_are_now(runs: Path, corpus: Path, tmp_path: Path) -> None:
    moved = (corpus / "wild").rename(tmp_path / "wild")
    try:
        assert report(tmp_path / "report.html", runs / "c") == 0
        assert "c: nothing of its views, because" in words(parsed(tmp_path / "report.html"))
        assert report(tmp_path / "report.html", runs / "c", "--unlabelled", moved) == 0
        assert "nothing of its views" not in words(parsed(tmp_path / "report.html"))
    finally:
        moved.rename(corpus / "wild")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_of_the_darkest_cell_can_be_read(scheme: str) -> None:
    from .test_page import TEMPLATES, contrast

    style = (TEMPLATES / "page.html").read_text()
    blocks = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", one)) for one in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    colours = blocks[0] | (blocks[1] if scheme == "dark" else {})
    share = int(re.findall(r"var\(--v\) \* (\d+)%", style)[0]) / 100
    pairs = [[int(colours[name][place : place + 2], 16) for name in ("accent", "paper")] for place in (1, 3, 5)]
    mixed = "#" + "".join(f"{round(share * accent + (1 - share) * paper):02x}" for accent, paper in pairs)
    assert contrast(colours["ink"], mixed) >= 4.5
