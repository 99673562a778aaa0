import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from upreid.commands import doctor
from upreid.config.doctor import DoctorConfig


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


def test_people_with_one_image_and_a_single_training_camera_are_remarked_on(market: Path, capsys) -> None:
    for path in (market / "bounding_box_train").iterdir():
        if "_c2" in path.name or path.name.startswith("0001_c1s1_000001"):
            path.unlink()
    code, report = diagnosis(market, capsys, quick=True)
    assert code == 0
    assert "1 training people have one image only" in report
    assert "all training images come from one camera" in report
