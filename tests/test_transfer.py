"""`upreid transfer`: encoders on sets that they were not fine-tuned on."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from upreid.cli import main
from upreid.models.encoder import save_encoder, skeleton
from upreid.models.header import EncoderHeader

HEADER = EncoderHeader(
    backbone="resnet18",
    channels=4,
    last_stride=1,
    height=32,
    width=16,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
HERE = ["--device", "cpu", "--threads", "1", "--workers", "0"]
TRAINED_ON = {"market": "market1501, 50% of the identities (split 1)", "own": "market-style", "none": ""}


def draw(root: Path, seed: int, *, query: str = "query", test: str = "bounding_box_test") -> Path:
    """Four people, seen by three cameras, two pictures each."""
    numbers = np.random.default_rng(seed)
    for person in range(1, 5):
        look = numbers.integers(0, 256, (4, 2, 3))
        for camera in (1, 2, 3):
            for shot in range(2):
                folder = root / (query if (camera, shot) == (1, 0) else test)
                folder.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(look + numbers.normal(0, 60, look.shape), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).resize((16, 32)).save(folder / f"{person:04d}_c{camera}s1_{shot:06d}_00.png")
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three encoders, and two sets in Market-1501's form."""
    folder = tmp_path_factory.mktemp("transfer")
    for seed, (name, trained_on) in enumerate(TRAINED_ON.items()):
        torch.manual_seed(seed)
        save_encoder(folder / f"{name}.safetensors", skeleton(replace(HEADER, trained_on=trained_on)))
    draw(folder / "market", 0)
    draw(folder / "mine", 1)
    for name in ("market", "mine"):
        draw(folder / name, 9, query="bounding_box_train", test="bounding_box_train")
    return folder


Said = tuple[list[str], str]


@pytest.fixture
def transfer(place: Path, monkeypatch, capsys) -> Callable[..., Said]:
    monkeypatch.chdir(place)

    def run(*words: str, code: int = 0) -> Said:
        capsys.readouterr()
        assert main(["transfer", *words, *HERE]) == code
        said = capsys.readouterr()
        return said.out.splitlines(), said.err

    return run


def test_encoders_are_rows_sets_are_columns_and_the_own_set_is_marked(transfer: Callable[..., Said], capsys) -> None:
    encoders = [f"{name}.safetensors" for name in TRAINED_ON]
    sets = ["market1501=market", "market-style=mine"]
    lines, _ = transfer(*encoders, "--data", *sets, "--out", "all.json")
    assert (
        lines[0] == "| encoder | recipe | trained on | input | market1501, mAP / Rank-1 | market-style, mAP / Rank-1 |"
    )
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in lines[2:5]]
    assert [row[0] for row in rows] == encoders
    assert [row[2] for row in rows] == [*list(TRAINED_ON.values())[:2], "no labels"]
    marks = [[text.rpartition(" ")[2] if text[-1] in "*?" else "" for text in row[4:]] for row in rows]
    assert marks == [["*", ""], ["", "?"], ["", ""]]
    saved = json.loads(Path("all.json").read_text())
    assert saved["settings"]["metric"] == "cosine"
    assert [one["own"] for one in saved["results"]] == [True, False, False, None, False, False]
    for one, text in zip(saved["results"], [text for row in rows for text in row[4:]], strict=True):
        name, _, root = one["data"].partition("=")
        alone = evaluated(capsys, one["encoder"], name, root)
        assert {key: one[key] for key in alone} == alone
        assert text.rstrip(" *?") == f"{alone['mAP']:.1f} / {alone['rank1']:.1f}"
    notes = "\n".join(lines[5:])
    assert "Without a mark: direct transfer" in notes
    assert "Protocol: cosine distance, features after the neck" in notes
    assert "market1501: 4 query images, 20 gallery images; " in notes


def evaluated(capsys, encoder: str, name: str, root: str) -> dict[str, Any]:
    assert main(["evaluate", encoder, "--data.name", name, "--data.root", root, *HERE]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_encoder_reads_each_set_once_and_settings_reach_the_ranking(transfer: Callable[..., Said]) -> None:
    words = ["none.safetensors", "own.safetensors", "--data", "market1501=market", "market1501=mine"]
    lines, said = transfer(*words, "--rerank", "--k1", "3", "--k2", "2", "--metrics", "mINP", "--format", "latex")
    assert said.count("features: ") == 2 * 2 * 2  # queries and gallery
    assert lines[0] == r"\begin{tabular}{llllcc}"
    assert "market1501=market, mINP & market1501=mine, mINP" in lines[2]
    assert any("re-ranked (classic, k1 3, k2 2, lambda 0.3)" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("none.safetensors --data market1501", "--data market1501: expected NAME=ROOT"),
        ("none.safetensors --data market=market", "unknown data set 'market'"),
        ("none.safetensors --data market1501=nowhere", "nowhere"),
        ("nowhere.safetensors --data market1501=market", "nowhere.safetensors"),
        ("none.safetensors --data market1501=market market1501=market", "--data market1501=market is given twice"),
        ("none.safetensors none.safetensors --data market1501=market", "encoder none.safetensors is given twice"),
        ("none.safetensors --data market1501=market --k1 7", "--k1 7: has no effect without --rerank"),
        ("none.safetensors --data market1501=market --out market", "--out market is a folder"),
        ("none.safetensors --data", "--data: expected at least one set"),
        ("--data market1501=market", "needs ENCODERS first"),
    ],
)
def test_bad_lines_are_refused_in_one_line_before_an_image_is_read(
    words: str, complaint: str, transfer: Callable[..., Said]
) -> None:
    _, said = transfer(*words.split(), code=2)
    lines = [line for line in said.splitlines() if line.startswith("upreid: error:")]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert "features" not in said


def test_a_damaged_encoder_is_found_before_the_first_is_evaluated(transfer: Callable[..., Said]) -> None:
    Path("damaged.safetensors").write_bytes(b"no encoder")
    _, said = transfer("none.safetensors", "damaged.safetensors", "--data", "market1501=market", code=2)
    assert "damaged.safetensors" in said.splitlines()[-1]
    assert "features" not in said
