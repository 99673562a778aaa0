"""Millions of names in two arrays: all of them end to end, and where each ends."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from upreid.data.sources.index_file import Arrays, Index
from upreid.errors import InputError

NAMES = ("names", "name_ends")


def pack_names(names: Sequence[str]) -> dict[str, NDArray[np.uint8] | NDArray[np.uint64]]:
    """Put names into arrays; bytes of a file name that are no UTF-8 survive as they are."""
    try:
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
    except UnicodeEncodeError as error:  # half a surrogate pair, which only a made-up list can hold
        raise InputError(
            f"{error.object[:80]!a} is no name that a file can have; mend the list it stands in"
        ) from error
    lengths = np.fromiter(map(len, encoded), dtype=np.uint64, count=len(encoded))
    return {"names": np.frombuffer(b"".join(encoded), dtype=np.uint8), "name_ends": np.cumsum(lengths, dtype=np.uint64)}


def count_names(index: Index) -> int:
    """How many there are."""
    return len(index.arrays["name_ends"])


def name_at(index: Index, number: int) -> str:
    """Return one name, without touching the others."""
    ends: NDArray[np.uint64] = index.arrays["name_ends"]
    start, end = int(ends[number - 1]) if number else 0, int(ends[number])
    if not 0 <= start <= end <= len(index.arrays["names"]):
        raise InputError(f"{index.path}: name {number} lies outside the index, which is damaged; make it anew")
    return index.arrays["names"][start:end].tobytes().decode("utf-8", "surrogateescape")


def joined(parts: Iterable[Arrays]) -> Iterator[NDArray[np.uint64]]:
    """Name ends of several lists as those of one list, piece by piece."""
    before = 0
    for part in parts:
        ends = part["name_ends"].astype(np.uint64)
        yield ends + np.uint64(before)
        before += int(ends[-1]) if len(ends) else 0
