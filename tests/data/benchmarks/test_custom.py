from pathlib import Path

import pytest

from upreid.data.benchmarks.custom import read_csv, read_market_style
from upreid.errors import InputError

ROWS = """path,person,camera,split
a/1.jpg,zoe,door,train
a/2.jpg,anna,stairs,train
b/3.JPG,7,door,query
"b/4, really.png",7,stairs,gallery
"""


def write(folder: Path, rows: str = ROWS) -> Path:
    for name in ("a/1.jpg", "a/2.jpg", "b/3.JPG", "b/4, really.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "set.csv").write_text(rows, encoding="utf-8-sig")
    return folder / "set.csv"


def test_people_and_cameras_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    found = read_csv(write(tmp_path))
    assert [(record.person, record.camera) for record in found.train] == [(2, 0), (1, 1)]
    assert [(record.person, record.camera) for record in (*found.query, *found.gallery)] == [(0, 0), (0, 1)]
    assert [record.path for record in found.gallery] == [tmp_path / "b" / "4, really.png"]
    assert found.shares_ids
    assert found.facts["differs_from_published"] == []


def test_columns_may_stand_in_any_order_beside_others_and_spaces_do_not_matter(tmp_path: Path) -> None:
    rows = "split,weather,camera,path,person\ntrain , rain, 1, a/1.jpg, x\ntrain,,1,a/2.jpg,x \n"
    found = read_csv(write(tmp_path, rows))
    assert [(record.person, record.camera) for record in found.train] == [(0, 0), (0, 0)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("path;person;camera;split\n", "line 1: columns are path;person;camera;split; needed are path, person, camera"),
        (ROWS + "a/1.jpg,zoe,door,test\n", "line 6: split is 'test'; it must be train, query, gallery"),
        (ROWS + "a/1.jpg,zoe,door\n", "line 6: more or fewer fields"),
        (ROWS + "a/1.jpg,zoe,door,train,x\n", "line 6: more or fewer fields"),
        (ROWS.replace("zoe", " "), "line 2: person is empty"),
        (ROWS.replace("a/2.jpg", "a/5.jpg"), "1 of 4 images that"),
        ("path,person,camera,split\n", "no rows below its header"),
        ("", "line 1: columns are ; needed"),
    ],
)
def test_what_is_wrong_with_a_csv_is_one_line_with_its_number(rows: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_csv(write(tmp_path, rows))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_root_that_is_no_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; give a CSV file"):
        read_csv(tmp_path)
    with pytest.raises(InputError, match="is not there; give a CSV file"):
        read_csv(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        read_csv(tmp_path / "image.csv")


def test_market_style_folders_may_have_any_number_of_digits(tmp_path: Path) -> None:
    files = {"bounding_box_train": "123456_c17_x.bmp", "query": "7_c2s1.JPEG", "bounding_box_test": "7_c100_a.png"}
    for folder, name in files.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    for name in ("-1_c3_x.png", "0_c3_x.png", "notes.png"):
        (tmp_path / "bounding_box_test" / name).touch()
    found = read_market_style(tmp_path)
    assert [(record.person, record.camera) for record in (*found.train, *found.query)] == [(123456, 17), (7, 2)]
    assert [(record.person, record.camera) for record in found.gallery] == [(0, 3), (7, 100)]
    assert (found.facts["junk_dropped"], found.facts["distractors"], found.facts["names_not_matched"]) == (1, 1, 1)
