"""One shard: a stretch of the source, written aside and renamed, and a record of what is in it.

Which images a shard holds is decided by their numbers alone, and nothing in it by a clock, so a shard is the same whoever
writes it, and when.
"""

import hashlib
import os
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from upreid.data.decode import UnreadableImage
from upreid.data.packing.entry import Shape, content_of, member_name
from upreid.data.sources.index_file import Index, open_index, pack_names, write_index
from upreid.data.sources.packed_set import UNFINISHED
from upreid.data.sources.source import Source, printable
from upreid.errors import DataError
from upreid.runtime.files import flush

RECORD = "shard record"
END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, kw_only=True)
class Packing:
    """What every worker needs to know."""

    source: Source
    out: Path
    shape: Shape
    shard_size: int

    def shards(self) -> range:
        """Numbers of the shards."""
        return range(-(-len(self.source) // self.shard_size))

    def images(self, number: int) -> range:
        """Which images of the source a shard is made of."""
        return range(number * self.shard_size, min((number + 1) * self.shard_size, len(self.source)))

    def path(self, number: int) -> Path:
        """Where a finished shard stands."""
        return self.out / f"shard-{number:06d}.tar"

    def record(self, number: int) -> Path:
        """Where it is written down what is in it, as long as the set is not finished."""
        return self.out / UNFINISHED / f"{number:06d}.record"


def write_shard(packing: Packing, number: int) -> int:
    """Write a shard and its record; return the shard's number."""
    mine = os.getpid()  # a worker of a run that was killed may live a moment longer
    aside = packing.out / UNFINISHED / f"{number:06d}.tar.{mine}"
    contents = Contents()
    with aside.open("wb") as file:
        for index in packing.images(number):
            contents.add(file, packing, index)
        contents.write(file, END)
    flush(aside)
    aside.replace(packing.path(number))
    write_index(packing.record(number), RECORD, contents.facts(), {k: [v] for k, v in contents.arrays().items()})
    return number


class Contents:
    """What has gone into a shard so far."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.where: list[tuple[int, int, int]] = []  # position, size, CRC-32
        self.skipped: list[tuple[str, str]] = []
        self.size, self.sha256 = 0, hashlib.sha256()

    def add(self, file: BinaryIO, packing: Packing, index: int) -> None:
        """Append an image, or write down why not."""
        name = packing.source.name(index)
        try:
            content = content_of(packing.source, index, packing.shape)
        except UnreadableImage as error:
            self.skipped.append((printable(name), error.reason))
            return
        header = tarfile.TarInfo(member_name(index, name, content))
        header.size = len(content)  # everything else as it is by default: no owner, the same time for all
        self.write(file, header.tobuf(tarfile.USTAR_FORMAT))
        self.names.append(name)
        self.where.append((self.size, len(content), zlib.crc32(content)))
        self.write(file, content + bytes(-len(content) % tarfile.BLOCKSIZE))

    def write(self, file: BinaryIO, content: bytes) -> None:
        """Write, count and hash."""
        file.write(content)
        self.sha256.update(content)
        self.size += len(content)

    def facts(self) -> dict[str, object]:
        """What the manifest will say of this shard."""
        return {"bytes": self.size, "sha256": self.sha256.hexdigest(), "skipped": self.skipped}

    def arrays(self) -> dict[str, np.ndarray]:
        """What the index will say of its images."""
        where = np.array(self.where, dtype=np.uint64).reshape(-1, 3)
        positions, sizes, checks = where[:, 0], where[:, 1].astype(np.uint32), where[:, 2].astype(np.uint32)
        return {**pack_names(self.names), "positions": positions, "sizes": sizes, "checks": checks}


def finished_record(packing: Packing, number: int) -> Index | None:
    """The record of a shard that is there and as long as it was; None where it is still to be written."""
    path = packing.record(number)
    if not path.exists():
        return None
    try:
        record = open_index(path, RECORD)
        return record if packing.path(number).stat().st_size == record.facts["bytes"] else None
    except (DataError, FileNotFoundError):
        return None
