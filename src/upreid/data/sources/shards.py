"""Images inside tar archives, read where they lie: one `pread` an image, no archive ever loaded or listed again.

shard -> name and bytes                  facts of the index: some hundred entries
image -> position, size, (CRC-32)        arrays of the index: mapped, 12 or 16 bytes an image
"""

import os
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from upreid.data.decode import UnreadableImage
from upreid.data.sources.index_file import Index
from upreid.data.sources.names import count_names, name_at
from upreid.data.sources.patience import patiently
from upreid.data.sources.source import LIMIT_BYTES, printable
from upreid.errors import InputError

MOST_OPEN = 128
"""Archives that one process keeps open."""


class Shard(NamedTuple):
    """An archive, and the number of the first image that is not in it or an earlier one."""

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
        """Open archives stay in the process that opened them."""
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
        content = patiently(lambda: self._pread(number, position, size), what=str(self.folder), seconds=self.patience)
        if len(content) < size:
            raise InputError(
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
