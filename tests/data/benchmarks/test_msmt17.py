import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from upreid.data.benchmarks import read_benchmark
from upreid.data.benchmarks.msmt17 import read_list
from upreid.errors import DataError, InputError


@pytest.fixture
def v2(copied: Callable[[str], Path]) -> Path:
    return copied("msmt17-v2") / "MSMT17_V2"


def test_person_zero_is_somebody_and_the_camera_is_the_third_field(v2: Path) -> None:
    found = read_benchmark("msmt17-v2", v2)
    assert {record.person for record in found.train} == {record.person for record in found.gallery} == {0, 1, 2, 3}
    assert {record.camera for record in found.train} == {1, 4, 7, 10, 12, 15}
    assert found.train[0].path == v2 / "mask_train_v2" / "0000" / "0000_000_01_0113noon_0008_0.jpg"
    assert all(record.path.name.split("_")[2] == f"{record.camera:02d}" for record in found.query)


def test_validation_images_train_only_where_the_name_says_so(v2: Path) -> None:
    without, merged = read_benchmark("msmt17-v2", v2), read_benchmark("msmt17-v2-trainval", v2)
    assert set(without.train) < set(merged.train)
    assert len(merged.train) == len(without.train) + 4
    assert merged.query == without.query
    assert merged.facts["variant"] == "V2, faces masked; train is list_train and list_val"
    assert without.facts["variant"] == "V2, faces masked; train is list_train"


@pytest.mark.slow
def test_of_two_versions_the_named_one_is_read_and_the_other_mentioned(copied: Callable[[str], Path]) -> None:
    first, second = copied("msmt17-v1") / "MSMT17_V1", copied("msmt17-v2") / "MSMT17_V2"
    assert read_benchmark("msmt17-v2", second).facts["also_present"] == []
    root = first.parent.parent / "both"
    shutil.copytree(first, root / "MSMT17_V1")
    shutil.copytree(second, root / "MSMT17_V2")
    for place in (root, root / "MSMT17_V2"):
        found = read_benchmark("msmt17-v2", place)
        assert found.root == root / "MSMT17_V2"
        assert found.facts["also_present"] == ["msmt17-v1"]
    assert read_benchmark("msmt17-v1", root).facts["also_present"] == ["msmt17-v2"]


def test_missing_lists_are_named_and_only_the_needed_ones(v2: Path) -> None:
    (v2 / "list_val.txt").unlink()
    assert read_benchmark("msmt17-v2", v2).train
    with pytest.raises(InputError, match=r"lacks list_val\.txt"):
        read_benchmark("msmt17-v2-trainval", v2)
    (v2 / "list_query.txt").unlink()
    with pytest.raises(InputError, match=r"lacks list_query\.txt"):
        read_benchmark("msmt17-v2", v2)


def test_files_that_lists_name_and_the_disk_lacks_are_counted_and_named(v2: Path) -> None:
    lost = [record.path for record in read_benchmark("msmt17-v2", v2).query[:5]]
    for path in lost:
        path.unlink()
    with pytest.raises(DataError, match=rf"5 of 24 images that .*list_query\.txt names .* such as 0000/{lost[0].name}"):
        read_benchmark("msmt17-v2", v2)
    shutil.rmtree(v2 / "mask_test_v2" / "0001")
    with pytest.raises(DataError, match="11 of 24 images"):
        read_benchmark("msmt17-v2", v2)


def test_a_half_extracted_archive_is_named(v2: Path) -> None:
    shutil.rmtree(v2 / "mask_test_v2")
    with pytest.raises(InputError, match=r"lacks mask_test_v2 .* extract the whole archive"):
        read_benchmark("msmt17-v2", v2)
    (v2 / "mask_test_v2").mkdir()
    with pytest.raises(DataError, match="24 of 24 images that"):
        read_benchmark("msmt17-v2", v2)


@pytest.mark.parametrize(
    "line", ["0000/0000_000_01_0113noon_0008_0.jpg", "0000/a.jpg 0", "0000/0000_000_01_x.jpg zero"]
)
def test_a_bad_line_is_given_with_its_number(line: str, v2: Path) -> None:
    lines = (v2 / "list_train.txt").read_text().splitlines()
    (v2 / "list_train.txt").write_text("\n".join([*lines[:2], line, *lines[2:]]))
    with pytest.raises(DataError, match=f"1 lines are not as a list's: line 3 is '{line}', not like"):
        read_benchmark("msmt17-v2", v2)


def test_windows_line_ends_and_blank_lines_do_not_matter(v2: Path) -> None:
    before = read_benchmark("msmt17-v2", v2).train
    text = (v2 / "list_train.txt").read_text()
    (v2 / "list_train.txt").write_bytes(text.replace("\n", " \r\n\r\n").encode())
    assert read_benchmark("msmt17-v2", v2).train == before


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace(" ", "  "),
        lambda text: text.replace(" ", " \t "),
        lambda text: text.replace(" ", "\N{NO-BREAK SPACE}"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("/", "\\"),
        lambda text: "\n".join(f"./{line}" for line in text.splitlines()),
        lambda text: text.replace("\n", "\r"),
    ],
    ids=["tab", "two blanks", "mixed", "no-break space", "byte-order mark", "backslash", "dot", "old Mac"],
)
def test_differences_that_cannot_be_seen_do_not_matter(change: Callable[[str], str], v2: Path) -> None:
    before = read_benchmark("msmt17-v2", v2)
    for path in v2.glob("list_*.txt"):
        path.write_bytes(change(path.read_text()).encode())
    assert read_benchmark("msmt17-v2", v2) == before


def test_a_list_in_the_encoding_of_another_system_is_read(v2: Path) -> None:
    before = read_benchmark("msmt17-v2", v2)
    for path in v2.glob("list_*.txt"):
        path.write_bytes(path.read_text().encode("utf-16"))
    assert read_benchmark("msmt17-v2", v2) == before


def test_an_image_that_a_list_names_twice_is_refused(v2: Path) -> None:
    lines = (v2 / "list_query.txt").read_text().splitlines()
    (v2 / "list_query.txt").write_text("\n".join([*lines, lines[3]]))
    with pytest.raises(DataError, match=r"list_query.txt: 1 lines .* line 25 names the image of line 4 again"):
        read_benchmark("msmt17-v2", v2)


def test_an_empty_list_is_refused(v2: Path) -> None:
    (v2 / "list_train.txt").write_text("\n")
    with pytest.raises(DataError, match="names no images"):
        read_list(v2 / "list_train.txt", v2 / "mask_train_v2")


def test_the_renamed_form_has_the_images_of_the_official_one(copied: Callable[[str], Path], v2: Path) -> None:
    renamed, official = read_benchmark("msmt17-ecn", copied("msmt17-ecn")), read_benchmark("msmt17-v2-trainval", v2)
    for part in ("train", "query", "gallery"):
        content = [
            sorted((record.person, record.camera, record.path.read_bytes()) for record in getattr(found, part))
            for found in (renamed, official)
        ]
        assert content[0] == content[1]


def test_the_renamed_form_ignores_what_is_no_image_and_counts_odd_names(copied: Callable[[str], Path]) -> None:
    root = copied("msmt17-ecn")
    for name in ("Thumbs.db", "holiday.jpg", "0003_c15_0012.JPG"):
        (root / "query" / name).touch()
    found = read_benchmark("msmt17-ecn", root)
    assert (found.facts["query"]["images"], found.facts["names_not_matched"]) == (25, 1)
    assert [record.camera for record in found.query if record.path.suffix == ".JPG"] == [15]
