"""Tracklets: how a list is read, and which crop is drawn beside another."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upreid.data.sources.recognise import open_source
from upreid.data.tracklets import Tracklets, numbered, read_tracklets
from upreid.errors import DataError, InputError, UpreidError

labels = st.lists(st.integers(0, 5), min_size=1, max_size=40)


def far_enough(known: Tracklets, image: int, gap: int) -> list[int]:
    """The slow twin: all crops of an image's tracklet that may be its mate."""
    members = [other for other in range(len(known.numbers)) if known.numbers[other] == known.numbers[image]]
    place = members.index(image)
    far = [member for number, member in enumerate(members) if abs(number - place) >= gap]
    most = max(abs(number - place) for number in range(len(members)))
    return far or [member for number, member in enumerate(members) if abs(number - place) == most]


@given(labels=labels, seed=st.integers(0, 99), epoch=st.integers(0, 9), gap=st.integers(1, 4))
def test_a_mate_is_of_the_same_tracklet_and_as_far_away_as_asked(
    labels: list[int], seed: int, epoch: int, gap: int
) -> None:
    known = Tracklets(numbered([str(label) for label in labels]))
    images = np.arange(len(labels))
    mates = known.mates(images, seed=seed, epoch=epoch, gap=gap)
    for image, mate in zip(images, mates, strict=True):
        assert mate in far_enough(known, image, gap)


@given(labels=labels, seed=st.integers(0, 99))
def test_a_mate_belongs_to_the_image_whatever_it_is_drawn_with(labels: list[int], seed: int) -> None:
    known = Tracklets(numbered([str(label) for label in labels]))
    images = np.arange(len(labels))
    together = known.mates(images, seed=seed, epoch=3)
    alone = np.concatenate([known.mates(images[i : i + 1], seed=seed, epoch=3) for i in images])
    np.testing.assert_array_equal(together, alone)


def test_every_other_crop_is_drawn_about_as_often() -> None:
    known = Tracklets(np.zeros(5, dtype=np.int64))
    drawn = np.concatenate([known.mates(np.array([2]), seed=1, epoch=epoch) for epoch in range(4000)])
    counts = np.bincount(drawn, minlength=5)
    assert counts[2] == 0
    assert (np.abs(counts[[0, 1, 3, 4]] - 1000) < 150).all()


FORMS = {
    "list.csv": "file,tracklet\n0000.png,a\n0001.png,a\n0002.png,\n0003.png,b\n0004.png,b\n",
    "annos.json": json.dumps(
        [{"file_path": f"000{i}.png", "id": label} for i, label in enumerate([7, 7, 8, 9, 9])],
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_forms_of_a_list_mean_the_same(name: str, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FORMS[name])
    known = read_tracklets(tmp_path / name, open_source(pictures))
    assert known.numbers[:5].tolist() == [0, 0, 1, 2, 2]
    assert len(np.unique(known.numbers)) == 30
    assert known.description == (
        "tracklets: 2 of 2 to 2 crops (10 %, 50 %, 90 %: 2, 2, 2); 28 of 32 crops are single (88%)"
    )


def test_keys_of_luperson_nl_carry_their_people(pictures: Path, tmp_path: Path) -> None:
    table = {"keys": [f"{i:04d}.png".encode() for i in range(4)], "pids": [0, 1, 1, 0]}
    (tmp_path / "keys.pkl").write_bytes(pickle.dumps(table))
    assert read_tracklets(tmp_path / "keys.pkl", open_source(pictures)).numbers[:4].tolist() == [0, 1, 1, 0]


def test_a_list_beside_the_images_is_found_and_names_them_from_its_own_folder(pictures: Path) -> None:
    (pictures / "part").mkdir()
    for number in range(2):
        (pictures / f"{number:04d}.png").rename(pictures / "part" / f"{number}.png")
    (pictures / "tracklets.csv").write_text("file,tracklet\npart/0.png,x\npart/1.png,x\n")
    own = read_tracklets(Path("own"), open_source(pictures))
    (pictures / "tracklets.csv").unlink()
    (pictures / "part" / "list.csv").write_text("file,tracklet\n0.png,x\n1.png,x\n")
    inside = read_tracklets(pictures / "part" / "list.csv", open_source(pictures))
    np.testing.assert_array_equal(own.numbers, inside.numbers)
    assert own.sizes.max() == 2
    assert own.fingerprint == inside.fingerprint


def test_folders_and_names_tell_tracklets(tmp_path: Path, pictures: Path) -> None:
    names = ["a/000001_0000005_00", "a/000001_0000009_01", "a/000002_0000005_01", "b/000001_0000001_00", "b/other"]
    root = tmp_path / "nl"
    for name, picture in zip(names, sorted(pictures.iterdir()), strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture.rename(root / f"{name}.png")
    assert read_tracklets(Path("folders"), open_source(root)).numbers.tolist() == [0, 0, 0, 1, 1]
    assert read_tracklets(Path("names"), open_source(root)).numbers.tolist() == [0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        ("file,tracklet\nno.png,a\n0000.png,a\n", InputError, ["1 of the 2 files", "no.png"]),
        ("file,tracklet\n0000.png,a\n0000.png,b\n", DataError, ["0000.png twice", "a and b"]),
        ("file,tracklet\n0000.png,a\n0001.png,b\n", InputError, ["alone in its tracklet"]),
        ("0000.png,a\n", DataError, ["first line must be file,tracklet"]),
        ("file,tracklet\n0000.png\n", DataError, ["line 2"]),
        ("", DataError, ["begins with nothing"]),
    ],
)
def test_a_list_that_does_not_fit_is_refused_in_one_line(
    content: str, kind: type[UpreidError], words: list[str], pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(kind) as error:
        read_tracklets(tmp_path / "list.csv", open_source(pictures))
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "content"), [("a.json", "{"), ("a.json", '[{"id": 1}]'), ("a.pkl", "x")])
def test_a_damaged_list_is_refused(name: str, content: str, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError):
        read_tracklets(tmp_path / name, open_source(pictures))


def test_a_missing_list_names_what_may_be_given(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="own, folders, names"):
        read_tracklets(tmp_path / "none.csv", open_source(pictures))
