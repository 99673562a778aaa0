"""One file with a few arrays, mapped into memory and never copied: what a source of millions knows about its images.

    prelude   b"upreid-index" | version, uint32 | start of the footer, uint64 | its length, uint64 | its SHA-256
    arrays    little-endian, each from a multiple of 64 bytes on
    footer    JSON: {"kind", "facts", "arrays": {name: {"dtype", "start", "count", "sha256"}}}

Workers that map the same file share its pages. Nothing in the file is trusted: the footer is checked against the prelude, every
array must lie inside the file, and arrays that decide which bytes are read can be checked against their hash.

Names of images are two arrays: all of them end to end, and where each ends.
"""

import hashlib
import json
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from upreid.errors import DataError
from upreid.runtime.files import write_aside

MAGIC, VERSION = b"upreid-index", 1
PRELUDE = struct.Struct("<12sIQQ32s")
ALIGNMENT = 64
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in ("uint8", "uint32", "uint64", "int64")}
LONGEST_FOOTER = 64 * 2**20
"""Largest footer in bytes: it lists shards, never images."""
NAMES = ("names", "name_ends")
PIECE = 4 * 2**20
"""Number of bytes read at a time to check a hash: a mapped file would count as memory of this process."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Index:
    """Arrays and facts; `path` is None for a small index that lives in memory."""

    kind: str
    facts: dict[str, Any]
    arrays: Arrays
    hashes: Mapping[str, str]
    """SHA-256 of each array, by name."""
    path: Path | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a mapped index as its path."""
        if self.path is not None:
            return open_index, (self.path, self.kind)
        return index_in_memory, (self.kind, self.facts, dict(self.arrays))

    def digest(self, *names: str) -> str:
        """Return one hash over some arrays."""
        return hashlib.sha256(json.dumps([self.hashes[name] for name in names]).encode()).hexdigest()


def index_in_memory(kind: str, facts: dict[str, Any], arrays: Arrays) -> Index:
    """Make an index of arrays that are small enough to be held."""
    hashes = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    return Index(kind=kind, facts=facts, arrays=arrays, hashes=hashes)


def write_index(path: Path, kind: str, facts: dict[str, Any], arrays: Mapping[str, Iterable[NDArray[Any]]]) -> None:
    """Write an index whole or not at all; each array comes in pieces of one dtype, so that none is held whole."""
    with write_aside(path) as aside, aside.open("wb") as file:
        file.write(bytes(PRELUDE.size))
        entries = {name: _write_array(file, pieces) for name, pieces in arrays.items()}
        footer = json.dumps({"kind": kind, "facts": facts, "arrays": entries}, sort_keys=True).encode()
        start = file.tell()
        file.write(footer)
        file.seek(0)
        file.write(PRELUDE.pack(MAGIC, VERSION, start, len(footer), hashlib.sha256(footer).digest()))


def _write_array(file: BinaryIO, pieces: Iterable[NDArray[Any]]) -> dict[str, Any]:
    file.write(bytes(-file.tell() % ALIGNMENT))
    start, count, sha256, dtype = file.tell(), 0, hashlib.sha256(), "uint8"
    for piece in pieces:
        dtype = piece.dtype.name
        content = np.ascontiguousarray(piece, dtype=DTYPES[dtype]).tobytes()
        file.write(content)
        sha256.update(content)
        count += len(piece)
    return {"dtype": dtype, "start": start, "count": count, "sha256": sha256.hexdigest()}


def open_index(path: Path, kind: str, *, check: Collection[str] = ()) -> Index:
    """Map an index; arrays named in `check` are read through once and compared with their hash.

    Raises `DataError` where the file is missing, damaged, cut short, of another kind or of another version.
    """
    try:
        with path.open("rb") as file:
            footer = _read_footer(path, file, kind)
            size = path.stat().st_size
            entries = {name: _checked_entry(entry, size) for name, entry in footer["arrays"].items()}
            for name in check:
                _check_hash(path, file, name, entries[name])
        arrays = {name: _map(path, entry) for name, entry in entries.items()}
        facts, hashes = dict(footer["facts"]), {name: str(entry["sha256"]) for name, entry in entries.items()}
        return Index(kind=kind, facts=facts, arrays=arrays, hashes=hashes, path=path)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); restore it, or make the index anew") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise DataError(f"{path}: the index contradicts itself; it is damaged: make it anew") from error


def _read_footer(path: Path, file: BinaryIO, kind: str) -> dict[str, Any]:
    prelude = file.read(PRELUDE.size)
    if len(prelude) < PRELUDE.size or not prelude.startswith(MAGIC):
        raise DataError(f"{path} is not an index of upreid, or cut short; make it anew")
    _, version, start, length, digest = PRELUDE.unpack(prelude)
    if version != VERSION:
        raise DataError(
            f"{path} is an index of version {version}, and this upreid reads version {VERSION}; make it anew, or use the "
            f"upreid that made it"
        )
    if length > LONGEST_FOOTER:
        raise DataError(f"{path}: a footer of {length} bytes is absurd; the index is damaged: make it anew")
    file.seek(start)
    footer = file.read(length)
    if hashlib.sha256(footer).digest() != digest:
        raise DataError(f"{path} is damaged or cut short (the hash of its footer is another); make it anew")
    content = json.loads(footer)
    if content["kind"] != kind:
        raise DataError(f"{path} is an index of kind '{content['kind']}', not '{kind}'; make it anew")
    return content


def _checked_entry(entry: dict[str, Any], size: int) -> dict[str, Any]:
    start, count, width = entry["start"], entry["count"], DTYPES[entry["dtype"]].itemsize
    if not (isinstance(start, int) and isinstance(count, int)):
        raise TypeError
    if start < PRELUDE.size or count < 0 or start % ALIGNMENT or start + count * width > size:
        raise ValueError
    return entry


def _check_hash(path: Path, file: BinaryIO, name: str, entry: dict[str, Any]) -> None:
    file.seek(entry["start"])
    left, sha256 = entry["count"] * DTYPES[entry["dtype"]].itemsize, hashlib.sha256()
    while left > 0 and (piece := file.read(min(left, PIECE))):
        sha256.update(piece)
        left -= len(piece)
    if sha256.hexdigest() != entry["sha256"]:
        raise DataError(f"{path}: array '{name}' is damaged (its hash is another); make the index anew")


def _map(path: Path, entry: dict[str, Any]) -> NDArray[Any]:
    dtype = DTYPES[entry["dtype"]]
    if entry["count"] == 0:
        return np.empty(0, dtype=dtype)  # nothing cannot be mapped
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=entry["start"], shape=(entry["count"],)))


def pack_names(names: Sequence[str]) -> dict[str, NDArray[np.uint8] | NDArray[np.uint64]]:
    """Put names into arrays; bytes of a file name that are no UTF-8 survive as they are."""
    try:
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
    except UnicodeEncodeError as error:  # half a surrogate pair, which only a made-up list can hold
        raise DataError(f"{error.object[:80]!a} is no name that a file can have; mend the list it stands in") from error
    lengths = np.fromiter(map(len, encoded), dtype=np.uint64, count=len(encoded))
    return {"names": np.frombuffer(b"".join(encoded), dtype=np.uint8), "name_ends": np.cumsum(lengths, dtype=np.uint64)}


def count_names(index: Index) -> int:
    """Return how many names there are."""
    return len(index.arrays["name_ends"])


def name_at(index: Index, number: int) -> str:
    """Return one name, without touching the others."""
    ends: NDArray[np.uint64] = index.arrays["name_ends"]
    start, end = int(ends[number - 1]) if number else 0, int(ends[number])
    if not 0 <= start <= end <= len(index.arrays["names"]):
        raise DataError(f"{index.path}: name {number} lies outside the index, which is damaged; make it anew")
    return index.arrays["names"][start:end].tobytes().decode("utf-8", "surrogateescape")


def joined(parts: Iterable[Arrays]) -> Iterator[NDArray[np.uint64]]:
    """Yield the name ends of several lists as those of one list, piece by piece."""
    before = 0
    for part in parts:
        ends = part["name_ends"].astype(np.uint64)
        yield ends + np.uint64(before)
        before += int(ends[-1]) if len(ends) else 0
