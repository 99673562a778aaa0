"""Folders, names and lists of each layout, as the real sets have them."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from upreid.synthetic import layout_cuhk03
from upreid.synthetic.corpus import wild_shots
from upreid.synthetic.layouts import LABELLED, MSMT17_LISTS, UNLABELLED, msmt17_shots, write_msmt17_lists
from upreid.synthetic.settings import CorpusSettings

CORPUS = CorpusSettings(identities=9, seed=1, height=32, width=16)

NAMES = {
    "market1501": r"(bounding_box_train|query|bounding_box_test)/\d{4}_c[1-6]s1_\d{6}_00\.jpg",
    "cuhk03-np-labeled": r"cuhk03-np/labeled/(bounding_box_train|query|bounding_box_test)/\d{4}_c[12]_\d+\.png",
    "cuhk03-np-detected": r"cuhk03-np/detected/(bounding_box_train|query|bounding_box_test)/\d{4}_c[12]_\d+\.png",
    "cuhk03-raw": r"[1-5]_\d{3}_[12]_(0\d|10)\.png",
    "cuhk03-raw-v5": r"[1-5]_\d{3}_[12]_(0\d|10)\.png",
    "msmt17-v1": r"MSMT17_V1/(train|test)/(\d{4})/\2_\d{3}_\d{2}_\d{4}(morning|noon)_\d{4}_0\.jpg",
    "msmt17-v2": r"MSMT17_V2/mask_(train|test)_v2/(\d{4})/\2_\d{3}_\d{2}_\d{4}(morning|noon)_\d{4}_0\.jpg",
    "msmt17-ecn": r"(bounding_box_train|query|bounding_box_test)/\d{4}_c\d{1,2}_\d{4}\.jpg",
    "personx": r"PersonX/(bounding_box_train|query|bounding_box_test)/\d{4}_c(3|4|8|10|11|12)s1_\d{2}\.jpg",
    "personx-original": r"PersonX_v1/([1-6])/(bounding_box_train|query|bounding_box_test)/\d{4}_c\1s1_\d{2}\.jpg",
}


@pytest.mark.parametrize("name", LABELLED)
def test_names_are_those_of_the_real_set_and_no_two_are_alike(name: str) -> None:
    paths = [str(shot.path) for shot in LABELLED[name].shots(CORPUS)]
    assert [path for path in paths if not re.fullmatch(NAMES[name], path)] == []
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("name", LABELLED)
def test_every_layout_shows_the_same_people_and_pictures_of_cameras_that_exist(name: str) -> None:
    shots = LABELLED[name].shots(CORPUS)
    assert {shot.person for shot in shots} == set(range(1, 10))
    assert {shot.camera for shot in shots} == set(range(1, 3 if name.startswith("cuhk03") else 7))


@pytest.mark.parametrize("name", [name for name in LABELLED if not name.startswith("cuhk03-raw")])
def test_train_and_test_people_are_others_and_every_test_person_is_searched_for(name: str) -> None:
    people: dict[str, set[int]] = {"train": set(), "test": set()}
    queries = set()
    for shot in LABELLED[name].shots(CORPUS):
        people["train" if "train" in str(shot.path) else "test"].add(shot.person)
        queries |= {shot.person} if shot.path.parts[-2] == "query" else set()
    assert people == {"train": {1, 2, 3, 4}, "test": {5, 6, 7, 8, 9}}
    assert queries == (set() if name in ("msmt17-v1", "msmt17-v2") else people["test"])


def test_the_lists_of_msmt17_cover_every_picture_once(tmp_path: Path) -> None:
    version = "MSMT17_V2"
    (tmp_path / version).mkdir()
    write_msmt17_lists(tmp_path, CORPUS, version)
    lines = {part: (tmp_path / version / name).read_text().splitlines() for part, name in MSMT17_LISTS.items()}
    assert {part: len(some) for part, some in lines.items()} == {"train": 44, "val": 4, "query": 30, "gallery": 30}
    assert lines["train"][0] == "0000/0000_000_01_0113noon_0008_0.jpg 0"
    assert lines["query"][-1].endswith(" 4")  # the fifth test person: numbered from 0 again
    folders = {"train": "mask_train_v2", "val": "mask_train_v2", "query": "mask_test_v2", "gallery": "mask_test_v2"}
    named = [f"{version}/{folders[part]}/{line.split()[0]}" for part in lines for line in lines[part]]
    assert sorted(named) == sorted(str(shot.path) for shot in msmt17_shots(CORPUS, version))


def test_the_renamed_pictures_are_the_official_ones() -> None:
    official, renamed = LABELLED["msmt17-v2"].shots(CORPUS), LABELLED["msmt17-ecn"].shots(CORPUS)
    assert [(s.person, s.camera, s.image) for s in official] == [(s.person, s.camera, s.image) for s in renamed]


def test_a_detector_misses_some_of_the_labelled_boxes_and_finds_no_others() -> None:
    boxes = {kind: {entry.name for entry in layout_cuhk03.entries(CORPUS, kind)} for kind in layout_cuhk03.KINDS}
    assert boxes["detected"] < boxes["labeled"]
    assert len(boxes["labeled"]) == 9 * 10 - 2  # people 4 and 8
    assert len(boxes["detected"]) == 9 * 10 - 2 - 3  # people 3, 6 and 9


@pytest.mark.parametrize("kind", layout_cuhk03.KINDS)
def test_one_query_per_test_person_and_camera_and_none_of_them_in_the_gallery(kind: str) -> None:
    entries = list(layout_cuhk03.entries(replace(CORPUS, identities=40), kind))
    queries = Counter((entry.person, entry.view) for entry in entries if entry.part == "query")
    assert queries == Counter({(person, view): 1 for person in range(21, 41) for view in (1, 2)})
    names = {part: {entry.name for entry in entries if entry.part == part} for part in ("train", "query", "gallery")}
    assert sum(map(len, names.values())) == len(entries)


def test_the_original_personx_searches_a_gallery_that_holds_the_query_itself() -> None:
    folders: dict[str, set[str]] = {}
    for shot in LABELLED["personx-original"].shots(CORPUS):
        folders.setdefault(shot.path.parts[-2], set()).add(shot.path.name)
    assert folders["query"] < folders["bounding_box_test"]


def test_luperson_shows_the_pictures_of_wild_with_and_without_folders_for_videos() -> None:
    shots, wild = UNLABELLED["luperson-folder"].shots(CORPUS), wild_shots(CORPUS)
    assert [(s.person, s.camera, s.image) for s in shots] == [(s.person, s.camera, s.image) for s in wild]
    assert len({shot.path for shot in shots}) == len(wild)
    with_videos = [bool(re.fullmatch(r"[A-Z]{2}/[A-Z]{2}/\d{4}/\d{8}\.jpg", str(shot.path))) for shot in shots]
    without = [bool(re.fullmatch(r"[A-Z]{2}/[A-Z]{2}/\d{4}_\d{8}\.jpg", str(shot.path))) for shot in shots]
    assert any(with_videos)
    assert any(without)
    assert [one or other for one, other in zip(with_videos, without, strict=True)] == [True] * len(wild)
