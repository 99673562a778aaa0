"""Labelled sets as the commands see them: what is found before the first step, and sets without cameras or training images."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from upreid.cli import main
from upreid.data.benchmarks import read_benchmark
from upreid.data.dataset import LabelledImages
from upreid.data.sources.recognise import open_source
from upreid.errors import DataError, InputError
from upreid.training.feeds import inputs
from upreid.types import Preprocess

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
        monkeypatch.setattr(inputs, "CACHE_BYTES", 0)
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


PREPROCESS = Preprocess(height=32, width=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def pack(source: Path, out: Path, *flags: object) -> int:
    return main(["pack", str(source), str(out), "--shard-size", "5", "--workers", "1", *map(str, flags)])


def lists(name: str, root: Path) -> list[Any]:
    """What a set says of every image, and what is read of it."""
    found = read_benchmark(name, root)
    return [
        [
            (record.path.relative_to(found.root), record.person, record.camera, record.read())
            for record in getattr(found, part)
        ]
        for part in ("train", "query", "gallery")
    ]


@pytest.mark.parametrize("name", ["market1501", "packed"])
def test_a_labelled_set_that_was_packed_is_the_same_set(market: Path, tmp_path: Path, name: str) -> None:
    assert pack(market, tmp_path / "packed", "--name", "market1501") == 0
    folder, packed = read_benchmark("market1501", market), read_benchmark(name, tmp_path / "packed")
    assert (packed.name, packed.facts, packed.shares_ids) == ("market1501", folder.facts, True)
    assert lists(name, tmp_path / "packed") == lists("market1501", market)
    for part in ("train", "query", "gallery"):
        ours, theirs = (LabelledImages(getattr(found, part), PREPROCESS) for found in (packed, folder))
        assert all((ours[index] == theirs[index]).all() for index in range(len(theirs)))


def test_a_packed_set_gives_the_encoder_and_the_numbers_of_its_folder(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(market, tmp_path / "packed", "--name", "market1501") == 0
    assert finetune(market, tmp_path / "folder-run") == 0
    assert finetune(tmp_path / "packed", tmp_path / "packed-run") == 0
    runs = tmp_path / "folder-run", tmp_path / "packed-run"
    encoders = [(run / "encoder.safetensors").read_bytes() for run in runs]
    assert encoders[0] == encoders[1]
    assert result(runs[0]) == result(runs[1])
    capsys.readouterr()
    assert evaluate(runs[0] / "encoder.safetensors", tmp_path / "packed", name="packed") == 0
    numbers = json.loads(capsys.readouterr().out)
    assert {key: numbers[key] for key in ("mAP", "rank1")} == {key: result(runs[0])[key] for key in ("mAP", "rank1")}
    assert numbers["protocol"]["dataset"] == "market1501"
    (tmp_path / "market").rename(tmp_path / "gone")  # the packed set stands alone
    for words in (["doctor", "market1501"], ["doctor", "packed"]):
        assert main([*words, str(tmp_path / "packed")]) == 0
    assert (
        main(["split", "packed", str(tmp_path / "packed"), "--image-share", "0.5", "--out", str(tmp_path / "s.json")])
        == 0
    )
    split = json.loads((tmp_path / "s.json").read_text())
    names = split["images"]
    assert split["dataset"] == "market1501"
    assert finetune(tmp_path / "gone", tmp_path / "part", "--data.split", str(tmp_path / "s.json")) == 0
    assert result(tmp_path / "part")["protocol"]["training_images"] == len(names) == 6


def test_every_form_of_labels_survives_packing(market: Path, tmp_path: Path) -> None:
    rows = ["path,person,camera,split", "bounding_box_train/0001_c1s1_000000_00.png,anna,,train"]
    rows += ["query/0004_c1s1_000000_00.png,bob,door,query", "bounding_box_test/0004_c2s1_000000_00.png,bob,,gallery"]
    (market / "set.csv").write_text("\n".join(rows))
    assert pack(market / "set.csv", tmp_path / "packed", "--name", "csv") == 0
    found, before = read_benchmark("csv", tmp_path / "packed"), read_benchmark("csv", market / "set.csv")
    assert [(record.person, record.camera) for record in found.records] == [(0, None), (1, 0), (1, None)]
    assert found.facts == before.facts
    assert found.facts["unknown_cameras"] == 2


def test_the_images_for_multi_query_are_packed_too(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for person, camera, shot in ((4, 1, 0), (4, 1, 5), (5, 1, 6), (6, 2, 7), (1, 1, 8)):
        paint(market / "gt_bbox" / f"{person:04d}_c{camera}s1_{shot:06d}_00.png", person, camera, shot)
    assert pack(market, tmp_path / "packed", "--name", "market1501") == 0
    both = [read_benchmark("market1501", root) for root in (market, tmp_path / "packed")]
    names = [[(record.path.name, record.person, record.read()) for record in found.multi_query] for found in both]
    assert names[0] == names[1]
    assert [name for name, *_ in names[0]] == [
        f"{who}_00.png" for who in ("0004_c1s1_000000", "0004_c1s1_000005", "0005_c1s1_000006")
    ]
    assert finetune(market, tmp_path / "run", "--test.multi-query") == 0
    capsys.readouterr()
    assert evaluate(tmp_path / "run" / "encoder.safetensors", tmp_path / "packed", "--multi-query") == 0
    assert json.loads(capsys.readouterr().out)["mAP"] == result(tmp_path / "run")["mAP"]
    assert result(tmp_path / "run")["protocol"]["multi_query"]["images"] == 3
    (market / "gt_bbox" / "0004_c1s1_000005_00.png").write_bytes(b"")
    assert finetune(market, tmp_path / "again", "--test.multi-query") == 2
    assert "0004_c1s1_000005_00.png" in capsys.readouterr().err
    assert finetune(market, tmp_path / "without") == 0


def test_a_packed_set_is_packed_again_with_its_labels(market: Path, tmp_path: Path) -> None:
    assert pack(market, tmp_path / "packed", "--name", "market1501") == 0
    assert pack(tmp_path / "packed", tmp_path / "again", "--shard-size", 7) == 0
    assert lists("market1501", tmp_path / "again") == lists("market1501", market)
    assert pack(market, tmp_path / "packed", "--name", "market1501") == 0  # and the same line again verifies


def test_without_labels_it_is_a_source_like_any_other(market: Path, tmp_path: Path) -> None:
    assert pack(market, tmp_path / "packed", "--name", "market1501") == 0
    source = open_source(tmp_path / "packed")
    assert "labelled: market1501)" in source.description
    files = {source.name(index): source.read(index) for index in range(len(source))}
    assert files == {path.relative_to(market).as_posix(): path.read_bytes() for path in market.rglob("*.png")}


def test_a_set_that_was_shrunk_says_so_in_every_result(market: Path, tmp_path: Path) -> None:
    assert pack(market, tmp_path / "packed", "--name", "market1501", "--height", 16, "--quality", 90) == 0
    found = read_benchmark("market1501", tmp_path / "packed")
    assert found.facts["stored"] == "packed at most 16 x any width, JPEG of quality 90"
    assert finetune(tmp_path / "packed", tmp_path / "run") == 0
    assert result(tmp_path / "run")["protocol"]["stored"] == found.facts["stored"]


@pytest.mark.parametrize("folder", ["query", "bounding_box_test"])
def test_no_test_image_is_left_out_of_a_packed_set(
    market: Path, tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image = min((market / folder).iterdir())
    image.write_bytes(b"no picture")
    assert pack(market, tmp_path / "packed", "--name", "market1501", "--unreadable-share", 1, "--workers", 2) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "cannot read test image" in error
    assert image.name in error
    assert not (tmp_path / "packed" / "manifest.json").exists()


def test_a_training_image_that_was_left_out_is_counted(market: Path, tmp_path: Path) -> None:
    (market / "bounding_box_train" / "0001_c1s1_000000_00.png").write_bytes(b"no picture")
    assert pack(market, tmp_path / "packed", "--name", "market1501", "--unreadable-share", 0.1) == 0
    found = read_benchmark("market1501", tmp_path / "packed")
    assert found.facts["train"] == {"images": 11, "people": 3, "cameras": 2}
    assert found.facts["differs_from_published"][0].startswith("train has 11 images of 3 people; published")
    assert [record.person for record in found.train].count(1) == 3
    assert {record.path.name[:4] for record in found.query} == {"0004", "0005", "0006"}


def test_what_is_no_packed_set_of_that_name_is_refused(
    market: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(market, tmp_path / "packed", "--name", "market1501") == 0
    assert pack(pictures, tmp_path / "plain") == 0
    refused = {
        ("market-style", "packed"): "is a packed set of market1501, and market-style was asked for",
        ("market1501", "plain"): "is a packed set without labels; pack the labelled set again, with --name market1501",
        ("packed", "plain"): "is a packed set without labels; pack the labelled set again",
        ("packed", "market"): "is no packed set (it has bounding_box_test, bounding_box_train, query)",
        ("packed", "nowhere"): "no folder",
    }
    for (name, root), words in refused.items():
        assert main(["doctor", name, str(tmp_path / root)]) == 2
        assert words in capsys.readouterr().err
    assert pack(market, market / "packed", "--name", "market1501") == 2
    assert "which stays as it came" in capsys.readouterr().err
    assert pack(market, tmp_path / "other", "--name", "market1501", "--cfs-share", 0.5) == 2
    assert "a labelled set has no ranked list" in capsys.readouterr().err
    assert pack(market, tmp_path / "packed") == 2
    assert "was packed otherwise" in capsys.readouterr().err


def test_labels_that_were_changed_after_packing_are_refused(market: Path, tmp_path: Path) -> None:
    assert pack(market, tmp_path / "packed", "--name", "market1501") == 0
    assert pack(market, tmp_path / "other", "--name", "market-style") == 0
    manifest = tmp_path / "packed" / "manifest.json"
    whole = json.loads(manifest.read_text())
    for changed in ({"labels": "0" * 64}, {"labelled": []}, {"labelled": {"name": "market1501"}}):
        manifest.write_text(json.dumps(whole | changed))
        with pytest.raises(DataError, match="do not fit together"):
            read_benchmark("market1501", tmp_path / "packed")
    manifest.unlink()
    with pytest.raises(InputError, match="not finished"):
        read_benchmark("market1501", tmp_path / "packed")
