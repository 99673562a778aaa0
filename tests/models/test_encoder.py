import json
import pickle
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from upreid.errors import DataError, InputError
from upreid.models.backbone import create_backbone
from upreid.models.batchnorm import group_batch_norm
from upreid.models.encoder import Encoder, is_encoder_file, load_encoder, save_encoder
from upreid.models.header import EncoderHeader, read_header
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

    later = ("head", "interpolation", "init", "trained_on", "seed")
    values = {key: value for key, value in asdict(HEADER).items() if key not in later}
    old = json.dumps(values | {"neck": False, "format": 1})
    save_file(load_file(saved), saved, metadata={"upreid": old})
    assert load_encoder(saved).header == HEADER
    save_file(load_file(saved), saved, metadata={"upreid": old.replace('"neck": false', '"neck": true')})
    with pytest.raises(DataError, match="format 1"):
        load_encoder(saved)


def test_files_of_ours_are_told_from_others(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tensors")
    save_file(load_file(saved), tmp_path / "foreign")
    assert [is_encoder_file(path) for path in (saved, tmp_path / "text", tmp_path / "foreign")] == [True, False, False]


def test_a_file_cut_short_anywhere_is_named_in_one_line(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in (0, 4, 8, 100, 1000, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        with pytest.raises(DataError, match="cut short") as caught:
            load_encoder(saved)
        assert "\n" not in str(caught.value)


def test_missing_foreign_and_unfitting_files_are_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no encoder file"):
        load_encoder(tmp_path / "none")
    tensors = load_file(saved)
    save_file(tensors, tmp_path / "foreign")
    with pytest.raises(DataError, match="no upreid header"):
        load_encoder(tmp_path / "foreign")
    net = create_backbone("resnet18", height=64, width=32, channels=6)
    save_encoder(tmp_path / "unfitting", Encoder(net, HEADER))
    with pytest.raises(DataError, match="does not fit its own header"):
        load_encoder(tmp_path / "unfitting")
    save_encoder(tmp_path / "later", Encoder(net, replace(HEADER, format=99)))
    with pytest.raises(DataError, match="format 99"):
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
    with pytest.raises(DataError, match="conv1"):
        load_encoder(path)


def test_the_folder_of_a_run_stands_for_its_encoder(saved: Path, tmp_path: Path) -> None:
    images = torch.randn(2, 3, 64, 32)
    torch.testing.assert_close(load_encoder(saved.parent)(images), load_encoder(saved)(images))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no encoder\.safetensors in the folder .*empty: give the folder of a run"):
        load_encoder(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="its run was stopped before its first save"):
        load_encoder(tmp_path / "empty")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: torch.save({"a": torch.zeros(3)}, path), "is a checkpoint of torch.save, and no encoder file"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "is a pickle, as torch.save before 1.6"),
        (lambda path: path.write_text("<!DOCTYPE html><html>"), "is a web page"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer"),
        (lambda path: path.write_bytes(b"\x08\x09\x12\x07pytorch" + bytes(600)), "is an ONNX model"),
    ],
)
def test_a_file_of_another_kind_is_refused_for_what_it_is(write, words: str, tmp_path: Path) -> None:
    path = tmp_path / ("model.onnx" if "ONNX" in words else "model.pth")
    write(path)
    with pytest.raises(DataError) as caught:
        load_encoder(path)
    assert words in str(caught.value)
    assert "give the encoder.safetensors of a run" in str(caught.value)
    assert "cut short" not in str(caught.value)


def test_a_torchscript_program_is_no_encoder_file(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "model.pt")
    with pytest.raises(DataError, match="is a TorchScript program, and no encoder file"):
        load_encoder(tmp_path / "model.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_encoder_whose_weights_are_not_finite_is_refused_by_name(saved: Path, value: float) -> None:
    from safetensors import safe_open

    with safe_open(saved, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(saved)
    tensors["backbone.layer1.0.bn1.bias"][0] = value
    save_file(tensors, saved, metadata=metadata)
    with pytest.raises(DataError, match=r"NaN or infinity in 1 of its .* tensors \(backbone\.layer1\.0\.bn1\.bias\)"):
        load_encoder(saved)


@pytest.mark.parametrize(
    ("field", "value"), [("backbone", "resnet5o"), ("height", 1), ("last_stride", 1), ("channels", 8)]
)
def test_a_header_that_does_not_fit_its_tensors_is_the_file_s_fault(tmp_path: Path, field: str, value: object) -> None:
    net = create_backbone("vit_tiny_patch16_224", height=64, width=32)
    plain = replace(HEADER, backbone="vit_tiny_patch16_224", channels=None, last_stride=None)
    save_encoder(tmp_path / "e.safetensors", Encoder(net, replace(plain, **{field: value})))
    with pytest.raises(DataError, match="does not fit its own header"):
        load_encoder(tmp_path / "e.safetensors")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"height": 0}, "its height is 0"),
        ({"height": 10**6}, "its height is 1000000"),
        ({"height": True}, "its height is True"),
        ({"height": 64.0}, r"its height is 64\.0"),
        ({"last_stride": 3}, "its last_stride is 3"),
        ({"last_stride": True}, "its last_stride is True"),
        ({"mean": [0.5, 0.5]}, r"its mean is \[0\.5, 0\.5\]"),
        ({"mean": [0.5, 0.5, 10**400]}, "its mean is"),
        ({"std": [0.5, 0.5, float("nan")]}, "its std is"),
        ({"interpolation": "nearest"}, "its interpolation is 'nearest'"),
        ({"seed": 2**63}, "its seed is"),
        ({"step": -1}, "its step is -1"),
        ({"backbone": None}, "its backbone is None"),
        ({"head": "bnneck"}, "its head is 'bnneck'"),
        ({"head": {"name": "sbs"}}, "its name is 'sbs'"),
        ({"head": {"pool": "max"}}, "its pool is 'max'"),
        ({"head": {"embed_dim": 10**9}}, "its embed_dim is"),
        ({"head": {"cameras": [1, "2"]}}, "its cameras is"),
        ({"head": {"colour": 1}}, "a field 'colour' that nobody knows"),
    ],
)
def test_a_header_that_says_what_no_encoder_of_ours_would_is_refused_by_field(wrong: dict, words: str) -> None:
    good = {"backbone": "resnet18", "channels": 4, "last_stride": None, "height": 64, "width": 32, "format": 2}
    good |= {"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}
    assert read_header(Path("e"), json.dumps(good)).std == (1, 1, 1)
    with pytest.raises(DataError, match=words):
        read_header(Path("e"), json.dumps(good | wrong))
    for name in ("backbone", "mean"):
        with pytest.raises(DataError, match=f"it has no {name}"):
            read_header(Path("e"), json.dumps({key: value for key, value in good.items() if key != name}))
