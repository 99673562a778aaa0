"""One shard: images of a stretch of the source, checked, perhaps shrunk, and named; written aside and renamed, with a record.

Which images a shard holds is decided by their numbers alone, and nothing in it by a clock, so a shard is the same whoever
writes it, and when.
"""

import hashlib
import io
import os
import re
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from PIL import Image

from upreid.data.benchmarks.packed import PackedLabels
from upreid.data.decode import UnreadableImage, decode_bytes
from upreid.data.sources.index_file import Index, open_index, pack_names, write_index
from upreid.data.sources.packed_set import UNFINISHED
from upreid.data.sources.source import Source, place, printable
from upreid.data.tracklet_lists import arrays_of
from upreid.data.tracklets import Tracklets
from upreid.errors import DataError
from upreid.runtime.files import flush

RECORD = "shard record"
END = bytes(2 * tarfile.BLOCKSIZE)
CHECK_SIZE = 32, 16
"""Height and width: a JPEG is read to its last byte at an eighth of its size, which is what takes the time."""

QUALITY = 95
"""Quality of an image that had to be shrunk, where none was asked for."""

LONGEST_STEM = 60
"""Number of letters; with number and suffix a name stays under the 100 bytes of the oldest tar format."""

BEGINNINGS = {
    b"\xff\xd8\xff": "jpg",
    b"\x89PNG": "png",
    b"BM": "bmp",
    b"RIFF": "webp",
    b"II*\0": "tif",
    b"MM\0*": "tif",
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Size and quality in which images are stored; None leaves them as they are."""

    height: int | None
    width: int | None
    quality: int | None


@dataclass(frozen=True, kw_only=True)
class Packing:
    """What is packed, where to and how: all that a worker needs to know."""

    source: Source
    out: Path
    shape: Shape
    shard_size: int
    labels: PackedLabels | None = None
    """Labels of the images, where the source is a labelled set."""
    tracklets: Tracklets | None = None
    """Tracklets of the images, where they are known."""

    def shards(self) -> range:
        """Return the numbers of the shards."""
        return range(-(-len(self.source) // self.shard_size))

    def images(self, number: int) -> range:
        """Return which images of the source a shard is made of."""
        return range(number * self.shard_size, min((number + 1) * self.shard_size, len(self.source)))

    def path(self, number: int) -> Path:
        """Return where a finished shard stands."""
        return self.out / f"shard-{number:06d}.tar"

    def record(self, number: int) -> Path:
        """Return where the record of a shard stands as long as the set is not finished."""
        return self.out / UNFINISHED / f"{number:06d}.record"


def write_shard(packing: Packing, number: int) -> int:
    """Write a shard and its record; return the shard's number."""
    mine = os.getpid()  # a worker of a run that was killed may live a moment longer
    aside = packing.out / UNFINISHED / f"{number:06d}.tar.{mine}"
    contents = Contents(packing.labels, packing.tracklets)
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

    def __init__(self, labels: PackedLabels | None, tracklets: Tracklets | None) -> None:
        self.labels, self.tracklets = labels, tracklets
        self.kept: list[int] = []
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
            if self.labels is not None and not self.labels.trains(index):
                raise DataError(
                    f"cannot read test image {error}; a ranking with images left out is another benchmark: repair it, or remove "
                    f"it from the set"
                ) from error
            self.skipped.append((printable(name), error.reason))
            return
        header = tarfile.TarInfo(member_name(index, name, content))
        header.size = len(content)  # everything else as it is by default: no owner, the same time for all
        self.write(file, header.tobuf(tarfile.USTAR_FORMAT))
        self.kept.append(index)
        self.names.append(name)
        self.where.append((self.size, len(content), zlib.crc32(content)))
        self.write(file, content + bytes(-len(content) % tarfile.BLOCKSIZE))

    def write(self, file: BinaryIO, content: bytes) -> None:
        """Write, count and hash."""
        file.write(content)
        self.sha256.update(content)
        self.size += len(content)

    def facts(self) -> dict[str, object]:
        """Return what the manifest says of this shard."""
        return {"bytes": self.size, "sha256": self.sha256.hexdigest(), "skipped": self.skipped}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what the index says of its images."""
        where = np.array(self.where, dtype=np.uint64).reshape(-1, 3)
        positions, sizes, checks = where[:, 0], where[:, 1].astype(np.uint32), where[:, 2].astype(np.uint32)
        arrays = {**pack_names(self.names), "positions": positions, "sizes": sizes, "checks": checks}
        kept = np.array(self.kept, dtype=np.int64)
        arrays |= {} if self.labels is None else self.labels.arrays(kept)
        return arrays | ({} if self.tracklets is None else {k: v[kept] for k, v in arrays_of(self.tracklets).items()})


def finished_record(packing: Packing, number: int) -> Index | None:
    """Return the record of a shard that is there and as long as it was; None where it is still to be written."""
    path = packing.record(number)
    if not path.exists():
        return None
    try:
        record = open_index(path, RECORD)
        return record if packing.path(number).stat().st_size == record.facts["bytes"] else None
    except (DataError, FileNotFoundError):
        return None


def content_of(source: Source, index: int, shape: Shape) -> bytes:
    """Return the bytes to store: the file's own where nothing has to change. `UnreadableImage` where it is no picture."""
    content, name = source.read(index), place(source, index)
    encodes = shape.quality is not None
    if shape.height is None and shape.width is None and not encodes:
        decode_bytes(content, name, target=CHECK_SIZE)
        return content
    pixels, size = decode_bytes(content, name, target=_room(shape))
    height, width = min(size[0], shape.height or size[0]), min(size[1], shape.width or size[1])
    if (height, width) == size and not encodes:
        return content
    picture = Image.fromarray(pixels)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=shape.quality or QUALITY)
    return file.getvalue()


def _room(shape: Shape) -> tuple[int, int] | None:
    """Let the decoder shrink where both sides have a limit."""
    return None if shape.height is None or shape.width is None else (shape.height, shape.width)


def member_name(index: int, name: str, content: bytes) -> str:
    """A key as webdataset reads it (up to the first dot), unique by its number and safe on every system, and a suffix."""
    stem = PurePosixPath(name).name.partition(".")[0]
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", stem)[:LONGEST_STEM]
    suffix = next((suffix for beginning, suffix in BEGINNINGS.items() if content.startswith(beginning)), "img")
    return f"{index:09d}-{safe}.{suffix}"
