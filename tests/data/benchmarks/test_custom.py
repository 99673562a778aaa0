import os
import shutil
from pathlib import Path

import pytest

from upreid.data.benchmarks import open_benchmark, read_benchmark
from upreid.data.benchmarks.benchmark import Benchmark
from upreid.data.benchmarks.custom import read_csv, read_market_style
from upreid.errors import DataError, InputError

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


def labels(found: Benchmark) -> list[tuple[int | None, int | None]]:
    return [(record.person, record.camera) for record in found.records]


def test_a_camera_may_be_unknown_for_all_images_or_for_some(tmp_path: Path) -> None:
    found = read_csv(write(tmp_path, ROWS.replace("stairs", " ")))
    assert labels(found) == [(2, 0), (1, None), (0, 0), (0, None)]
    assert found.facts["unknown_cameras"] == 2
    assert found.facts["train"] == {"images": 2, "people": 2, "cameras": 1}
    rows = ["path,person,split", *(",".join(row.split(",")[:2] + row.split(",")[3:]) for row in ROWS.split("\n")[1:4])]
    found = read_csv(write(tmp_path, "\n".join(rows)))
    assert labels(found) == [(2, None), (1, None), (0, None)]
    assert "unknown_cameras" not in read_csv(write(tmp_path)).facts


def test_junk_is_dropped_as_in_folders(tmp_path: Path) -> None:
    found = read_csv(write(tmp_path, ROWS + "a/2.jpg,-1,attic,gallery\n"))
    assert labels(found) == labels(read_csv(write(tmp_path)))
    assert (found.facts["junk_dropped"], found.facts["gallery"]["cameras"]) == (1, 1)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_spreadsheets_of_other_countries_are_read(tmp_path: Path, delimiter: str) -> None:
    rows = ROWS.replace('"b/4, really.png"', "b/4 really.png").replace(",", delimiter).replace("path", "Path ")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "4 really.png").touch()
    assert labels(read_csv(write(tmp_path, rows))) == labels(read_csv(write(tmp_path)))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            "path,person,camera\n",
            "line 1: columns are path, person, camera; needed are path, person, split, and camera",
        ),
        (ROWS + "a/1.jpg,zoe,door,train\n", "line 6: 'a/1.jpg' stands in train already, on line 2"),
        (ROWS + "a/1.jpg,anna,door,train\n", "line 6: 'a/1.jpg' stands in train already, on line 2"),
        (ROWS + "./b/3.JPG,7,stairs,query\n", "line 6: './b/3.JPG' stands in query already, on line 4"),
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
    with pytest.raises(DataError) as caught:
        read_csv(write(tmp_path, rows))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_root_that_is_no_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; give a CSV file"):
        read_csv(tmp_path)
    with pytest.raises(InputError, match="is not there; give a CSV file"):
        read_csv(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match="cannot be read as CSV"):
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


def folders(root: Path, **files: str) -> Path:
    """Write empty files, named in one line for each of `train`, `query` and `test`."""
    places = {"train": "bounding_box_train", "query": "query", "test": "bounding_box_test"}
    for part, names in files.items():
        (root / places[part]).mkdir(parents=True)
        for name in names.split():
            (root / places[part] / name).touch()
    return root


def test_folders_without_cameras_are_sets_of_unknown_cameras(tmp_path: Path) -> None:
    root = folders(tmp_path, train="1_a.jpg 2.jpg", query="3_x.jpg", test="3_c4_y.jpg -1_z.jpg 3_cat.jpg three_c1.jpg")
    found = read_market_style(root)
    assert labels(found) == [(1, None), (2, None), (3, None), (3, 4), (3, None)]
    assert found.facts["unknown_cameras"] == 4
    assert (found.facts["junk_dropped"], found.facts["first_names_not_matched"]) == (1, ["three_c1.jpg"])


@pytest.mark.parametrize("train", ["missing", "empty"])
def test_a_set_for_testing_only_needs_no_training_images(tmp_path: Path, train: str) -> None:
    root = folders(tmp_path, query="0003_c1s1_000151_01.jpg", test="0003_c2s1_000151_01.jpg")
    if train == "empty":
        (root / "bounding_box_train").mkdir()
    found = read_market_style(root)
    assert (len(found.train), len(found.query), len(found.gallery)) == (0, 1, 1)
    assert found.facts["train"] == {"images": 0, "people": 0, "cameras": 0}
    (root / "query" / "0003_c1s1_000151_01.jpg").unlink()
    with pytest.raises(DataError, match=r"query holds no images named like .* \(0 images in all\)"):
        read_market_style(root)


def test_half_a_published_set_is_not_called_by_its_own_name(tmp_path: Path) -> None:
    root = folders(tmp_path, query="0003_c1s1_000151_01.jpg", test="0003_c2s1_000151_01.jpg")
    with pytest.raises(InputError, match=r"lacks bounding_box_train .* extract the whole archive of market1501"):
        read_benchmark("market1501", root)
    shutil.rmtree(root / "query")
    with pytest.raises(InputError) as caught:
        read_market_style(root)
    assert "looks like" not in str(caught.value)


def test_images_of_every_kind_are_read_and_what_is_none_is_counted(tmp_path: Path) -> None:
    root = folders(
        tmp_path,
        train="1_c1.webp 1_c2.jfif 2_c1.TIF 2_c2.tiff 2_c3.bmp",
        query="3_c1.webp ._3_c1.webp Thumbs.db",
        test="3_c2.webp 3_c3.heic 3_c4.heic",
    )
    (root / "bounding_box_test" / "0003").mkdir()
    os.mkfifo(root / "query" / "3_c9.webp")
    found = read_market_style(root)
    assert (len(found.train), len(found.query), len(found.gallery)) == (5, 1, 1)
    assert found.left_out == {".heic": 2, ".db": 1, "hidden": 1, "folders": 1, "pipes, sockets or devices": 1}
    (root / "bounding_box_test" / "3_c2.webp").unlink()
    with pytest.raises(DataError, match=r"0 images in all; left out: 2 \.heic, 1 folders"):
        read_market_style(root)


def test_what_was_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folders(tmp_path, query="3_c1.jpg Thumbs.db", test="3_c2.jpg 3_c3.heic")
    open_benchmark("market-style", root)
    assert "train 0, query 1, gallery 1 images; left out: 1 .db, 1 .heic" in capsys.readouterr().err


def test_a_linked_folder_of_images_is_read(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", query="3_c1.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "3_c2.jpg").touch()
    (root / "bounding_box_test").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert labels(read_market_style(root)) == [(3, 1), (3, 2)]
