from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from upreid.errors import InputError
from upreid.models.backbone import create_backbone
from upreid.models.batchnorm import group_batch_norm
from upreid.models.encoder import EncoderHeader, load_encoder, save_encoder

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
    save_encoder(tmp_path / "encoder.safetensors", backbone, HEADER)
    return tmp_path / "encoder.safetensors"


def test_an_encoder_comes_back_with_its_header_and_its_features(backbone: nn.Module, saved: Path) -> None:
    encoder, images = load_encoder(saved), torch.randn(3, 3, 64, 32)
    assert encoder.header == HEADER
    assert (encoder.preprocess.height, encoder.preprocess.mean) == (64, (0.1, 0.2, 0.3))
    assert not encoder.training
    torch.testing.assert_close(encoder(images), backbone(images))


def test_the_same_weights_give_the_same_bytes(backbone: nn.Module, saved: Path) -> None:
    save_encoder(saved.with_name("again"), backbone, HEADER)
    assert saved.read_bytes() == saved.with_name("again").read_bytes()


def test_a_neck_travels_with_its_encoder(backbone: nn.Module, tmp_path: Path) -> None:
    neck = nn.BatchNorm1d(32)
    neck.running_mean.fill_(3)
    path = tmp_path / "e.safetensors"
    save_encoder(path, backbone, replace(HEADER, neck=True), neck)
    encoder, images = load_encoder(path), torch.randn(2, 3, 64, 32)
    torch.testing.assert_close(encoder.before_neck(images), backbone(images))
    torch.testing.assert_close(encoder(images), neck.eval()(backbone(images)))


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
    save_encoder(tmp_path / "unfitting", net, HEADER)
    with pytest.raises(InputError, match="does not fit its own header"):
        load_encoder(tmp_path / "unfitting")
    save_encoder(tmp_path / "later", net, replace(HEADER, format=99))
    with pytest.raises(InputError, match="format 99"):
        load_encoder(tmp_path / "later")


def test_one_tensor_missing_is_enough_to_refuse(backbone: nn.Module, tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "e.safetensors"
    save_encoder(path, backbone, HEADER)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    del tensors["backbone.conv1.weight"]
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(InputError, match="conv1"):
        load_encoder(path)
