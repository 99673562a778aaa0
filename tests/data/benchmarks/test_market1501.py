from pathlib import Path

import pytest

from upreid.data.benchmarks.market1501 import read_market1501, read_market1501_500k
from upreid.errors import DataError, InputError

FILES = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c2s1_000451_03.jpg", "0007_c3s3_077419_03.JPG"],
    "query": ["0001_c1s1_001051_00.jpg", "0003_c6s1_001051_00.png"],
    "bounding_box_test": [
        "-1_c1s1_000401_03.jpg",
        "0000_c1s1_000151_01.jpg",
        "0001_c2s1_001976_01.jpg",
        "0003_c4s6_015641_03.jpeg",
        "._0003_c4s6_015641_03.jpeg",
        "Thumbs.db",
        "readme.txt",
        "holiday.jpg",
    ],
}


def write(root: Path) -> Path:
    for folder, names in FILES.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / name).write_bytes(b"not looked at")
    return root


def test_people_and_cameras_come_from_the_names_in_order(tmp_path: Path) -> None:
    found = read_market1501(write(tmp_path))
    assert [(record.person, record.camera) for record in found.train] == [(2, 1), (2, 2), (7, 3)]
    assert [(record.person, record.camera) for record in found.query] == [(1, 1), (3, 6)]


def test_junk_is_dropped_distractors_stay_and_both_are_counted(tmp_path: Path) -> None:
    found = read_market1501(write(tmp_path))
    assert [record.person for record in found.gallery] == [0, 1, 3]
    assert (found.facts["junk_dropped"], found.facts["distractors"], found.facts["names_not_matched"]) == (1, 1, 1)
    assert found.facts["first_names_not_matched"] == ["holiday.jpg"]
    assert found.facts["train"] == {"images": 3, "people": 2, "cameras": 3}


@pytest.mark.parametrize("place", ["", "Market-1501-v15.09.15", "market1501", "run_1_c2/market1501"])
def test_the_set_is_found_at_its_usual_places_and_a_parents_name_means_nothing(tmp_path: Path, place: str) -> None:
    write(tmp_path / place)
    root = tmp_path / "run_1_c2" if place.startswith("run") else tmp_path
    found = read_market1501(root)
    assert [record.person for record in found.train] == [2, 2, 7]
    assert found.root == tmp_path / place


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        read_market1501(tmp_path / "none")
    (tmp_path / "query").mkdir()
    with pytest.raises(InputError, match=r"lacks bounding_box_train, bounding_box_test \(it has query\)"):
        read_market1501(tmp_path)
    for folder in FILES:
        (tmp_path / folder).mkdir(exist_ok=True)
    with pytest.raises(DataError, match="holds no images named like"):
        read_market1501(tmp_path)


def test_the_500k_distractors_join_the_gallery_as_nobody_and_only_by_name(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(InputError, match="no folder images with the 500k distractors"):
        read_market1501_500k(tmp_path)
    (tmp_path / "images").mkdir()
    for name in ("0000_c1s2_000001_01.jpg", "-1_c5s2_000002_01.jpg", "0002_c6s2_000003_01.jpg"):
        (tmp_path / "images" / name).touch()
    found = read_market1501_500k(tmp_path)
    assert [(record.person, record.camera) for record in found.gallery[-3:]] == [(0, 5), (0, 1), (0, 6)]
    assert found.facts["distractors"] == 4
    assert len(read_market1501(tmp_path).gallery) == len(found.gallery) - 3
