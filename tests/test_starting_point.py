"""What `--init` may name, told from what is there: a run, its encoder, its state, a checkpoint of another program."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from upreid.commands.starting_point import starting_point
from upreid.config.command_line import parse
from upreid.config.finetune import FinetuneConfig
from upreid.config.recipe import read_recipe
from upreid.errors import DataError, InputError, UpreidError
from upreid.models.encoder import load_encoder, save_encoder, skeleton
from upreid.models.header import EncoderHeader

HEADER = EncoderHeader(
    backbone="resnet18", channels=4, last_stride=1, height=48, width=24, mean=(0.5,) * 3, std=(0.2, 0.2, 0.2), step=7
)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """The folder of a run, with weights at random."""
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    save_encoder(folder / "encoder.safetensors", skeleton(HEADER))
    (folder / "config.json").write_text("{}")
    return folder


def begin(init: object, *flags: str, recipe: str = "laptop-bot"):
    words = [
        "--recipe",
        recipe,
        *read_recipe(recipe, "finetune"),
        "--init",
        str(init),
        "--data.name",
        "market1501",
        "--data.root",
        "market",
        "--out",
        "run",
        *flags,
    ]
    return starting_point(parse(FinetuneConfig, words, program="finetune"))


def test_the_folder_of_a_run_is_taken_as_its_encoder(run_folder: Path) -> None:
    encoder, sentences = begin(run_folder)
    assert (encoder.header.step, encoder.header.height) == (7, 48)
    assert "backbone resnet18 from the encoder's header" in sentences
    other, _ = begin(run_folder / "encoder.safetensors")
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(encoder.parameters(), other.parameters(), strict=True))


def test_a_run_that_is_called_like_a_timm_model_is_the_run(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_folder.rename(run_folder.with_name("resnet50"))
    monkeypatch.chdir(run_folder.parent)
    assert begin("resnet50")[0].header.step == 7


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("encoder.safetensors", "its run was stopped before its first save; resume it first"),
        ("config.json", "give the folder of a run, or a file"),
    ],
)
def test_a_folder_without_an_encoder_is_named(run_folder: Path, missing: str, words: str) -> None:
    for name in {"encoder.safetensors", missing}:
        (run_folder / name).unlink()
    with pytest.raises(InputError, match=words) as caught:
        begin(run_folder)
    assert str(run_folder) in str(caught.value)


def test_the_state_of_a_run_is_refused_and_its_encoder_is_named(run_folder: Path) -> None:
    backbone = {f"network.backbone.{name}": tensor for name, tensor in skeleton(HEADER).backbone.state_dict().items()}
    torch.save({"step": 7, "hash": "ab", "world_size": 1, **backbone}, run_folder / "state.pt")
    with pytest.raises(DataError, match=r"from which only that run can go on; give the run's encoder\.safetensors"):
        begin(run_folder / "state.pt")


def test_a_place_where_nothing_is_says_what_could_be_there(tmp_path: Path) -> None:
    with pytest.raises(
        UpreidError, match=r"no such file, and no model of timm's; give the folder of a run or its encoder"
    ):
        begin(tmp_path / "nothing.pth")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224"])
def test_a_transformer_is_fitted_to_another_size_so_that_its_file_can_be_read_back(name: str, tmp_path: Path) -> None:
    small, large = ((56, 28), (112, 56)) if "patch14" in name else ((64, 32), (96, 48))
    header = replace(HEADER, backbone=name, channels=None, last_stride=None, height=small[0], width=small[1])
    save_encoder(tmp_path / "small.safetensors", skeleton(header))
    encoder, _ = begin(
        tmp_path / "small.safetensors",
        "--input.height",
        str(large[0]),
        "--input.width",
        str(large[1]),
        recipe="transreid",
    )
    save_encoder(tmp_path / "large.safetensors", encoder)
    back, images = load_encoder(tmp_path / "large.safetensors"), torch.randn(2, 3, *large)
    torch.testing.assert_close(back(images), encoder.eval()(images))


def test_a_size_at_which_the_file_could_not_be_read_back_is_refused_at_the_start(tmp_path: Path) -> None:
    swin = {"backbone": "swin_tiny_patch4_window7_224", "channels": None, "last_stride": None}
    save_encoder(tmp_path / "swin.safetensors", skeleton(replace(HEADER, **swin, height=64, width=32)))
    begin(tmp_path / "swin.safetensors", "--input.height", "64", "--input.width", "32", recipe="transreid")
    with pytest.raises(InputError, match=r"tensors of another shape for inputs of 256x128.*keep that size"):
        begin(tmp_path / "swin.safetensors", "--input.height", "256", "--input.width", "128", recipe="transreid")
