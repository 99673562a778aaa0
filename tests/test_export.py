"""`upreid export`: what each program will feed a file, and that it computes the encoder's features from it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from upreid.cli import main
from upreid.models.encoder import Encoder, load_encoder, save_encoder, skeleton
from upreid.models.exported import BATCHES, CONTRACTS, Contract, Graph
from upreid.models.foreign.statistics import IMAGENET
from upreid.models.header import EncoderHeader
from upreid.models.heads import HeadSettings

LUPERSON = {"mean": (0.3525, 0.3106, 0.3140), "std": (0.2660, 0.2522, 0.2505)}
RESNET = EncoderHeader(backbone="resnet18", channels=8, last_stride=1, height=64, width=32, **LUPERSON)
VIT = EncoderHeader(backbone="vit_tiny_patch16_224", height=64, width=32, channels=None, last_stride=None, **LUPERSON)
TRANSREID = HeadSettings(name="transreid", cameras=(1, 2), camera_weight=3.0, jigsaw=True)
ENCODERS = {
    "resnet": RESNET,
    "bot": replace(RESNET, head=HeadSettings(name="bnneck")),
    "mgn": replace(RESNET, height=96, head=HeadSettings(name="mgn", embed_dim=16)),
    "vit": VIT,
    "transreid": replace(VIT, head=TRANSREID),
}


def made(header: EncoderHeader) -> Encoder:
    torch.manual_seed(0)
    encoder = skeleton(header)
    images = torch.randn(8, 3, header.height, header.width)
    encoder.train()(images, torch.ones(8, dtype=torch.long) if header.head == TRANSREID else None)
    return encoder.eval()


def saved(folder: Path, name: str = "resnet") -> Path:
    save_encoder(folder / f"{name}.safetensors", made(ENCODERS[name]))
    return folder / f"{name}.safetensors"


def exported(folder: Path, name: str, *flags: str) -> Path:
    out = folder / f"{name}.onnx"
    assert main(["export", str(saved(folder, name)), str(out), *flags]) == 0
    return out


def crops(count: int, seed: int = 0) -> list[np.ndarray]:
    """Crops of a tracker's, each of another size: blue, green, red."""
    numbers = np.random.default_rng(seed)
    return [
        numbers.integers(0, 256, (90 + 7 * at, 41 + 3 * at, 3), dtype=np.uint8).astype(np.uint8) for at in range(count)
    ]


def shrunk(crop: np.ndarray, size: tuple[int, int]) -> Tensor:
    """RGB from 0 to 1, shrunk as trackers do it: bilinear, without antialiasing."""
    pixels = torch.from_numpy(crop[:, :, ::-1].copy()).permute(2, 0, 1)[None].float()
    return F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)[0] / 255


def as_boxmot(path: Path, frames: list[np.ndarray]) -> Tensor:
    """A minimal reader, by BoxMOT's contract: ImageNet's normalisation outside, `images`, the first output."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.shape[0], given.type) == ("images", "batch", "tensor(float)")
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std))
    batch = torch.stack([(shrunk(crop, tuple(given.shape[2:])) - mean) / std for crop in frames])
    return torch.from_numpy(session.run(None, {"images": batch.numpy()})[0])


def as_ultralytics(path: Path, frames: list[np.ndarray]) -> Tensor:
    """A minimal reader, by Ultralytics' contract: RGB from 0 to 1, height and width of the graph."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert all(isinstance(size, int) for size in given.shape[1:])
    batch = torch.stack([shrunk(crop, tuple(given.shape[2:])) for crop in frames])
    return torch.from_numpy(session.run(None, {given.name: batch.numpy()})[0])


def right(encoder: Encoder, frames: list[np.ndarray]) -> Tensor:
    """The features of the same pixels, normalised as the encoder wants them."""
    header = encoder.header
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (header.mean, header.std))
    batch = torch.stack([(shrunk(crop, (header.height, header.width)) - mean) / std for crop in frames])
    with torch.no_grad():
        return encoder(batch)


READERS = {"boxmot": as_boxmot, "ultralytics": as_ultralytics}


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("resnet", "boxmot"),
        pytest.param("resnet", "ultralytics", marks=pytest.mark.slow),
        pytest.param("vit", "boxmot", marks=pytest.mark.slow),
        pytest.param("vit", "ultralytics", marks=pytest.mark.slow),
    ],
)
def test_a_file_for_a_program_gives_it_the_right_features_and_a_file_without_normalisation_does_not(
    name: str, program: str, tmp_path: Path
) -> None:
    out = exported(tmp_path, name, "--for", program)
    alone = tmp_path / "elsewhere" / "weights.onnx"
    alone.parent.mkdir()
    shutil.copy(out, alone)  # the weights are inside
    frames, read = crops(6), READERS[program]
    expected = right(load_encoder(tmp_path / f"{name}.safetensors"), frames)
    torch.testing.assert_close(read(alone, frames), expected, rtol=1e-3, atol=1e-4)
    assert F.cosine_similarity(read(alone, frames), expected).min() > 0.9999
    if program == "boxmot":
        about = json.loads((tmp_path / f"{name}.onnx.metadata.json").read_text())
        assert (about["img_size"], about["preprocess"], about["dynamic_batch"]) == ([64, 32], "resize", True)
    naive = exported(tmp_path, name, "--for", "plain-normalised")  # the network as it is
    assert F.cosine_similarity(read(naive, frames), expected).max() < 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_every_head_has_the_features_of_torch_in_every_batch(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx

    path = exported(tmp_path, name)
    said = capsys.readouterr()
    props = {prop.key: prop.value for prop in onnx.load(str(path)).metadata_props}
    parity = json.loads(props["parity"])
    assert set(parity) == {str(batch) for batch in BATCHES}
    assert all(found["largest_difference"] < 1e-4 for found in parity.values())
    assert props["input"].startswith("RGB from 0 to 1")
    assert json.loads(props["mean"]) == list(LUPERSON["mean"])
    assert (props["cameras"] == "left out") == (name == "transreid") == ("embeds cameras" in said.err)
    frames = crops(2)
    if name != "transreid":
        expected = right(load_encoder(tmp_path / f"{name}.safetensors"), frames)
        torch.testing.assert_close(as_ultralytics(path, frames), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["resnet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mgn", "transreid"))]
)
def test_a_program_of_torch_export_computes_the_features_without_our_code(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "encoder.pt2"
    assert main(["export", str(saved(tmp_path, name)), str(path), "--for", "program"]) == 0
    assert [float(line.split()[2]) for line in capsys.readouterr().out.splitlines()[1:]] == pytest.approx(
        [1, 1, 1], abs=1e-6
    )
    said = {"upreid.json": ""}
    torch.export.load(path, extra_files=said)
    facts = json.loads(said["upreid.json"])
    assert (facts["for"], facts["height"], json.loads(facts["mean"])[0]) == (
        "program",
        str(ENCODERS[name].height),
        0.3525,
    )
    images = torch.rand(5, 3, ENCODERS[name].height, 32)
    torch.save(images, tmp_path / "images.pt")
    script = "import sys, torch; run = torch.export.load('encoder.pt2').module(); assert 'upreid' not in sys.modules; "
    script += "torch.save(run(torch.load('images.pt')), 'features.pt'); assert 'upreid' not in sys.modules"
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=tmp_path, check=True)
    features = torch.load(tmp_path / "features.pt")
    with torch.no_grad():
        expected = Graph(load_encoder(tmp_path / f"{name}.safetensors"), CONTRACTS["plain"]).eval()(images)
    torch.testing.assert_close(features.detach(), expected, rtol=1e-4, atol=1e-5)


def test_the_mean_of_the_cameras_is_that_of_the_only_camera() -> None:
    head = replace(TRANSREID, cameras=(7,))
    encoder = skeleton(replace(VIT, head=head)).eval()
    images, cameras = torch.rand(3, 3, 64, 32), torch.full((3,), 7)
    with torch.no_grad():
        expected = encoder(images, cameras)
        mean = Graph(encoder, CONTRACTS["plain-normalised"], cameras="mean").eval()(images)
        without = Graph(encoder, CONTRACTS["plain-normalised"]).eval()(images)
    torch.testing.assert_close(mean, expected)
    assert not torch.allclose(without, expected, atol=1e-2)
    assert encoder.head is not None
    assert encoder.head.camera_weight == 3.0  # the encoder itself stays as it is


@pytest.mark.slow
def test_half_precision_keeps_the_direction_of_the_features(tmp_path: Path) -> None:
    for name in ("whole", "half"):
        (tmp_path / name).mkdir()
    whole, half = exported(tmp_path / "whole", "resnet"), exported(tmp_path / "half", "resnet", "--half")
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    frames = crops(3)
    cosine = F.cosine_similarity(as_ultralytics(half, frames), as_ultralytics(whole, frames))
    assert (cosine > 0.999).all()


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.name)
def test_the_graph_turns_what_is_given_into_what_the_encoder_wants(contract: Contract) -> None:
    encoder = made(RESNET)
    pixels = torch.rand(2, 3, 64, 32)
    own = [torch.tensor(values).view(3, 1, 1) for values in (RESNET.mean, RESNET.std)]
    imagenet = [torch.tensor(values).view(3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std)]
    given = {
        "pixels": pixels,
        "imagenet": (pixels - imagenet[0]) / imagenet[1],
        "own": (pixels - own[0]) / own[1],
    }
    with torch.no_grad():
        expected = encoder((pixels - own[0]) / own[1])
        found = Graph(encoder, contract).eval()(given[contract.given])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("out", "flags", "words"),
    [
        ("market_veri.onnx", ["--for", "boxmot"], ["veri", "another name"]),
        ("a_lmbn.onnx", ["--for", "boxmot"], ["lmbn"]),
        ("a.pt", [], [".onnx"]),
        ("a.onnx", ["--for", "program"], ["must end in .pt2 with --for program"]),
        ("a.onnx", ["--cameras", "mean"], ["embeds no cameras; leave it out"]),
        ("a.onnx", ["--for", "boxmo"], ["--for", "boxmo"]),
        ("a.onnx", ["--for", "reid"], ["--for reid writes a folder"]),
        ("a", ["--for", "reid", "--half", "--neck", "before"], ["--neck, --half: reid loads weights"]),
        (
            "a",
            ["--for", "reid"],
            ["resnet18 would be wrong in reid, because its base width is 8", "upreid export (ONNX)"],
        ),
    ],
)
def test_a_bad_name_or_program_is_refused_in_one_line(
    out: str, flags: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(saved(tmp_path)), str(tmp_path / out), *flags]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("upreid: error:")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]
    assert not (tmp_path / out).exists()


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.onnx").write_text("mine")
    assert main(["export", str(saved(tmp_path)), str(tmp_path / "mine.onnx")]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "mine.onnx").read_text() == "mine"


@pytest.mark.slow
def test_every_command_of_the_page_about_trackers_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands_of: Callable[[str], list[list[str]]]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/mine").mkdir(parents=True)
    saved(Path("runs/mine")).rename("runs/mine/encoder.safetensors")
    save_encoder(Path("lup.safetensors"), made(replace(RESNET, channels=None, last_stride=None)))
    assert main(["synth", "corpus", "--identities", "4", "--workers", "1"]) == 0
    lines = commands_of("trackers.md")
    assert [words[0] for words in lines] == ["export"] * 5 + ["evaluate"]
    for words in lines:  # some write over the file of the one before, which is upreid's
        assert main(words) == 0


def test_a_file_beside_the_model_that_is_somebody_elses_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.onnx.metadata.json").write_text("{}")
    assert main(["export", str(saved(tmp_path)), str(tmp_path / "a.onnx"), "--for", "boxmot"]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "a.onnx.metadata.json").read_text() == "{}"


def test_the_folder_for_roboflow_s_reid_is_the_one_that_convert_writes(tmp_path: Path) -> None:
    path, folders = tmp_path / "encoder.safetensors", [tmp_path / "exported", tmp_path / "converted"]
    save_encoder(path, encoder := made(replace(RESNET, channels=None, last_stride=2)))
    assert main(["export", str(path), str(folders[0]), "--for", "reid"]) == 0
    assert main(["convert", str(path), str(folders[1]), "--to", "reid"]) == 0
    files = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders]
    assert files[0] == files[1]
    settings = json.loads(files[0]["reid_config.json"])
    program, _, name = settings["architecture"].partition(":")
    model = timm.create_model(name, num_classes=0)  # as reid makes it
    assert program == "timm"
    assert model.load_state_dict(safetensors.torch.load(files[0]["weights.safetensors"])) == ([], [])
    given = {name: torch.tensor(settings["preprocessing"][name]).view(3, 1, 1) for name in ("mean", "std")}
    frames = crops(3)
    batch = torch.stack([shrunk(crop, tuple(settings["preprocessing"]["input_size"])) for crop in frames])
    with torch.no_grad():
        features = model.eval()((batch - given["mean"]) / given["std"])
    torch.testing.assert_close(features, right(encoder, frames), rtol=1e-4, atol=1e-4)


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    kept = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "onnx" else kept(name, *rest))
    assert main(["export", str(saved(tmp_path)), str(tmp_path / "a.onnx")]) == 2
    assert "pip install 'upreid[export]'" in capsys.readouterr().err
