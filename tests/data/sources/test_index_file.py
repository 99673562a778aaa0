"""What is written is read back; what is damaged, cut short or of another version is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from upreid.data.sources.index_file import (
    NAMES,
    Index,
    count_names,
    index_in_memory,
    joined,
    name_at,
    open_index,
    pack_names,
    write_index,
)
from upreid.errors import DataError

POSITIONS = [np.arange(5, dtype=np.uint64), np.arange(5, 12, dtype=np.uint64)]
SIZES = np.arange(12, dtype=np.uint32)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    arrays = {"positions": POSITIONS, "sizes": [SIZES], "empty": []}
    write_index(tmp_path / "an.index", "test", {"shards": [1, 2]}, arrays)
    return tmp_path / "an.index"


def values(index: Index) -> dict[str, list[int]]:
    return {name: array.tolist() for name, array in index.arrays.items()}


def test_arrays_come_back_in_one_piece(index: Path) -> None:
    opened = open_index(index, "test", check=("positions", "sizes", "empty"))
    assert values(opened) == {"positions": list(range(12)), "sizes": list(range(12)), "empty": []}
    assert opened.facts == {"shards": [1, 2]}
    assert all(array.ctypes.data % 64 == 0 for name, array in opened.arrays.items() if name != "empty")


def test_an_index_travels_as_its_path_and_says_the_same_wherever_it_lives(index: Path) -> None:
    opened = open_index(index, "test")
    assert len(pickle.dumps(opened)) < 400
    assert values(pickle.loads(pickle.dumps(opened))) == values(opened)
    held = index_in_memory("test", {}, {"positions": np.concatenate(POSITIONS), "sizes": SIZES})
    assert held.digest("positions", "sizes") == opened.digest("positions", "sizes")
    assert values(pickle.loads(pickle.dumps(held))) == values(held)


def test_another_kind_and_another_version_are_refused(index: Path) -> None:
    with pytest.raises(DataError, match="of kind 'test', not 'packed'"):
        open_index(index, "packed")
    content = bytearray(index.read_bytes())
    content[12] = 2
    index.write_bytes(content)
    with pytest.raises(DataError, match="of version 2, and this upreid reads version 1"):
        open_index(index, "test")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def pieces():
        yield SIZES
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_index(tmp_path / "an.index", "test", {}, {"sizes": pieces()})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("fuzz") / "an.index"
    write_index(path, "test", {"shards": [1, 2]}, {"positions": POSITIONS, "sizes": [SIZES]})
    return path, path.read_bytes()


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(place=some.integers(0, 10**6), byte=some.integers(0, 255), length=some.integers(0, 10**6), cut=some.booleans())
def test_damage_is_found_or_does_not_matter(
    whole: tuple[Path, bytes], place: int, byte: int, length: int, cut: bool
) -> None:
    path, content = whole[0], bytearray(whole[1])
    if cut:
        content = content[: length % len(content)]
    else:
        content[place % len(content)] = byte
    path.write_bytes(content)
    try:
        opened = open_index(path, "test", check=("positions", "sizes"))
    except DataError:
        return
    assert values(opened) == {"positions": list(range(12)), "sizes": list(range(12))}


@settings(deadline=None)
@given(names=some.lists(some.text(some.characters(exclude_categories=["Cs"])), max_size=20))
def test_names_come_back_one_by_one(names: list[str]) -> None:
    index = index_in_memory("names", {}, pack_names(names))
    assert count_names(index) == len(names)
    assert [name_at(index, number) for number in range(len(names))] == names


@settings(deadline=None)
@given(lists=some.lists(some.lists(some.text(some.characters(exclude_categories=["Cs"])), max_size=5), max_size=5))
def test_lists_of_names_are_joined(lists: list[list[str]]) -> None:
    parts = [pack_names(names) for names in lists]
    ends = [np.empty(0, np.uint64), *joined(parts)]
    letters = [np.empty(0, np.uint8), *(part["names"] for part in parts)]
    index = index_in_memory("names", {}, dict(zip(NAMES, (np.concatenate(letters), np.concatenate(ends)), strict=True)))
    assert [name_at(index, number) for number in range(count_names(index))] == [name for part in lists for name in part]


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(DataError, match="no name that a file can have"):
        pack_names(["a", "b\ud800"])
