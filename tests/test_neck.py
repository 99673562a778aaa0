"""The side of the neck that features are taken from: recipes follow their sources, and commands follow the encoder's header."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import upreid
from upreid.cli import main
from upreid.config.command_line import parse_training
from upreid.config.grid import read_grid
from upreid.models.encoder import Encoder, load_encoder, save_encoder, skeleton
from upreid.models.header import EncoderHeader
from upreid.models.heads import HeadSettings
from upreid.study.cells import cells_of

HEADER = EncoderHeader(
    backbone="resnet18",
    channels=4,
    last_stride=1,
    height=32,
    width=16,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    head=HeadSettings(name="bnneck"),
)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """An encoder with a neck that changes directions, whose header says that features are taken before it."""
    torch.manual_seed(0)
    made = skeleton(replace(HEADER, neck="before"))
    made.train()(torch.randn(16, 3, 32, 16))
    save_encoder(tmp_path / "before.safetensors", made.eval())
    save_encoder(tmp_path / "after.safetensors", Encoder(made.backbone, HEADER, made.head))
    return tmp_path / "before.safetensors"


@pytest.mark.parametrize(
    ("recipe", "side"),
    [
        ("bot", "after"),  # fast-reid's heads return the feature after it in evaluation, whatever triplets compare
        ("market1501-bot", "after"),
        ("laptop-bot", "after"),  # Bag of Tricks, TEST.NECK_FEAT
        ("mgn", "after"),  # LUPerson's fast-reid
        ("msmt17-mgn", "after"),
        ("laptop-mgn", "after"),
        ("transreid", "before"),  # TransReID, TEST.NECK_FEAT
    ],
)
def test_every_recipe_tests_on_the_side_of_its_source(recipe: str, side: str) -> None:
    data = [] if "-" in recipe and "laptop" not in recipe else ["--data.name", "market1501"]
    words = [recipe, "--init", "random", *data, "--data.root", "data", "--out", "run"]
    assert parse_training("finetune", words).test.neck == side


def test_a_grid_that_was_declared_with_features_before_the_neck_keeps_its_cells() -> None:
    cells = {cell.name: cell for cell in cells_of(read_grid("ablation-resnet50")) if cell.seed == 1}
    assert cells["small-10/both-s1"].settings["flags"]["test"]["neck"] == "before"
    assert cells["small-10/both-s1"].digest == "27c8a7b9198ff837"  # computed by commit 864bcda, whose recipe said so
    assert cells["small-10/random-s1"].digest == "22372cc8a6d84180"


def test_a_header_without_a_side_is_read_as_after_and_written_as_it_was(encoder: Path) -> None:
    assert "neck" not in HEADER.as_dict()
    assert load_encoder(encoder.with_name("after.safetensors")).header.neck == "after"
    assert replace(HEADER, neck="before").as_dict()["neck"] == "before"
    assert load_encoder(encoder).header.neck == "before"


def test_features_are_those_of_the_headers_side_unless_another_is_asked_for(encoder: Path) -> None:
    loaded, images = upreid.load_encoder(encoder), torch.randn(2, 3, 32, 16)
    pictures = [(image * 20 + 128).clamp(0, 255).byte().permute(1, 2, 0).numpy() for image in images]
    with torch.no_grad():
        assert torch.equal(loaded(images), loaded.before_neck(images))
        assert not torch.allclose(loaded.after_neck(images), loaded.before_neck(images))
    assert torch.equal(loaded.features(pictures), loaded.features(pictures, neck="before"))
    after = upreid.load_encoder(encoder.with_name("after.safetensors"))
    assert torch.equal(loaded.features(pictures, neck="after"), after.features(pictures))


def test_every_command_follows_the_header_and_says_the_side(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["synth", str(tmp_path / "corpus"), "--identities", "4", "--seed", "3", "--workers", "1"]) == 0
    market = str(tmp_path / "corpus" / "market1501")
    data = ["--data.name", "market1501", "--data.root", market, "--device", "cpu", "--threads", "1", "--workers", "0"]

    def evaluated(*words: str) -> dict:
        capsys.readouterr()
        assert main(["evaluate", *words, *data]) == 0
        return json.loads(capsys.readouterr().out)

    own, other = evaluated(str(encoder)), evaluated(str(encoder), "--neck", "after")
    assert (own["protocol"]["neck"], other["protocol"]["neck"]) == ("before", "after")
    assert other["mAP"] == evaluated(str(encoder.with_name("after.safetensors")))["mAP"]
    both = [str(encoder), str(encoder.with_name("after.safetensors"))]
    assert main(["transfer", *both, "--data", f"market1501={market}", *data[4:]]) == 0
    assert f"features after the neck where there is one, but of {encoder} before it," in capsys.readouterr().out
    queries = f"{market}/query"
    assert main(["extract", str(encoder), queries, str(tmp_path / "f.safetensors"), *data[4:]]) == 0
    capsys.readouterr()
    assert main(["convert", str(encoder), str(tmp_path / "folder"), "--to", "folder"]) == 0
    assert "the feature is the one before the neck" in (tmp_path / "folder" / "README.md").read_text()
    assert load_encoder(tmp_path / "folder").header.neck == "before"
    from upreid.retrieval.feature_file import read_features

    assert read_features(tmp_path / "f.safetensors").facts.neck == "before"
