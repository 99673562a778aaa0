"""Labelled sets as the commands see them: what is found before the first step, and sets without cameras or training images."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from upreid.cli import main
from upreid.training.feeds import labelled

SMALL = ["--random.channels", "8", "--random.height", "32", "--random.width", "16", "--input.pad", "2"]
SMALL += ["--train.identities", "2", "--train.images", "2", "--train.steps", "3"]
SMALL += ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0"]


def paint(place: Path, *seed: int) -> None:
    """Write stripes of a person's own, under a camera's noise."""
    clothes = np.random.default_rng(seed[0]).uniform(0, 200, (4, 1, 3))
    noise = np.random.default_rng(seed).uniform(0, 50, (4, 2, 3))
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((clothes + noise).astype(np.uint8)).resize((16, 32), Image.Resampling.NEAREST).save(place)


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Three people to train on, three others to find, two cameras, two images of each."""
    root = tmp_path / "market"
    for person in range(1, 7):
        for camera in (1, 2):
            for shot in range(2):
                test = "query" if shot == 0 and camera == 1 else "bounding_box_test"
                folder = "bounding_box_train" if person <= 3 else test
                paint(root / folder / f"{person:04d}_c{camera}s1_{shot:06d}_00.png", person, camera, shot)
    return root


def finetune(root: Path, out: Path, *flags: str, name: str = "market1501") -> int:
    data = ["--data.name", name, "--data.root", str(root), "--out", str(out)]
    return main(["finetune", "laptop-bot", "--init", "random", *data, *SMALL, *flags])


def evaluate(encoder: Path, root: Path, *flags: str, name: str = "market1501") -> int:
    data = ["--data.name", name, "--data.root", str(root), "--device", "cpu", "--threads", "1", "--workers", "0"]
    return main(["evaluate", str(encoder), *data, *flags])


def result(run: Path) -> dict[str, Any]:
    return json.loads((run / "retrieval.json").read_text())


@pytest.mark.parametrize("folder", ["query", "bounding_box_test"])
def test_a_test_image_that_cannot_be_read_is_found_before_the_first_step(
    market: Path, tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image = min((market / folder).iterdir())
    image.write_bytes(image.read_bytes()[:60])
    assert finetune(market, tmp_path / "run") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "1 test images of market1501 at" in error
    assert image.name in error
    assert not (tmp_path / "run").exists()


def test_a_set_with_one_camera_is_refused_before_the_first_step(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for image in (market / "bounding_box_test").glob("*_c2*"):
        image.unlink()
    assert finetune(market, tmp_path / "run") == 2
    assert "all test images come from one camera" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_unreadable_image_of_the_monitor_is_found_before_the_first_step(
    market: Path, tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = min((market / "query").iterdir())
    image.write_bytes(b"")
    words = ["--data.root", str(pictures), "--out", str(tmp_path / "run"), "--train.steps", "2", "--train.batch", "8"]
    words += ["--monitor.every-epochs", "1", "--monitor.root", str(market), "--model.channels", "4"]
    assert main(["pretrain", "laptop", *words, "--train.device", "cpu", "--contrast.queue", "16"]) == 2
    assert image.name in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kept", [True, False], ids=["kept in memory", "read again"])
def test_an_unreadable_training_image_is_skipped_and_said_in_the_log_and_in_the_result(
    market: Path, tmp_path: Path, kept: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not kept:
        monkeypatch.setattr(labelled, "CACHE_BYTES", 0)
    (market / "bounding_box_train" / "0001_c1s1_000000_00.png").write_bytes(b"")
    assert finetune(market, tmp_path / "run", "--data.unreadable-share", "0.1", "--train.save-every", "2") == 0
    assert "0001_c1s1_000000_00.png" in capsys.readouterr().err
    (doubt,) = result(tmp_path / "run")["protocol"]["doubts"]
    assert doubt.startswith("1 of 24 images cannot be read: ")
    assert main(["finetune", "--resume", str(tmp_path / "run")]) == 0
    assert finetune(market, tmp_path / "strict", "--data.unreadable-share", "0") == 2
    assert "images cannot be read, over the limit of 0.0%" in capsys.readouterr().err.splitlines()[-1]


def test_a_picture_under_two_people_is_said_in_the_log_and_in_the_result(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = market / "bounding_box_train"
    shutil.copy(train / "0001_c1s1_000000_00.png", train / "0002_c1s1_000009_00.png")
    assert finetune(market, tmp_path / "run") == 0
    words = "training pictures stand under two people, byte for byte: 0001_c1s1_000000_00.png = 0002_c1s1_000009_00.png"
    assert words in capsys.readouterr().err
    assert words in result(tmp_path / "run")["protocol"]["doubts"][0]


def test_a_sound_set_has_no_doubts_in_its_result(market: Path, tmp_path: Path) -> None:
    assert finetune(market, tmp_path / "run") == 0
    assert not {"doubts", "unknown_cameras"} & result(tmp_path / "run")["protocol"].keys()


def without_cameras(market: Path) -> Path:
    """The same images under names that tell no camera."""
    for image in list(market.rglob("*.png")):
        image.rename(image.with_name(image.name.replace("_c", "_at")))
    return market


def test_a_set_without_cameras_is_trained_on_and_evaluated(market: Path, tmp_path: Path) -> None:
    with_cameras = shutil.copytree(market, tmp_path / "known")
    without_cameras(market)
    assert finetune(with_cameras, tmp_path / "known-run", name="market-style") == 0
    assert finetune(market, tmp_path / "run", name="market-style") == 0
    ours, theirs = ((tmp_path / run / "encoder.safetensors").read_bytes() for run in ("run", "known-run"))
    assert len(ours) == len(theirs)
    protocol = result(tmp_path / "run")["protocol"]
    assert protocol["unknown_cameras"] == 24
    assert protocol["gallery"]["cameras"] == 0


def test_cameras_that_are_unknown_teach_nothing_and_that_is_said(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = ["--head.name", "transreid", "--head.camera-weight", "3"]
    assert finetune(without_cameras(market), tmp_path / "run", *head, name="market-style") == 2
    assert "12 of 12 training images have no camera label" in capsys.readouterr().err


def test_a_set_for_testing_only_is_evaluated_and_not_trained_on(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(market, tmp_path / "run") == 0
    shutil.rmtree(market / "bounding_box_train")
    assert evaluate(tmp_path / "run" / "encoder.safetensors", market, name="market-style") == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["mAP"] == result(tmp_path / "run")["mAP"]
    assert numbers["protocol"]["train"]["images"] == 0
    assert finetune(market, tmp_path / "again", name="market-style") == 2
    assert "the train list is empty" in capsys.readouterr().err


def test_a_query_that_is_listed_in_the_gallery_too_is_not_evaluated(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(market, tmp_path / "run") == 0
    rows = ["path,person,camera,split", "query/0004_c1s1_000000_00.png,4,1,query"]
    rows += ["query/0004_c1s1_000000_00.png,4,2,gallery", "bounding_box_test/0005_c2s1_000000_00.png,5,2,gallery"]
    (market / "set.csv").write_text("\n".join(rows))
    assert evaluate(tmp_path / "run" / "encoder.safetensors", market / "set.csv", name="csv") == 2
    assert "1 queries stand in the gallery themselves (the same file)" in capsys.readouterr().err
