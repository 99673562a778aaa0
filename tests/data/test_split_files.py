import json
from collections import Counter
from pathlib import Path

import pytest

from upreid.data.records import Record
from upreid.data.splits import Split, base_names, draw, select, share_of_images, write_split
from upreid.errors import DataError, InputError


def records(num_people: int = 10, images: int = 12, root: str = "a") -> list[Record]:
    return [
        Record(path=Path(root, f"{person:04d}_c{image % 3 + 1}_{image:02d}.jpg"), person=person, camera=image % 3 + 1)
        for person in range(1, num_people + 1)
        for image in range(images)
    ]


def written(path: Path, chosen: tuple[Record, ...]) -> Split:
    split = Split(dataset="market1501", identity_share=0.5, image_share=1.0, seed=1, names=base_names(chosen))
    write_split(path, split)
    return split


@pytest.mark.parametrize(("share", "kept"), [(0.1, 1), (0.3, 4), (0.5, 6), (0.01, 1), (1.0, 12)])
def test_every_person_keeps_the_rounded_share_of_images_one_at_least(share: float, kept: int) -> None:
    counts = Counter(record.person for record in share_of_images(records(), share, seed=1))
    assert set(counts.values()) == {kept}
    assert len(counts) == 10


def test_a_smaller_share_is_part_of_a_larger_one_and_another_seed_is_another_choice() -> None:
    small, large = (set(share_of_images(records(), share, seed=1)) for share in (0.2, 0.6))
    assert small < large
    assert small != set(share_of_images(records(), 0.2, seed=2))


def test_the_choice_depends_on_base_names_and_not_on_folders_or_order() -> None:
    here = [record.path.name for record in share_of_images(records(root="a"), 0.3, seed=1)]
    there = [record.path.name for record in share_of_images(records(root="b/c")[::-1], 0.3, seed=1)]
    assert sorted(here) == sorted(there)
    # written down, because splits made with one version must hold in the next
    assert here[:3] == [
        "0001_c1_03.jpg",
        "0001_c1_06.jpg",
        "0001_c2_07.jpg",
    ]


def test_few_people_and_few_images_can_be_combined() -> None:
    counts = Counter(record.person for record in draw(records(), identity_share=0.5, image_share=0.25, seed=1))
    assert list(counts.values()) == [3] * 5


@pytest.mark.parametrize("share", [0.0, -1.0, 1.1, float("nan")])
def test_what_is_no_share_is_refused_by_its_flag(share: float) -> None:
    with pytest.raises(InputError, match=r"^--data\.image-share"):
        share_of_images(records(), share, seed=1)


def test_two_images_of_one_name_cannot_be_told_apart_by_it() -> None:
    twins = [*records(root="a"), *records(num_people=1, root="b")]
    with pytest.raises(InputError, match="two images are called 0001_c1_00"):
        share_of_images(twins, 0.5, seed=1)


def test_a_file_selects_the_same_images_from_a_copy_elsewhere(tmp_path: Path) -> None:
    chosen = draw(records(), identity_share=0.5, seed=1)
    split = written(tmp_path / "split.json", chosen)
    again = select(records(root="elsewhere"), tmp_path / "split.json")
    assert [record.path.name for record in again] == [record.path.name for record in chosen]
    content = json.loads((tmp_path / "split.json").read_text())
    assert content["hash"] == split.hash
    assert len(split.hash) == 16


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    written(path, tuple(records()))
    path.write_text(path.read_text().replace('"0001_c1_00.jpg"', '"0001_c1_99.jpg"'))
    with pytest.raises(DataError, match="changed after it was written"):
        select(records(), path)


def test_lupersons_lists_of_people_and_of_images_are_understood(tmp_path: Path) -> None:
    people, images = tmp_path / "used_ids_0.30.txt", tmp_path / "used_ims_0.10.txt"
    people.write_text("3 \n7 \n10 \n")
    assert {record.person for record in select(records(), people)} == {3, 7, 10}
    assert len(select(records(), people)) == 36
    images.write_text("0003_c1_00.jpg; 2; 0 \n0004_c2_01.jpg; 3; 1 \n")
    assert [record.path.name for record in select(records(), images)] == ["0003_c1_00.jpg", "0004_c2_01.jpg"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no split file"),
        ("0003_c1_00.jpg 2 0\n", "no split file"),
        ("3\n99\n", "1 people that the training set does not have, such as 99"),
        ("0000_c12_0036.jpg; 0; 11\n", "1 images that the training set does not have, such as 0000_c12_0036.jpg"),
        ('{"format": 1}', "not a split file of ours"),
        ('{"images": ', "not a split file of ours"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        select(records(), path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="upreid split"):
        select(records(), tmp_path / "none")
