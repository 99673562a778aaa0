import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from upreid.cli import main
from upreid.commands import doctor
from upreid.config.commands import DoctorConfig


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Three people to train on, three others to find, two cameras."""
    root = tmp_path / "market"
    for person in range(1, 7):
        for camera in (1, 2):
            for shot in range(2):
                test = "query" if shot == 0 and camera == 1 else "bounding_box_test"
                folder = root / ("bounding_box_train" if person <= 3 else test)
                folder.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng((person, camera, shot)).integers(0, 256, (16, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{person:04d}_c{camera}s1_{shot:06d}_00.png")
    return root


def diagnosis(root: Path, capsys: pytest.CaptureFixture[str], *, quick: bool = False) -> tuple[int, str]:
    code = doctor.run(DoctorConfig(name="market1501", root=root, quick=quick))
    return code, capsys.readouterr().out


def test_a_sound_set_passes_and_the_report_says_what_was_looked_at(market: Path, capsys) -> None:
    code, report = diagnosis(market, capsys)
    assert code == 0
    assert "train         12 images       3 people    2 cameras" in report
    assert "the whole evaluation ran on random features" in report
    assert "every image can be read" in report
    assert "fewer than rank 10" in report  # nine gallery entries
    assert report.strip().endswith("this set can be used")


def test_unreadable_images_are_named_and_only_looked_for_where_images_are_read(market: Path, capsys) -> None:
    broken = next((market / "query").iterdir())
    broken.write_bytes(broken.read_bytes()[:40])
    code, report = diagnosis(market, capsys)
    assert code == 2
    assert "1 of 24 images cannot be read" in report
    assert broken.name in report
    assert diagnosis(market, capsys, quick=True)[0] == 0


def test_test_images_that_also_train_are_found_by_their_bytes(market: Path, capsys) -> None:
    image = next((market / "bounding_box_train").iterdir())
    shutil.copy(image, market / "bounding_box_test" / "0005_c2s1_000009_00.png")
    code, report = diagnosis(market, capsys)
    assert code == 2
    assert f"1 test images are byte for byte training images: {image.name} = 0005_c2s1_000009_00.png" in report


def test_a_person_on_both_sides_is_a_fault(market: Path, capsys) -> None:
    train = next((market / "bounding_box_train").iterdir())
    Image.new("RGB", (8, 16)).save(market / "bounding_box_test" / train.name)
    code, report = diagnosis(market, capsys, quick=True)
    assert code == 2
    assert "1 people both train and test" in report


def test_one_camera_is_a_fault_and_a_lost_query_a_remark(market: Path, capsys) -> None:
    for path in (market / "bounding_box_test").glob("0004_c2*"):
        path.unlink()
    code, report = diagnosis(market, capsys, quick=True)
    assert code == 0
    assert "1 of 3 queries have no match from another camera" in report
    for path in (market / "bounding_box_test").glob("*_c2*"):
        path.unlink()
    code, report = diagnosis(market, capsys, quick=True)
    assert code == 2
    assert "none of 3 queries has a match from another camera: all test images come from one camera" in report
    assert "cannot be used" in report


def copy(image: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(image, place)


def test_a_query_that_stands_in_the_gallery_under_another_camera_is_a_fault(market: Path, capsys) -> None:
    query = market / "query" / "0005_c1s1_000000_00.png"
    copy(query, market / "bounding_box_test" / "0005_c1s1_000009_00.png")  # what the usual rule leaves out does no harm
    assert diagnosis(market, capsys)[0] == 0
    copy(query, market / "bounding_box_test" / "0005_c2s1_000009_00.png")
    code, report = diagnosis(market, capsys)
    assert code == 2
    assert "1 queries stand in the gallery themselves (byte for byte), so finding them is no feat: " in report
    assert "0005_c1s1_000000_00.png = 0005_c2s1_000009_00.png" in report


def test_a_query_that_stands_in_the_gallery_as_somebody_else_is_a_fault(market: Path, capsys) -> None:
    (market / "bounding_box_test" / "0006_c1s1_000009_00.png").symlink_to(market / "query" / "0005_c1s1_000000_00.png")
    code, report = diagnosis(market, capsys)
    assert code == 2
    assert "1 queries stand in the gallery as other people (byte for byte)" in report


def test_a_training_picture_under_two_people_is_a_fault(market: Path, capsys) -> None:
    train = market / "bounding_box_train"
    copy(train / "0001_c1s1_000000_00.png", train / "0001_c1s1_000009_00.png")  # twice the same person: only that
    assert diagnosis(market, capsys)[0] == 0
    copy(train / "0001_c1s1_000000_00.png", train / "0002_c1s1_000009_00.png")
    code, report = diagnosis(market, capsys)
    assert code == 2
    assert "training pictures stand under two people, byte for byte: 0001_c1s1_000000_00.png = 0002" in report


@pytest.mark.parametrize(("folder", "what"), [("query", "query"), ("bounding_box_test", "gallery")])
def test_a_test_picture_that_repeats_another_is_said(market: Path, capsys, folder: str, what: str) -> None:
    image = min((market / folder).iterdir())
    copy(image, image.with_name(image.name.replace("_00.png", "_01.png")))
    code, report = diagnosis(market, capsys)
    assert code == 0
    assert f"note:  1 {what} images repeat another one byte for byte: {image.name} = " in report


def csv_set(market: Path, *more: str) -> Path:
    """The set as a CSV file beside its folders."""
    parts = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
    rows = [
        f"{folder}/{path.name},{path.name[:4]},{path.name[6]},{part}"
        for folder, part in parts.items()
        for path in sorted((market / folder).iterdir())
    ]
    (market / "set.csv").write_text("\n".join(["path,person,camera,split", *rows, *more]))
    return market / "set.csv"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("query/0005_c1s1_000000_00.png,0005,2,gallery", "1 queries stand in the gallery themselves (the same file)"),
        ("query/0005_c1s1_000000_00.png,0005,,gallery", "1 queries stand in the gallery themselves (the same file)"),
        (
            "query/0005_c1s1_000000_00.png,0006,1,gallery",
            "1 queries stand in the gallery as other people (the same file)",
        ),
        ("./query/0005_c1s1_000000_00.png,0005,2,query", "set.csv, line 26: './query/0005_c1s1_000000_00.png' stands"),
    ],
)
def test_lists_that_name_a_picture_twice_are_refused_without_reading_it(
    market: Path, run_upreid, row: str, words: str
) -> None:
    done = run_upreid("doctor", "csv", csv_set(market, row), "--quick")
    assert done.returncode == 2
    assert words in done.stdout + done.stderr


def test_a_set_of_one_camera_or_of_unknown_ones_is_told_apart(market: Path, capsys) -> None:
    path = csv_set(market)
    path.write_text(
        "\n".join(",".join([*row.split(",")[:2], "", row.split(",")[3]]) for row in path.read_text().split("\n"))
    )
    path.write_text(path.read_text().replace("path,person,,split", "path,person,camera,split"))
    assert doctor.run(DoctorConfig(name="csv", root=path)) == 0
    report = capsys.readouterr().out
    assert "note:  24 images have no camera label: nothing of the same person is left out" in report
    assert "  query          3 images       3 people    0 cameras" in report


def test_a_set_for_testing_only_can_be_used_and_that_is_said(market: Path, capsys) -> None:
    shutil.rmtree(market / "bounding_box_train")
    assert doctor.run(DoctorConfig(name="market-style", root=market)) == 0
    report = capsys.readouterr().out
    assert "note:  there are no training images: this set is one to test on, not to train on" in report
    assert report.strip().endswith("this set can be used")


def test_people_with_one_image_and_a_single_training_camera_are_remarked_on(market: Path, capsys) -> None:
    for path in (market / "bounding_box_train").iterdir():
        if "_c2" in path.name or path.name.startswith("0001_c1s1_000001"):
            path.unlink()
    code, report = diagnosis(market, capsys, quick=True)
    assert code == 0
    assert "1 training people have one image only" in report
    assert "all training images come from one camera" in report


def unlabelled(root: Path, *flags: str) -> int:
    return main(["doctor", "unlabelled", str(root), *flags])


def test_images_without_labels_are_described_with_their_tracklets_and_copies(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{number:04d}.png,t{number // 4}" for number in range(24)]
    (pictures / "tracklets.csv").write_text("\n".join(["file,tracklet", *rows]) + "\n")
    for name in ("0001", "0030"):
        (pictures / f"{name}.png").write_bytes((pictures / "0000.png").read_bytes())
    assert unlabelled(pictures, "--tracklets", "own") == 0
    report = capsys.readouterr().out
    assert unlabelled(pictures) == 0
    assert capsys.readouterr().out == report
    assert "tracklets: 6 of 4 to 4 crops (10 %, 50 %, 90 %: 4, 4, 4); 8 of 32 crops are single (25%)" in report
    assert "height 24, 24, 24, width 12, 12, 12 pixels" in report
    assert "note:  32 images are lower than 32 pixels" in report
    said = (
        "2 images repeat another one byte for byte, 1 of them from different tracklets: 0000.png = 0001.png, 0000.png"
    )
    assert said in report
    assert report.strip().endswith("ok:    every image can be read\nthese images can be trained on")


def test_many_unreadable_images_without_labels_are_a_fault_and_five_are_named(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        (pictures / f"{number:04d}.png").write_bytes(b"no picture")
    assert unlabelled(pictures) == 2
    report = capsys.readouterr().out
    assert "FAULT: 6 of 32 images cannot be read" in report
    assert [f"{number:04d}.png" in report for number in range(6)] == [True] * 5 + [False]
    assert report.strip().endswith("these images cannot be used as they are")
    assert unlabelled(pictures, "--quick") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["unlabelled", "ROOT", "--tracklets", "none.csv"], "--tracklets: no list of tracklets at none.csv"),
        (["unlabelled", "ROOT", "--tracklets", "folders"], "--tracklets folders: each of the 32 crops"),
        (["market1501", "ROOT", "--tracklets", "own"], "say: upreid doctor unlabelled"),
    ],
)
def test_tracklets_that_cannot_be_are_refused_in_one_line(
    words: list[str], said: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *(str(pictures) if word == "ROOT" else word for word in words)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert said in errors[0]
