"""A folder of images, in any nesting.

A large listing is kept (`index_cache`) and used again as long as no folder has changed: the time at which names were last added
to or taken from it (`mtime`), asked of every folder, is what it was. That misses files whose content was replaced under the
same name, which no listing is about, and changes on file systems that do not keep these times.
"""

import os
import stat
import time
from pathlib import Path
from typing import Any

import numpy as np

from upreid.data.decode import UnreadableImage
from upreid.data.sources.index_cache import Made, cached_index
from upreid.data.sources.index_file import Index
from upreid.data.sources.names import NAMES, count_names, name_at, pack_names
from upreid.data.sources.patience import patiently
from upreid.data.sources.source import LIMIT_BYTES
from upreid.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
SETTLED = 2.0
"""Seconds: a folder that changed this shortly before it was listed may change again without a later `mtime`."""


class Folder:
    """Files below `root`, named by an index of their relative paths."""

    def __init__(
        self, root: Path, index: Index, *, description: str, patience: float, count: int | None = None
    ) -> None:
        self.root, self.index, self.description, self.patience = root, index, description, patience
        self.count = count_names(index) if count is None else count
        self.fingerprint = f"names {index.digest(*NAMES)} {self.count}"

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """Return the path relative to the root."""
        return name_at(self.index, index)

    def read(self, index: int) -> bytes:
        """Return the file's bytes; `UnreadableImage` for a missing one, as long as the folder itself is there."""
        path = self.root / self.name(index)
        try:
            return patiently(
                lambda: read_file(path), what=str(self.root), seconds=self.patience, is_there=self._is_there
            )
        except OSError as error:
            raise UnreadableImage(path, error.strerror or type(error).__name__) from error

    def _is_there(self) -> bool:
        """An empty mount point is a folder that has gone."""
        try:
            with os.scandir(self.root) as entries:
                return next(entries, None) is not None
        except OSError:
            return False


def read_file(path: Path) -> bytes:
    """Read a plain file of a size that an image may have; a named pipe is refused, and never waited for."""
    with open(path, "rb", buffering=0, opener=_open_at_once) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableImage(path, "it is no plain file")
        if found.st_size > LIMIT_BYTES:
            raise UnreadableImage(path, f"{found.st_size} bytes are over the limit of {LIMIT_BYTES // 2**20} MiB")
        return file.read()


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a named pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def open_folder(root: Path, *, patience: float) -> Folder:
    """Index the images under `root`, or use the index of an earlier run.

    The order is that of the code points of the `/`-joined relative path: the same on every file system and locale.
    Hidden files and folders and everything without an image suffix (in any case; so also `Thumbs.db`) are left out.
    Links to folders are not followed: a loop would never end.

    Raises `InputError` where there is no image in it, or a folder that cannot be listed.
    """
    index = cached_index("folder", root, is_fresh=lambda found: _is_unchanged(root, found), make=lambda: _list(root))
    if count_names(index) == 0:
        suffixes = ", ".join(sorted(SUFFIXES))
        raise InputError(f"no images in '{root}'; expected {suffixes} files in it or in folders below it")
    folders = int(index.facts["folders"])
    description = f"{root}: a folder of images ({count_names(index)} in {folders} folders)"
    return Folder(root, index, description=description, patience=patience)


def _list(root: Path) -> Made:
    began = time.time()
    names: list[str] = []
    folders: list[tuple[str, int]] = []  # relative path, mtime in ns, asked before the folder is listed
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        here = root / inside
        try:
            folders.append((inside, here.stat().st_mtime_ns))
            with os.scandir(here) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:  # to leave a folder out silently would change the data set
            raise InputError(f"cannot list '{here}' ({error.strerror}); make it readable or move it away") from error
        for entry in visible:
            relative = f"{inside}/{entry.name}" if inside else entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append(relative)
            elif is_image_name(entry.name) and not entry.is_dir():
                names.append(relative)
    names.sort()
    settled = all(changed < (began - SETTLED) * 1e9 for _, changed in folders)
    return _made(names, folders, settled)


def _made(names: list[str], folders: list[tuple[str, int]], settled: bool) -> Made:
    where = pack_names([folder for folder, _ in folders])
    arrays: dict[str, Any] = pack_names(names)
    arrays |= {"folders": where["names"], "folder_ends": where["name_ends"]}
    arrays["changed"] = np.array([changed for _, changed in folders], dtype=np.uint64)
    return {"folders": len(folders), "keep": settled}, arrays


def _is_unchanged(root: Path, index: Index) -> bool:
    """Ask every folder when it changed last."""
    where = {"names": index.arrays["folders"], "name_ends": index.arrays["folder_ends"]}
    folders = Index(kind="folders", facts={}, arrays=where, hashes={})
    try:
        return all(
            (root / name_at(folders, number)).stat().st_mtime_ns == int(then)
            for number, then in enumerate(index.arrays["changed"])
        )
    except OSError:
        return False


def is_image_name(name: str) -> bool:
    """Whether the suffix, in any case, is that of an image; `.jpg` alone is a hidden file."""
    stem, dot, suffix = name.rpartition(".")
    return bool(stem and dot) and f".{suffix.lower()}" in SUFFIXES
