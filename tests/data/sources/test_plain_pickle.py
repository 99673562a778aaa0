"""Lists of names are read; whatever else a pickle holds is refused without being done."""

import os
import pickle
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from upreid.data.sources.plain_pickle import names_in, read_plain_pickle
from upreid.errors import DataError

PLAIN = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**62), 2**62)
    | some.floats(allow_nan=False)
    | some.text()
    | some.binary(),
    lambda inner: (
        some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4) | some.tuples(inner)
    ),
    max_leaves=12,
)


class Command:
    """What a hostile pickle holds: a call that is made while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pickles") / "keys.pkl"


@settings(max_examples=200, deadline=None)
@given(value=PLAIN, protocol=some.integers(0, 5))
def test_plain_values_of_every_protocol_are_read(file: Path, value: object, protocol: int) -> None:
    file.write_bytes(pickle.dumps(value, protocol=protocol))
    try:
        assert read_plain_pickle(file) == value
    except DataError:  # before protocol 3 bytes are stored as a call
        assert protocol < 3
        assert b"_codecs" in file.read_bytes() or b"__builtin__" in file.read_bytes()


@pytest.mark.parametrize("protocol", range(6))
def test_a_call_is_not_made(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "keys.pkl"
    file.write_bytes(pickle.dumps(["a", Command(tmp_path / "executed")], protocol=protocol))
    with pytest.raises(DataError, match="refused unread"):
        read_plain_pickle(file)
    assert not (tmp_path / "executed").exists()
    pickle.loads(file.read_bytes())
    assert (tmp_path / "executed").exists()  # so the test would have noticed


HOSTILE = {
    "a class": b"cbuiltins\nobject\n.",
    "an instance": b"(ibuiltins\nobject\n.",
    "an object": b"(cbuiltins\nobject\no.",
    "a registered extension": b"\x82\x01.",
    "a persistent name": b"Pname\n.",
    "a state": b"]}b.",
    "bytes without end": b"\x8e" + struct.pack("<Q", 2**62) + b"x",
    "text without end": b"\x8d" + struct.pack("<Q", 2**63 - 1) + b"x",
    "a frame without end": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"].",
    "a buffer": b"\x96" + struct.pack("<Q", 2**40) + b"x",
    "millions of lists": b"(" + b"]" * 20_000 + b"l.",
    "an unhashable key": b"}]]s.",
    "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "nothing": b"",
    "no end": b"]",
    "text": b"keys: a, b, c",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pickles_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "keys.pkl").write_bytes(HOSTILE[kind])
    with pytest.raises(DataError) as error:
        read_plain_pickle(tmp_path / "keys.pkl")
    assert "keys.pkl" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_memo_entry_of_a_huge_number_is_a_number_in_a_table_and_not_a_size(tmp_path: Path) -> None:
    (tmp_path / "keys.pkl").write_bytes(b"]r\xff\xff\xff\xff.")
    assert read_plain_pickle(tmp_path / "keys.pkl") == []


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(content=some.binary(max_size=60))
def test_rubbish_is_read_as_a_plain_value_or_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        value = read_plain_pickle(file)
    except DataError:
        return
    assert type(value) in (list, dict, tuple, str, bytes, int, float, bool, type(None))


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(place=some.integers(0, 10_000), byte=some.integers(0, 255))
def test_a_list_with_one_byte_changed_is_read_or_refused(file: Path, place: int, byte: int) -> None:
    content = bytearray(pickle.dumps({"keys": [f"US_NY_{n:04d}" for n in range(20)], "pids": list(range(20))}))
    content[place % len(content)] = byte
    file.write_bytes(content)
    try:
        found = names_in(file, read_plain_pickle(file))
    except DataError:
        return
    assert all(isinstance(name, str) for name in found)


def test_a_pickle_beyond_all_measure_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "keys.pkl").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(DataError, match="over the limit of 1024 MiB"):
        read_plain_pickle(tmp_path / "keys.pkl")


@pytest.mark.parametrize(
    "value", [3, "abc", {"names": ["a"]}, {"keys": {"a": 1}}, ["a", 3], ["a", ""], ["a\0b"], ["a", None], [["a"]], None]
)
def test_what_is_no_list_of_names_is_refused(value: object) -> None:
    with pytest.raises(DataError, match=r"keys\.pkl"):
        names_in(Path("keys.pkl"), value)


@pytest.mark.parametrize("value", [["a", "b"], ("a", "b"), {"keys": ["a", "b"], "pids": [1, 2]}, [b"a", b"b"]])
def test_the_forms_of_a_list_of_names(value: object) -> None:
    assert names_in(Path("keys.pkl"), value) == ["a", "b"]
