from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from upreid.errors import InputError
from upreid.models.backbone import create_backbone
from upreid.models.batchnorm import group_batch_norm
from upreid.models.encoder import Encoder, EncoderHeader, is_encoder_file, load_encoder, save_encoder
from upreid.models.heads import HEADS, HeadSettings, create_head

HEADER = EncoderHeader(
    backbone="resnet18",
    channels=4,
    last_stride=1,
    height=64,
    width=32,
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    recipe="laptop",
    recipe_hash="abc",
    step=7,
    licence_note="none",
)


@pytest.fixture(scope="module")
def backbone() -> nn.Module:
    torch.manual_seed(0)
    net = group_batch_norm(create_backbone("resnet18", height=64, width=32, channels=4, last_stride=1), 2)
    net(torch.randn(8, 3, 64, 32))  # moves the running statistics
    return net.eval()


@pytest.fixture
def saved(backbone: nn.Module, tmp_path: Path) -> Path:
    save_encoder(tmp_path / "encoder.safetensors", Encoder(backbone, HEADER))
    return tmp_path / "encoder.safetensors"


def test_an_encoder_comes_back_with_its_header_and_its_features(backbone: nn.Module, saved: Path) -> None:
    encoder, images = load_encoder(saved), torch.randn(3, 3, 64, 32)
    assert encoder.header == HEADER
    assert (encoder.preprocess.height, encoder.preprocess.mean) == (64, (0.1, 0.2, 0.3))
    assert not encoder.training
    torch.testing.assert_close(encoder(images), backbone(images))


def test_the_same_weights_give_the_same_bytes(backbone: nn.Module, saved: Path) -> None:
    save_encoder(saved.with_name("again"), Encoder(backbone, HEADER))
    assert saved.read_bytes() == saved.with_name("again").read_bytes()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("resnet18", HeadSettings(name="bnneck")),
        ("resnet18", HeadSettings(name="bnneck", pool="gem", extra_bn=True)),
        ("resnet18", HeadSettings(name="mgn", pool="gem", embed_dim=8, extra_bn=True)),
        ("vit_tiny_patch16_224", HeadSettings(name="transreid", camera_weight=3.0, cameras=(1, 4), jigsaw=True)),
    ],
)
def test_a_head_travels_with_its_encoder(name: str, settings: HeadSettings, tmp_path: Path) -> None:
    assert settings.name in HEADS
    torch.manual_seed(0)
    is_resnet = name == "resnet18"
    narrow = {"channels": 4, "last_stride": 1} if is_resnet else {"channels": None, "last_stride": None}
    net = create_backbone(name, height=96, width=32, **narrow)
    header = replace(HEADER, backbone=name, height=96, head=settings, interpolation="bicubic", seed=3, **narrow)
    encoder = Encoder(net, header, create_head(net, settings))
    images, cameras = torch.randn(6, 3, 96, 32), torch.tensor([1, 4, 4, 1, 1, 4])
    encoder.train()(images, cameras)  # moves the running statistics
    encoder.eval()
    save_encoder(tmp_path / "e.safetensors", encoder)
    back = load_encoder(tmp_path / "e.safetensors")
    assert back.header == header
    assert back.preprocess.interpolation == "bicubic"
    torch.testing.assert_close(back(images, cameras), encoder(images, cameras))
    torch.testing.assert_close(back.before_neck(images, cameras), encoder.before_neck(images, cameras))
    assert not torch.equal(back.before_neck(images, cameras), back(images, cameras))


def test_a_pre_trained_encoder_of_the_first_format_can_still_be_read(saved: Path) -> None:
    import json

    later = ("head", "interpolation", "init", "trained_on", "seed")
    values = {key: value for key, value in asdict(HEADER).items() if key not in later}
    old = json.dumps(values | {"neck": False, "format": 1})
    save_file(load_file(saved), saved, metadata={"upreid": old})
    assert load_encoder(saved).header == HEADER
    save_file(load_file(saved), saved, metadata={"upreid": old.replace('"neck": false', '"neck": true')})
    with pytest.raises(InputError, match="format 1"):
        load_encoder(saved)


def test_files_of_ours_are_told_from_others(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tensors")
    save_file(load_file(saved), tmp_path / "foreign")
    assert [is_encoder_file(path) for path in (saved, tmp_path / "text", tmp_path / "foreign")] == [True, False, False]


def test_a_file_cut_short_anywhere_is_named_in_one_line(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in (0, 4, 8, 100, 1000, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cut short") as caught:
            load_encoder(saved)
        assert "\n" not in str(caught.value)


def test_missing_foreign_and_unfitting_files_are_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no encoder file"):
        load_encoder(tmp_path / "none")
    tensors = load_file(saved)
    save_file(tensors, tmp_path / "foreign")
    with pytest.raises(InputError, match="no upreid header"):
        load_encoder(tmp_path / "foreign")
    net = create_backbone("resnet18", height=64, width=32, channels=6)
    save_encoder(tmp_path / "unfitting", Encoder(net, HEADER))
    with pytest.raises(InputError, match="does not fit its own header"):
        load_encoder(tmp_path / "unfitting")
    save_encoder(tmp_path / "later", Encoder(net, replace(HEADER, format=99)))
    with pytest.raises(InputError, match="format 99"):
        load_encoder(tmp_path / "later")


def test_one_tensor_missing_is_enough_to_refuse(backbone: nn.Module, tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "e.safetensors"
    save_encoder(path, Encoder(backbone, HEADER))
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    del tensors["backbone.conv1.weight"]
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(InputError, match="conv1"):
        load_encoder(path)
