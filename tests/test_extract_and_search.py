"""`upreid extract` and `upreid search`: features at rest, and what is nearest by them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from safetensors import safe_open
from torch.nn import functional as F

import upreid
from upreid.cli import main
from upreid.commands import extract as program
from upreid.models.encoder import save_encoder, skeleton
from upreid.models.header import EncoderHeader
from upreid.retrieval.feature_file import read_features
from upreid.retrieval.search import search

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


def make(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    encoder = skeleton(HEADER)
    encoder.train()(torch.randn(8, 3, 32, 16))
    save_encoder(path, encoder)
    return path


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return make(tmp_path / "encoder.safetensors")


def extracted(encoder: Path, pictures: Path, out: Path, *flags: str) -> Path:
    assert main(["extract", str(encoder), str(pictures), str(out), *HERE, *flags]) == 0
    return out


def error_of(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert main([*map(str, words), *HERE]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("upreid: error:")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "parquet"])
def test_the_file_holds_the_features_of_the_python_interface(
    suffix: str, encoder: Path, pictures: Path, tmp_path: Path
) -> None:
    file = read_features(extracted(encoder, pictures, tmp_path / f"features.{suffix}"))
    ours = upreid.load_encoder(encoder)
    expected = upreid.extract(ours, pictures, quiet=True)
    assert torch.equal(file.features, expected.features)
    assert file.names == expected.names
    assert file.facts.encoder_sha256 == ours.sha256
    assert file.facts.preprocess == ours.preprocess


def test_other_programs_read_the_file_too(encoder: Path, pictures: Path, tmp_path: Path) -> None:
    with safe_open(extracted(encoder, pictures, tmp_path / "a.safetensors"), framework="np") as file:
        names = bytes(file.get_tensor("names")).decode().split("\0")
        assert file.get_tensor("features").shape[0] == len(names) == 32
    with np.load(extracted(encoder, pictures, tmp_path / "a.npz"), allow_pickle=False) as table:
        features = table["features"]
        assert features.shape[0] == 32
    rows = parquet.read_table(extracted(encoder, pictures, tmp_path / "a.parquet")).to_pylist()
    assert [row["name"] for row in rows] == names
    assert np.array_equal(np.array([row["feature"] for row in rows], dtype=np.float32), features)


def test_an_interrupted_extraction_goes_on_to_the_same_bytes(
    encoder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "PART", 10)
    flags = ["--batch", "5"]
    whole = extracted(encoder, pictures, tmp_path / "whole.safetensors", *flags).read_bytes()
    kept, calls = program.save_features, []

    def save(path: Path, file: Any) -> None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(path)
        kept(path, file)

    monkeypatch.setattr(program, "save_features", save)
    out = tmp_path / "part.safetensors"
    assert main(["extract", str(encoder), str(pictures), str(out), *HERE, *flags]) == 130
    assert not out.exists()
    monkeypatch.setattr(program, "save_features", kept)
    assert "another encoder, source or setting" in error_of(capsys, "extract", encoder, pictures, out, "--batch", "4")
    capsys.readouterr()
    assert extracted(encoder, pictures, out, *flags).read_bytes() == whole
    assert "going on: 2 of 4 parts are there" in capsys.readouterr().err
    assert not list(tmp_path.glob(".part*"))
    extracted(encoder, pictures, out, *flags)
    assert "is there already" in capsys.readouterr().err


def test_what_is_there_is_never_mixed_or_overwritten(
    encoder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = extracted(encoder, pictures, tmp_path / "features.npz")
    other = make(tmp_path / "other.safetensors", seed=1)
    before = out.read_bytes()
    assert "another encoder, source or setting" in error_of(capsys, "extract", other, pictures, out)
    assert "another encoder, source or setting" in error_of(capsys, "extract", encoder, pictures, out, "--flip")
    assert out.read_bytes() == before
    (tmp_path / "notes.npz").write_text("mine")
    assert "no feature file" in error_of(capsys, "extract", encoder, pictures, tmp_path / "notes.npz")
    assert (tmp_path / "notes.npz").read_text() == "mine"


def test_parts_that_are_left_behind_by_a_kill_are_put_away(
    encoder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program.shutil, "rmtree", lambda _: None)  # as if it were killed before
    out = extracted(encoder, pictures, tmp_path / "features.safetensors")
    assert list(tmp_path.glob(".features*"))
    monkeypatch.undo()
    extracted(encoder, pictures, out)
    assert not list(tmp_path.glob(".features*"))


def test_every_command_of_the_page_about_searching_runs(
    encoder: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    commands_of: Callable[[str], list[list[str]]],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/mine").mkdir(parents=True)
    encoder.rename("runs/mine/encoder.safetensors")
    pictures.rename("crops")
    Path("queries").mkdir()
    shutil.copy("crops/0001.png", "queries/one.png")
    shutil.copy("crops/0002.png", "query.jpg")  # a picture is known by what it holds
    lines = commands_of("search.md")
    assert len(lines) == 3
    for words in lines:
        assert main([*words, *HERE]) == 0
    assert "data:image" in Path("found.html").read_text()
    assert json.loads(Path("found.json").read_text())["queries"][0]["found"][0]["name"] == "0001.png"


def test_unreadable_images_are_left_out_and_named_up_to_a_limit(
    encoder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "0003.png").write_bytes(b"no picture")
    assert "0003.png" in error_of(capsys, "extract", encoder, pictures, tmp_path / "a.npz")
    file = read_features(extracted(encoder, pictures, tmp_path / "b.npz", "--unreadable-share", "0.1"))
    assert len(file.names) == 31
    assert "0003.png" not in file.names
    assert "0003.png" in file.facts.skipped[0]


@pytest.mark.slow
@pytest.mark.ranks
def test_two_ranks_write_the_bytes_of_one_process(encoder: Path, pictures: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "upreid"]
    words = ["extract", encoder, pictures, tmp_path / "two.safetensors", *HERE]
    done = subprocess.run(
        [*torchrun, *map(str, words)], capture_output=True, text=True, timeout=300, check=False, env=os.environ.copy()
    )
    assert done.returncode == 0, done.stderr
    one = extracted(encoder, pictures, tmp_path / "one.safetensors")
    assert (tmp_path / "two.safetensors").read_bytes() == one.read_bytes()


@given(
    seed=st.integers(0, 1000),
    size=st.integers(1, 30),
    k=st.integers(1, 12),
    block=st.integers(1, 9),
    metric=st.sampled_from(["cosine", "euclidean"]),
    engine=st.sampled_from(["torch", "faiss"]),
)
def test_the_search_is_exact_whatever_the_blocks_and_the_engine(
    seed: int, size: int, k: int, block: int, metric: str, engine: str
) -> None:
    numbers = torch.Generator().manual_seed(seed)
    query, gallery = (torch.randn(n, 3, generator=numbers) for n in (4, size))
    gallery = torch.cat([gallery, gallery[:2]])  # equals
    found = search(query, gallery, k=k, metric=metric, block=block, engine=engine)
    for row, one in enumerate(query):
        if metric == "cosine":
            distances = [float(1 - F.cosine_similarity(one, other, dim=0)) for other in gallery]
        else:
            distances = [float((one - other).norm()) for other in gallery]
        expected = sorted(distances)[:k]
        np.testing.assert_allclose(found.distances[row].numpy(), expected, atol=1e-5)
        chosen = [distances[place] for place in found.places[row].tolist()]
        np.testing.assert_allclose(chosen, expected, atol=1e-5)
        assert len(set(found.places[row].tolist())) == len(expected)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_faiss_finds_the_same_entries_in_the_same_order(metric: str) -> None:
    numbers = torch.Generator().manual_seed(0)
    gallery = torch.randn(3000, 64, generator=numbers) + 3
    gallery[1500:1510] = gallery[7]  # equals come in the gallery's order
    query = torch.cat([gallery[7:8], torch.randn(300, 64, generator=numbers) + 3])
    ours, theirs = (search(query, gallery, k=20, metric=metric, engine=engine) for engine in ("torch", "faiss"))
    assert ours.places[0, :11].tolist() == [7, *range(1500, 1510)]
    assert torch.equal(ours.places, theirs.places)
    torch.testing.assert_close(ours.distances, theirs.distances, atol=2e-3 if metric == "euclidean" else 1e-6, rtol=0)


def test_a_picture_finds_itself_first_and_the_page_shows_it(
    encoder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = extracted(encoder, pictures, tmp_path / "features.safetensors")
    capsys.readouterr()
    page, out = tmp_path / "page.html", tmp_path / "found.json"
    words = ["search", file, pictures / "0007.png", "--encoder", encoder, "--top", "5", "--page", page, "--out", out]
    assert main([*map(str, words), *HERE]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads(out.read_text())
    found = result["queries"][0]["found"]
    assert [entry["rank"] for entry in found] == [1, 2, 3, 4, 5]
    assert found[0]["name"] == "0007.png"
    assert found[0]["distance"] == pytest.approx(0, abs=1e-5)
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 6
    assert "0007.png" in text
    assert not any(word in text for word in ("http:", "https:"))


def test_nobody_is_here_beyond_the_threshold(
    encoder: Path,
    pictures: Path,
    tmp_path: Path,
    paint_more: Callable[[Path], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = extracted(encoder, pictures, tmp_path / "features.npz")
    strangers = paint_more(tmp_path / "strangers")
    capsys.readouterr()
    words = ["search", file, strangers, pictures / "0000.png", "--encoder", encoder, "--threshold", "0.000001"]
    assert main([*map(str, words), *HERE]) == 0
    queries = json.loads(capsys.readouterr().out)["queries"]
    assert [one["is_here"] for one in queries] == [False, False, True]


@pytest.fixture
def paint_more() -> Callable[[Path], Path]:
    from PIL import Image

    def paint(folder: Path) -> Path:
        folder.mkdir()
        for number in range(2):
            pixels = np.random.default_rng(100 + number).integers(0, 256, (24, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
        return folder

    return paint


def test_bad_searches_are_refused_in_one_line(
    encoder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = extracted(encoder, pictures, tmp_path / "features.safetensors")
    other = make(tmp_path / "other.safetensors", seed=1)
    picture = pictures / "0000.png"
    assert "another encoder" in error_of(capsys, "search", file, picture, "--encoder", other)
    (tmp_path / "empty").mkdir()
    assert "empty" in error_of(capsys, "search", file, tmp_path / "empty", "--encoder", encoder)
    assert "none.png" in error_of(capsys, "search", file, tmp_path / "none.png", "--encoder", encoder)
    assert "upreid extract" in error_of(capsys, "search", tmp_path / "no.npz", picture, "--encoder", encoder)
    assert "no feature file" in error_of(capsys, "search", encoder, picture, "--encoder", encoder)
    assert ".safetensors or .npz or .parquet" in error_of(
        capsys, "extract", encoder, pictures, tmp_path / "features.pt"
    )


def test_damaged_and_strange_tables_are_refused_in_one_line(
    encoder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = pictures / "0000.png"
    whole = extracted(encoder, pictures, tmp_path / "features.parquet")
    (tmp_path / "short.parquet").write_bytes(whole.read_bytes()[:-40])
    parquet.write_table(parquet.read_table(whole).replace_schema_metadata({}), tmp_path / "strange.parquet")
    parquet.write_table(parquet.read_table(whole).rename_columns(["a", "b"]), tmp_path / "columns.parquet")
    for name in ("short", "strange", "columns"):
        said = error_of(capsys, "search", tmp_path / f"{name}.parquet", picture, "--encoder", encoder)
        assert "is no feature file of upreid, or is damaged" in said


def test_a_missing_extra_is_named_before_anything_is_read(
    encoder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    kept = importlib.util.find_spec
    missing = ("faiss", "pyarrow")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in missing else kept(name, *rest))
    said = error_of(capsys, "extract", encoder, pictures, tmp_path / "features.parquet")
    assert "pip install 'upreid[parquet]'" in said
    nothing = tmp_path / "none.safetensors"
    said = error_of(capsys, "search", nothing, pictures, "--encoder", encoder, "--engine", "faiss")
    assert "pip install 'upreid[faiss]'" in said
