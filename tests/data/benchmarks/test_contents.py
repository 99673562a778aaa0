"""What is looked at before a training: unreadable images, and pictures that stand where they should not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from upreid.data.benchmarks import read_benchmark
from upreid.data.benchmarks.contents import refuse_unreadable
from upreid.errors import DataError


@pytest.fixture
def market(copied: Callable[[str], Path]) -> Path:
    return copied("market1501")


def first(market: Path, folder: str) -> Path:
    return min((market / folder).iterdir())


def test_a_sound_set_passes_and_its_facts_stay_as_they_were(market: Path) -> None:
    labelled = read_benchmark("market1501", market)
    before = dict(labelled.facts)
    assert refuse_unreadable(labelled) == []
    assert labelled.facts == before


@pytest.mark.parametrize("folder", ["query", "bounding_box_test"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "gone"])
def test_a_test_image_that_cannot_be_read_is_found_before_anything_else(market: Path, folder: str, damage: str) -> None:
    labelled, image = read_benchmark("market1501", market), first(market, folder)
    whole = image.read_bytes()
    image.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no picture", "gone": b""}[damage])
    if damage == "gone":
        image.unlink()
    for trains in (True, False):
        with pytest.raises(
            DataError, match=rf"1 test images of market1501 at .* cannot be read, such as '.*{image.name}'"
        ):
            refuse_unreadable(labelled, trains=trains)


def test_a_training_image_that_cannot_be_read_is_said_and_no_reason_to_stop(market: Path) -> None:
    image = first(market, "bounding_box_train")
    image.write_bytes(b"")
    labelled = read_benchmark("market1501", market)
    (sentence,) = refuse_unreadable(labelled)
    assert sentence.startswith("1 of 96 images cannot be read: ")
    assert image.name in sentence
    assert labelled.facts["doubts"] == [sentence]
    assert refuse_unreadable(read_benchmark("market1501", market), trains=False) == []


def test_pictures_that_stand_where_they_should_not_are_said(market: Path) -> None:
    train, query = first(market, "bounding_box_train"), first(market, "query")
    shutil.copy(train, train.with_name("0003_c6s1_999999_00.jpg"))
    shutil.copy(train, market / "bounding_box_test" / "0007_c6s1_999999_00.jpg")
    shutil.copy(query, market / "bounding_box_test" / query.name.replace("_c1s1", "_c6s1"))
    labelled = read_benchmark("market1501", market)
    sentences = refuse_unreadable(labelled)
    assert [sentence.partition(":")[0] for sentence in sentences] == [
        "1 training pictures stand under two people, byte for byte",
        "1 test images are byte for byte training images",
        "1 queries stand in the gallery themselves (byte for byte), so finding them is no feat",
    ]
    assert labelled.facts["doubts"] == sentences
