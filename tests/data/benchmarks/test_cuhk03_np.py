from collections.abc import Callable
from pathlib import Path

import pytest

from upreid.data.benchmarks.cuhk03 import READERS
from upreid.errors import InputError

read_labeled, read_detected = READERS["cuhk03-np-labeled"], READERS["cuhk03-np-detected"]


def test_names_give_person_and_camera_and_png_stays_png(rendered: Callable[[str], Path]) -> None:
    found = read_labeled(rendered("cuhk03-np-labeled"))
    assert {record.path.suffix for record in found.train} == {".png"}
    assert [(record.person, record.camera) for record in found.query] == [
        (person, camera) for person in (5, 6, 7, 8) for camera in (1, 2)
    ]
    assert found.facts["variant"] == "labelled boxes, 767/700 protocol"


@pytest.mark.parametrize("place", ["cuhk03_np", "cuhk03-np", ""])
def test_boxes_are_chosen_by_name_where_both_kinds_are_there(place: str, copied: Callable[[str], Path]) -> None:
    labeled, detected = copied("cuhk03-np-labeled"), copied("cuhk03-np-detected")
    root = labeled.parent / "both"
    home = root / place
    home.mkdir(parents=True)
    for folder in (labeled / "cuhk03-np" / "labeled", detected / "cuhk03-np" / "detected"):
        folder.rename(home / folder.name)
    assert read_labeled(root).root == home / "labeled"
    assert len(read_labeled(root).train) == len(read_detected(root).train) + 1


def test_a_folder_of_boxes_is_never_read_as_the_other_kind(copied: Callable[[str], Path]) -> None:
    boxes = copied("cuhk03-np-labeled") / "cuhk03-np" / "labeled"
    assert read_labeled(boxes).root == boxes
    with pytest.raises(InputError, match="labeled is called labeled, and cuhk03-np-detected was asked for"):
        read_detected(boxes)


def test_upper_case_and_strays_do_not_matter(copied: Callable[[str], Path]) -> None:
    root = copied("cuhk03-np-labeled")
    before = read_labeled(root)
    query = before.query[0].path
    query.rename(query.with_suffix(".PNG"))
    for stray in ("Thumbs.db", ".DS_Store", "._" + query.name, "desktop.ini"):
        (query.parent / stray).touch()
    after = read_labeled(root)
    assert after.query[0].path.suffix == ".PNG"
    assert len(after.query) == len(before.query)
    assert after.facts["names_not_matched"] == 0
