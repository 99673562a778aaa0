"""Tracklets: how a list is read, and which crop is drawn beside another."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upreid.data.sources.recognise import open_source
from upreid.data.tracklet_lists import read_tracklets
from upreid.data.tracklets import Tracklets, numbered, numbered_anew
from upreid.errors import DataError, InputError, UpreidError

labels = st.lists(st.integers(0, 5), min_size=1, max_size=40)


def far_enough(labels: list[int], moments: list[int], image: int, gap: int) -> list[int]:
    """The slow twin: all crops of an image's tracklet that may be its mate."""
    others = [other for other, label in enumerate(labels) if label == labels[image] and other != image] or [image]
    distances = [abs(moments[other] - moments[image]) for other in others]
    least = min(gap, max(distances))
    return [other for other, distance in zip(others, distances, strict=True) if distance >= least]


@given(labels=labels, seed=st.integers(0, 99), epoch=st.integers(0, 9), gap=st.integers(1, 4))
def test_a_mate_is_of_the_same_tracklet_and_as_far_away_as_asked(
    labels: list[int], seed: int, epoch: int, gap: int
) -> None:
    known = Tracklets(numbered([str(label) for label in labels]))
    images = np.arange(len(labels))
    mates = known.mates(images, seed=seed, epoch=epoch, gap=gap)
    places = [labels[:image].count(label) for image, label in enumerate(labels)]
    for image, mate in zip(images, mates, strict=True):
        assert mate in far_enough(labels, places, image, gap)


@given(
    crops=st.lists(st.tuples(st.integers(0, 3), st.integers(-20, 20)), min_size=1, max_size=30),
    seed=st.integers(0, 99),
    gap=st.integers(1, 50),
)
def test_where_frames_are_known_the_distance_is_that_of_frames(
    crops: list[tuple[int, int]], seed: int, gap: int
) -> None:
    labels, frames = [label for label, _ in crops], [frame for _, frame in crops]
    known = Tracklets(numbered([str(label) for label in labels]), np.array(frames))
    images = np.arange(len(crops))
    mates = known.mates(images, seed=seed, epoch=1, gap=gap)
    for image, mate in zip(images, mates, strict=True):
        assert mate in far_enough(labels, frames, image, gap)


@given(labels=labels, seed=st.integers(0, 99))
def test_frames_in_steps_of_one_mean_what_places_mean(labels: list[int], seed: int) -> None:
    numbers, images = numbered([str(label) for label in labels]), np.arange(len(labels))
    frames = np.array([7 * label + labels[:image].count(label) for image, label in enumerate(labels)])
    drawn = [
        known.mates(images, seed=seed, epoch=2, gap=2) for known in (Tracklets(numbers), Tracklets(numbers, frames))
    ]
    np.testing.assert_array_equal(*drawn)
    assert Tracklets(numbers).fingerprint != Tracklets(numbers, frames).fingerprint


@given(labels=labels, seed=st.integers(0, 99))
def test_a_share_of_the_images_is_paired_as_it_would_be_and_the_others_are_their_own_mates(
    labels: list[int], seed: int
) -> None:
    known, images = Tracklets(numbered([str(label) for label in labels])), np.arange(len(labels))
    whole, part = (known.mates(images, seed=seed, epoch=0, share=share) for share in (1.0, 0.5))
    assert ((part == whole) | (part == images)).all()


def test_the_share_is_about_that_and_drawn_anew_in_each_epoch() -> None:
    known, images = Tracklets(np.arange(2000) // 2), np.arange(2000)
    first, second = (known.mates(images, seed=1, epoch=epoch, share=0.25) != images for epoch in (0, 1))
    assert 0.2 < first.mean() < 0.3
    assert 0.02 < (first & second).mean() < 0.11


@given(labels=labels, kept=st.lists(st.booleans(), min_size=40, max_size=40))
def test_tracklets_of_some_crops_are_numbered_as_if_they_had_been_alone(labels: list[int], kept: list[bool]) -> None:
    some = np.array([image for image in range(len(labels)) if kept[image]], dtype=np.int64)
    anew = numbered_anew(numbered([str(label) for label in labels])[some])
    np.testing.assert_array_equal(anew, numbered([str(labels[image]) for image in some]))


def test_frames_beyond_64_bits_are_refused() -> None:
    with pytest.raises(DataError, match="further apart"):
        Tracklets(np.arange(3000) // 2, np.tile([0, 2**53], 1500))


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


def test_a_column_of_frames_sets_the_order_and_names_of_luperson_nl_have_frames(pictures: Path, tmp_path: Path) -> None:
    rows = ["file,tracklet,note,frame", "0000.png,a,x,30", "0001.png,a,,-10", "", "0002.png,a,,20", "0003.png,,,"]
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    known = read_tracklets(tmp_path / "list.csv", open_source(pictures))
    assert known.frames is not None
    assert known.order[:3].tolist() == [1, 2, 0]
    assert known.moments[:4].tolist() == [40, 0, 30, 0]
    root = tmp_path / "nl"
    root.mkdir()
    for name in ("000001_0000100_00", "000001_0000009_01", "other"):
        (root / f"{name}.png").write_bytes((pictures / "0000.png").read_bytes())
    assert read_tracklets(Path("names"), open_source(root)).moments.tolist() == [0, 91, 0]


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        ("file,tracklet\nno.png,a\n0000.png,a\n", InputError, ["1 of the 2 files", "no.png"]),
        ("file,tracklet\n0000.png,a\n0000.png,b\n", DataError, ["0000.png twice", "a and b"]),
        ("file,tracklet\n0000.png,a\n0001.png,b\n", InputError, ["alone in its tracklet"]),
        ("0000.png,a\n", DataError, ["first line must be file,tracklet"]),
        ("file,tracklet\n0000.png\n", DataError, ["line 2"]),
        ("", DataError, ["begins with nothing"]),
        ("file,tracklet,frame\n0000.png,a,1\n\n0001.png,a,x\n", DataError, ["line 4", "'x'", "whole number"]),
        ("file,tracklet,frame\n0000.png,a,1\n0001.png,a\n", DataError, ["line 3", "nothing as its frame"]),
        ("file,tracklet,frame\n0000.png,a,1\n0000.png,a,2\n", DataError, ["0000.png twice", "frames 1 and 2"]),
        ("file,tracklet\n0000.png,a\n0000.png,\n", DataError, ["a and (none)"]),
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


def test_a_folder_with_the_name_of_a_word_is_no_list(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "crops"
    for number, picture in enumerate(sorted(pictures.iterdir())):
        (root / f"{number // 4}").mkdir(parents=True, exist_ok=True)
        picture.rename(root / f"{number // 4}" / picture.name)
    (tmp_path / "folders").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_tracklets(Path("folders"), open_source(Path("crops"))).sizes.tolist() == [4] * 8


def test_a_source_without_tracklets_of_its_own_says_so(pictures: Path) -> None:
    with pytest.raises(
        InputError, match=r"--data.tracklets own: .* carries tracklets, and there is no .*tracklets.csv"
    ):
        read_tracklets(Path("own"), open_source(pictures))


def test_a_missing_list_names_what_may_be_given(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="own, folders, names"):
        read_tracklets(tmp_path / "none.csv", open_source(pictures))
