"""`upreid convert`, in and out, and the model folder: what another program loads gives the same features."""

import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from upreid.cli import main
from upreid.models.backbone import create_backbone
from upreid.models.encoder import Encoder, load_encoder, save_encoder, skeleton
from upreid.models.foreign import make_encoder, read_checkpoint
from upreid.models.header import EncoderHeader
from upreid.models.heads import HeadSettings

HEADER = EncoderHeader(
    backbone="resnet18", channels=None, last_stride=None, height=64, width=32, mean=(0.5,) * 3, std=(0.25,) * 3
)
NECK = HeadSettings(name="bnneck")
JIGSAW = HeadSettings(name="transreid", cameras=(1, 2), camera_weight=3.0, jigsaw=True, published_jigsaw=True)


def put(path: Path, **changes: object) -> Encoder:
    """Write an encoder whose BatchNorm has seen images."""
    torch.manual_seed(1)
    encoder = skeleton(replace(HEADER, **changes))
    height, width = encoder.header.height, encoder.header.width
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.02 * torch.rand_like(parameter))
        encoder.train()(torch.randn(4, 3, height, width), torch.tensor([1, 2, 1, 2]))
    save_encoder(path, encoder)
    return encoder.eval()


def images(encoder: Encoder) -> Tensor:
    return torch.randn(2, 3, encoder.header.height, encoder.header.width, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def same(encoder: Encoder, other: nn.Module) -> None:
    pictures = images(encoder)
    torch.testing.assert_close(other.eval()(pictures), encoder(pictures), atol=1e-5, rtol=1e-5)


def convert(*words: object) -> int:
    return main(["convert", *map(str, words)])


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert convert(*words) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_weights_of_luperson_become_an_encoder_and_what_was_found_is_said(tmp_path, capsys):
    torch.manual_seed(0)
    model = torchvision.models.resnet18()
    torch.save(model.state_dict(), tmp_path / "lup_moco_r18.pth")
    assert convert(tmp_path / "lup_moco_r18.pth", tmp_path / "lup.safetensors") == 0
    said = capsys.readouterr().err
    assert "holds a resnet18 (LUPerson, released)" in said
    assert "all 100 tensors of resnet18 were found" in said
    assert "2 tensors of heads and the like were left (fc.weight, fc.bias)" in said
    assert "mean (0.3525, 0.3106, 0.314)" in said
    model.fc = nn.Identity()
    encoder = load_encoder(tmp_path / "lup.safetensors")
    same(encoder, model)
    assert (encoder.header.height, encoder.header.width) == (256, 128)
    assert encoder.header.init == "converted from lup_moco_r18.pth (LUPerson, released)"


def test_flags_of_the_input_win(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "r.pth")
    flags = [
        "--height",
        "64",
        "--width",
        "32",
        "--last-stride",
        "1",
        "--mean",
        "0.1",
        "0.2",
        "0.3",
        "--interpolation",
        "bicubic",
    ]
    assert convert(tmp_path / "r.pth", tmp_path / "r.safetensors", *flags) == 0
    header = load_encoder(tmp_path / "r.safetensors").header
    assert (header.height, header.last_stride, header.mean, header.interpolation) == (64, 1, (0.1, 0.2, 0.3), "bicubic")


def test_timm_and_torchvision_load_a_resnet_and_give_its_features(tmp_path):
    encoder = put(tmp_path / "encoder.safetensors")
    for target, model in (
        ("timm", timm.create_model("resnet18", num_classes=0)),
        ("torchvision", torchvision.models.resnet18()),
    ):
        assert convert(tmp_path / "encoder.safetensors", tmp_path / f"{target}.pth", "--to", target) == 0
        if target == "torchvision":
            model.fc = nn.Identity()
        model.load_state_dict(torch.load(tmp_path / f"{target}.pth", weights_only=True))
        same(encoder, model)


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        ("torchreid", {"backbone": "osnet_x0_25"}),
        ("torchreid", {}),
        ("fast-reid", {"backbone": "fastreid_resnet18", "last_stride": 1, "head": NECK}),
        ("transreid", {"backbone": "vit_base_patch16_224", "head": JIGSAW}),
        ("transreid", {"backbone": "vit_base_patch16_224", "head": NECK}),
    ],
)
@pytest.mark.slow
def test_what_is_written_for_another_program_is_read_back_as_its_format_with_the_same_features(
    tmp_path, target, changes
):
    encoder = put(tmp_path / "encoder.safetensors", **changes)
    assert convert(tmp_path / "encoder.safetensors", tmp_path / "out.pth", "--to", target) == 0
    foreign = read_checkpoint(tmp_path / "out.pth")
    back, _ = make_encoder(foreign, tmp_path / "out.pth", height=64, width=32)
    with torch.no_grad():
        pictures, cameras = images(encoder), torch.tensor([1, 2])
        for neck in ("after", "before"):  # the program's own side of the neck may be another one than the encoder's
            ours, theirs = (one.at_neck(neck)(pictures, cameras) for one in (encoder, back))
            torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "changes", "reason"),
    [
        ("timm", {"last_stride": 1}, "the stride of its last stage is 1"),
        (
            "torchvision",
            {"last_stride": 1},
            "no loader would notice; the ways out for this encoder are upreid export (ONNX) and upreid convert --to folder",
        ),
        ("torchvision", {"channels": 4}, "its base width is 4"),
        ("torchvision", {"backbone": "vit_tiny_patch16_224"}, "torchvision has no network that computes the same"),
        ("fast-reid", {}, "pool their stem without padding"),
        ("transreid", {}, "has no ReLU in its stem"),
        ("timm", {"backbone": "osnet_x0_25"}, "timm does not have it"),
        ("timm", {"head": NECK}, "timm has no head like its bnneck (upreid convert --without-head leaves it)"),
        ("reid", {"backbone": "vit_tiny_patch16_224"}, "its positions are those of 64x32"),
        (
            "transreid",
            {"backbone": "vit_small_patch16_224", "head": replace(JIGSAW, published_jigsaw=False)},
            "shifts patches by one more",
        ),
    ],
)
def test_what_would_be_wrong_elsewhere_is_refused_with_the_reason_and_nothing_is_written(
    tmp_path, capsys, target, changes, reason
):
    encoder = skeleton(replace(HEADER, **changes))
    save_encoder(tmp_path / "encoder.safetensors", encoder)
    out = tmp_path / "new" / "out.pth"
    line = refusal(capsys, tmp_path / "encoder.safetensors", out, "--to", target)
    assert reason in line
    assert not out.parent.exists()


def test_a_stride_of_one_is_another_network_in_timm(tmp_path):
    """The measurement behind the refusal: the weights load strictly, and the features are others."""
    encoder = put(tmp_path / "encoder.safetensors", last_stride=1)
    model = timm.create_model("resnet18", num_classes=0)
    model.load_state_dict(encoder.backbone.state_dict())
    with torch.no_grad():
        cosine = nn.functional.cosine_similarity(model.eval()(images(encoder)), encoder(images(encoder)))
    assert cosine.max() < 0.999


def test_a_head_is_left_where_that_is_asked_for(tmp_path):
    encoder = put(tmp_path / "encoder.safetensors", head=NECK)
    assert convert(tmp_path / "encoder.safetensors", tmp_path / "out.pth", "--to", "timm", "--without-head") == 0
    model = timm.create_model("resnet18", num_classes=0)
    model.load_state_dict(torch.load(tmp_path / "out.pth", weights_only=True))
    same(Encoder(encoder.backbone, encoder.header).eval(), model)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "vit_tiny_patch16_224"])
def test_a_model_folder_is_loaded_by_timm_and_by_upreid(tmp_path, backbone):
    encoder = put(tmp_path / "encoder.safetensors", backbone=backbone)
    assert convert(tmp_path / "encoder.safetensors", tmp_path / "model", "--to", "folder") == 0
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    same(encoder, load_encoder(tmp_path / "model"))
    model = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True)
    same(encoder, model)
    assert [list(model.pretrained_cfg[name]) for name in ("std", "input_size")] == [[0.25] * 3, [3, 64, 32]]
    card = (tmp_path / "model" / "README.md").read_text()
    assert all(word in card for word in ("## Limits", "## Intended use", "## Protocol", "local-dir:"))
    assert convert(tmp_path / "model", tmp_path / "back.safetensors") == 0
    same(encoder, load_encoder(tmp_path / "back.safetensors"))


def test_a_model_folder_that_timm_cannot_hold_says_so_and_upreid_loads_it(tmp_path):
    encoder = put(tmp_path / "encoder.safetensors", last_stride=1, head=NECK)
    assert convert(tmp_path / "encoder.safetensors", tmp_path / "model", "--to", "folder") == 0
    assert (
        "the stride of its last stage is 1"
        in json.loads((tmp_path / "model" / "config.json").read_text())["not_for_timm"]
    )
    assert "Not for timm" in (tmp_path / "model" / "README.md").read_text()
    same(encoder, load_encoder(tmp_path / "model"))
    with pytest.raises(Exception, match="architecture"):
        timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True)


class Client:
    """A stand-in for the client of a hub."""

    sent: tuple[str, str] | None = None

    def create_repo(self, name: str, *, exist_ok: bool) -> str:
        assert exist_ok
        return f"hub/{name}"

    def upload_folder(self, *, repo_id: str, folder_path: str) -> None:
        Client.sent = repo_id, folder_path


def test_a_model_folder_is_sent_to_a_hub(tmp_path, monkeypatch, capsys):
    put(tmp_path / "encoder.safetensors")
    hub = types.ModuleType("huggingface_hub")
    hub.HfApi = Client
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    words = tmp_path / "encoder.safetensors", tmp_path / "model", "--to", "folder", "--push"
    assert convert(*words, "lab/mine") == 0
    assert Client.sent == ("lab/mine", str(tmp_path / "model"))
    assert "sent to hub/lab/mine" in capsys.readouterr().err
    assert "give ORG/NAME" in refusal(capsys, *words, "mine")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'upreid[hub]'" in refusal(capsys, *words, "lab/mine")


def test_bad_input_is_one_line_and_writes_nothing(tmp_path, capsys):
    put(tmp_path / "encoder.safetensors")
    torch.save({"text.weight": torch.zeros(3, 3)}, tmp_path / "text.pth")
    out = tmp_path / "out.safetensors"
    assert "holds no network with names that upreid knows" in refusal(capsys, tmp_path / "text.pth", out)
    assert "no file" in refusal(capsys, tmp_path / "nothing.pth", out)
    assert "ends in .safetensors" in refusal(capsys, tmp_path / "encoder.safetensors", tmp_path / "out.pth")
    assert "is what is to be converted" in refusal(
        capsys, tmp_path / "encoder.safetensors", tmp_path / "encoder.safetensors"
    )
    assert "--push sends a model folder" in refusal(capsys, tmp_path / "encoder.safetensors", out, "--push", "a/b")
    assert "whose header says what --domain would" in refusal(
        capsys, tmp_path / "encoder.safetensors", out, "--domain", "0"
    )
    assert "whose header says what --last-stride would" in refusal(
        capsys, tmp_path / "encoder.safetensors", out, "--last-stride", "1"
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine")
    line = refusal(capsys, tmp_path / "encoder.safetensors", tmp_path / "model", "--to", "folder")
    assert "exists and holds something else" in line
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine.txt"]
    assert not out.exists()


def test_a_header_that_lies_is_one_line(tmp_path, capsys):
    encoder = skeleton(HEADER)
    save_encoder(tmp_path / "lie.safetensors", Encoder(encoder.backbone, replace(HEADER, backbone="resnet34")))
    line = refusal(capsys, tmp_path / "lie.safetensors", tmp_path / "out.safetensors")
    assert "does not fit its own header (resnet34)" in line


def test_a_backbone_with_options_for_vits_only_is_refused():
    with pytest.raises(ValueError, match="is for plain ViTs"):
        create_backbone("resnet18", height=64, width=32, patch_stride=12)


def test_a_file_that_may_be_anybodys_is_not_written_over(tmp_path, capsys):
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"mine")
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "lup_r18.pth")
    source, ours = str(tmp_path / "lup_r18.pth"), str(tmp_path / "ours.safetensors")
    assert main(["convert", source, ours]) == 0
    assert main(["convert", source, ours]) == 0  # an encoder file of ours is made anew
    assert main(["convert", ours, str(mine), "--to", "timm"]) == 2
    (tmp_path / "notes.safetensors").write_bytes(b"mine")
    assert main(["convert", source, str(tmp_path / "notes.safetensors")]) == 2
    assert capsys.readouterr().err.count("may be anybody's") == 2
    assert mine.read_bytes() == (tmp_path / "notes.safetensors").read_bytes() == b"mine"


def test_the_domain_whose_batchnorm_is_taken_is_a_flag_and_without_it_nothing_is_written(tmp_path, capsys):
    """The file is OpenUnReID's: its BatchNorms are numbered, and no tensor says which number the target has."""
    net, norms = torchvision.models.resnet18(), {}
    net.fc = nn.Identity()
    for name, tensor in net.state_dict().items():
        owner, _, kind = name.rpartition(".")
        if isinstance(net.get_submodule(owner), nn.BatchNorm2d):
            norms |= {f"backbone.{owner}.dsbn.{domain}.{kind}": tensor + domain for domain in (0, 1)}
        else:
            norms[f"backbone.{name}"] = tensor
    norms |= {f"head.feat_bn.dsbn.{domain}.weight": torch.ones(512) for domain in (0, 1)}
    torch.save({"state_dict_1": norms}, tmp_path / "checkpoint.pth")
    source, out = tmp_path / "checkpoint.pth", tmp_path / "out.safetensors"
    assert "upreid convert --domain N takes one" in refusal(capsys, source, out)
    assert not out.exists()
    assert main(["convert", str(source), str(out), "--domain", "1"]) == 0
    assert "those of domain 1 were taken" in capsys.readouterr().err
    assert torch.equal(load_encoder(out).backbone.bn1.running_mean, torch.ones(64))


def test_every_command_of_the_page_about_weights_runs(tmp_path, monkeypatch, commands_of):
    monkeypatch.chdir(tmp_path)
    torch.save(torchvision.models.resnet18().state_dict(), "lup_moco_r18.pth")
    lines = commands_of("weights.md")
    assert len(lines) == 3
    for words in lines:
        assert main(words) == 0
