"""Images inside tar archives, read where they lie: one `pread` an image, no archive ever loaded or listed again.

    shard -> name and bytes                  facts of the index: some hundred entries
    image -> position, size, (CRC-32)        arrays of the index: mapped, 12 or 16 bytes an image

The archives are those of a packed set (`packed_set`), or plain ones made by others: one file, or a folder of them.
"""

import os
import zlib
from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from upreid.data.decode import UnreadableImage
from upreid.data.sources.index_file import NAMES, Index, count_names, name_at, pack_names
from upreid.data.sources.retry import retry
from upreid.data.sources.source import HIDDEN, LIMIT_BYTES, Listing, is_image_name, kind_of, left_out, printable
from upreid.data.sources.tar_headers import members
from upreid.errors import DataError
from upreid.runtime.console import progress

LARGEST = 2**32 - 1
"""Largest size that the index can say; an image is refused long before it is so large."""
MOST_OPEN = 128
"""Number of archives that one process keeps open."""


class Shard(NamedTuple):
    """One archive; `end` is the number of the first image that is neither in it nor in an earlier one."""

    name: str
    size: int
    end: int


class ShardImages:
    """Images by position in a row of archives; with CRC-32s in the index, a swapped byte is found when it is read."""

    def __init__(
        self, root: Path, shards: list[Shard], index: Index, *, description: str, fingerprint: str, patience: float
    ) -> None:
        self.root, self.shards, self.index = root, shards, index
        self.description, self.fingerprint, self.patience = description, fingerprint, patience
        self.folder = root if root.is_dir() else root.parent
        self.ends = np.array([shard.end for shard in shards], dtype=np.int64)
        self.handles: OrderedDict[int, int] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Leave open archives to the process that opened them."""
        return {**self.__dict__, "handles": OrderedDict()}

    def __len__(self) -> int:
        return count_names(self.index)

    def name(self, index: int) -> str:
        """Return the image's name in the index."""
        return name_at(self.index, index)

    def read(self, index: int) -> bytes:
        """Return the file's bytes, if they are those that were indexed."""
        number = int(np.searchsorted(self.ends, index, side="right"))
        position, size = (int(self.index.arrays[name][index]) for name in ("positions", "sizes"))
        if size > LIMIT_BYTES or position + size > self.shards[number].size:
            raise UnreadableImage(self._place(number, index), f"{size} bytes at {position}: too large, or not in it")
        content = retry(lambda: self._pread(number, position, size), what=str(self.folder), seconds=self.patience)
        if len(content) < size:
            raise DataError(
                f"{self.folder / self.shards[number].name} is shorter than it was when this run began; restore it and resume"
            )
        checks = self.index.arrays.get("checks")
        if checks is not None and zlib.crc32(content) != int(checks[index]):
            raise UnreadableImage(
                self._place(number, index), "its bytes are not those that were packed; the shard is damaged"
            )
        return content

    def _place(self, number: int, index: int) -> str:
        return printable(f"{self.folder / self.shards[number].name}: {self.name(index)}")

    def _pread(self, number: int, position: int, size: int) -> bytes:
        handle = self.handles.get(number)
        if handle is None:
            handle = os.open(self.folder / self.shards[number].name, os.O_RDONLY | os.O_CLOEXEC)
            self.handles[number] = handle
            if len(self.handles) > MOST_OPEN:
                os.close(self.handles.popitem(last=False)[1])
        self.handles.move_to_end(number)
        try:
            return _read_all(handle, position, size)
        except OSError:  # a handle may be stale when the file server comes back
            os.close(self.handles.pop(number))
            raise


def _read_all(handle: int, position: int, size: int) -> bytes:
    content = os.pread(handle, size, position)
    while len(content) < size and (more := os.pread(handle, size - len(content), position + len(content))):
        content += more
    return content


@dataclass(frozen=True)
class TarArchives:
    """Plain tar archives made by others, at `paths`: `root` itself, or files in it.

    Their headers are read once. A kept list is used again as long as names, sizes and times of change of the archives are what
    they were. Order: archives by name, members as they lie. Everything that is no image by its suffix, and hidden files, are
    left out, as in a folder.
    """

    root: Path
    paths: list[Path]
    kind = "tars"

    def list_images(self) -> Listing:
        """Read the headers; `DataError` where an archive is compressed, damaged or cut short."""
        names: list[str] = []
        positions: list[int] = []
        sizes: list[int] = []
        ends: list[int] = []
        kinds: Counter[str] = Counter()
        with progress("indexing tar archives", len(self.paths), "archives", quiet=len(self.paths) < 2) as meter:
            for path in self.paths:
                inside = f"{self._name(path)}/" if len(self.paths) > 1 else ""
                for member in members(path):
                    name = member.name.removeprefix("./")
                    is_hidden = any(part.startswith(".") for part in name.split("/"))
                    if is_hidden or not is_image_name(name):
                        kinds[HIDDEN if is_hidden else kind_of(name.rpartition("/")[2])] += 1
                        continue
                    names.append(inside + name)
                    positions.append(member.position)
                    sizes.append(min(member.size, LARGEST))
                ends.append(len(names))
                meter.advance()
        arrays: dict[str, Any] = pack_names(names)
        arrays |= {"positions": np.array(positions, dtype=np.uint64), "sizes": np.array(sizes, dtype=np.uint32)}
        return Listing(arrays=arrays, facts={"stamp": self._stamp(), "ends": ends, "left_out": dict(kinds)})

    def _name(self, path: Path) -> str:
        return path.name if path == self.root else path.relative_to(self.root).as_posix()

    def _stamp(self) -> list[list[Any]]:
        found = [(path, path.stat()) for path in self.paths]
        return [[self._name(path), status.st_size, status.st_mtime_ns] for path, status in found]

    def is_current(self, kept: Index) -> bool:
        """Compare names, sizes and times of change."""
        return kept.facts["stamp"] == self._stamp()

    def open(self, listed: Index, *, patience: float) -> ShardImages:
        """Open the archives; `DataError` where no image is in any."""
        facts, others = listed.facts, left_out(listed.facts["left_out"])
        if count_names(listed) == 0:
            raise DataError(
                f"no images in the tar archives of {self.root}{others}; expected members named as images are (.jpg, .png, ...)"
            )
        shards = [Shard(name, size, end) for (name, size, _), end in zip(facts["stamp"], facts["ends"], strict=True)]
        return ShardImages(
            self.root,
            shards,
            listed,
            description=f"{self.root}: {len(self.paths)} tar archives made elsewhere ({count_names(listed)} images){others}",
            fingerprint=f"tars {listed.digest(*NAMES, 'positions', 'sizes')}",
            patience=patience,
        )
