"""Image files by their paths: a folder in any nesting, and a folder whose files a ranked list names.

LUPerson as TransReID-SSL uses it is a folder `images/` and `CFS_list.pkl`, its file names ranked by their CFS score, best first
(https://github.com/damo-cv/TransReID-SSL, commit fc39e88, `dino/main_dino.py`); their runs keep the upper half. The list says
which files there are, so the folder of millions is never listed.
"""

import os
import stat
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from upreid.data.decode import UnreadableImage
from upreid.data.sources.index_file import NAMES, Index, count_names, name_at, pack_names
from upreid.data.sources.plain_pickle import names_in, read_plain_pickle
from upreid.data.sources.retry import retry
from upreid.data.sources.source import HIDDEN, LIMIT_BYTES, SUFFIXES, Listing, is_image_name, kind_of, left_out
from upreid.errors import DataError, InputError

SETTLED = 2.0
"""Number of seconds: a folder that changed so shortly before it was listed may change again without a later `mtime`."""
RANKED_LIST = "CFS_list.pkl"
TRIED = 100
"""Number of names of the ranked list that are looked for to find out where they stand; some may be missing."""
LINK_AGAIN = "links to folders that are listed already"
IMAGE, FOLDER = "images", "folders"


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
            return retry(lambda: read_file(path), what=str(self.root), seconds=self.patience, is_there=self._is_there)
        except OSError as error:
            raise UnreadableImage(path, error.strerror or type(error).__name__) from error

    def _is_there(self) -> bool:
        """Return whether the folder holds anything: an empty mount point is a folder that has gone."""
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


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images, in any nesting; links to folders are followed, and every folder is listed once.

    The order is that of the code points of the `/`-joined relative path: the same on every file system and locale. Hidden
    files and folders and everything without an image suffix (in any case) are left out, and counted by kind.

    A kept list is used again as long as no folder has changed: the time at which names were last added to or taken from it
    (`mtime`), asked of every folder, is what it was. That misses files whose content was replaced under the same name, which
    no list is about, and changes on file systems that do not keep these times.
    """

    root: Path
    kind = "folder"

    def list_images(self) -> Listing:
        """Walk through the folder; `InputError` where a folder below it cannot be listed."""
        began = time.time()
        walk = Walk(self.root)
        folders = pack_names([name for name, _ in walk.folders])
        arrays: dict[str, Any] = pack_names(sorted(walk.names))
        arrays |= {"folders": folders["names"], "folder_ends": folders["name_ends"]}
        arrays["changed"] = np.array([changed for _, changed in walk.folders], dtype=np.uint64)
        facts = {"folders": len(walk.folders), "left_out": dict(walk.kinds)}
        facts["archives"] = [] if walk.names else sorted(walk.archives)
        is_settled = all(changed < (began - SETTLED) * 1e9 for _, changed in walk.folders)
        return Listing(arrays=arrays, facts=facts, is_settled=is_settled)

    def is_current(self, kept: Index) -> bool:
        """Ask every folder when it changed last."""
        where = {"names": kept.arrays["folders"], "name_ends": kept.arrays["folder_ends"]}
        folders = Index(kind="folders", facts={}, arrays=where, hashes={})
        try:
            return all(
                (self.root / name_at(folders, number)).stat().st_mtime_ns == int(then)
                for number, then in enumerate(kept.arrays["changed"])
            )
        except OSError:
            return False

    def open(self, listed: Index, *, patience: float) -> Folder:
        """Open the folder; `InputError` where there is no image in it."""
        count, facts = count_names(listed), listed.facts
        others = left_out(facts["left_out"])
        if count == 0:
            suffixes = ", ".join(sorted(SUFFIXES))
            raise InputError(
                f"no images in '{self.root}'{others}; expected {suffixes} files in it or in folders below it"
            )
        description = f"{self.root}: a folder of images ({count} in {facts['folders']} folders){others}"
        return Folder(self.root, listed, description=description, patience=patience)


class Walk:
    """What there is below a folder: images, folders with the time of their last change, archives, and other kinds of files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: list[str] = []
        self.folders: list[tuple[str, int]] = []  # relative path, mtime in ns, asked before the folder is listed
        self.archives: list[str] = []
        self.kinds: Counter[str] = Counter()
        self.listed: set[tuple[int, int]] = set()  # device and inode
        self.links: list[str] = []
        self._list("", is_linked=False)
        while (
            self.links
        ):  # after all that can be reached without them, so that a folder has its own name where it has one
            self.links.sort(reverse=True)
            self._list(self.links.pop(), is_linked=True)

    def _list(self, inside: str, *, is_linked: bool) -> None:
        waiting = [inside]
        while waiting:
            inside = waiting.pop()
            here = self.root / inside
            try:
                found = here.stat()
                identity = found.st_dev, found.st_ino
                if is_linked and found.st_ino and identity in self.listed:
                    self.kinds[LINK_AGAIN] += 1
                    continue
                self.listed.add(identity)
                self.folders.append((inside, found.st_mtime_ns))
                with os.scandir(here) as entries:
                    waiting += [name for entry in entries if (name := self._take(entry, inside))]
            except OSError as error:  # to leave a folder out silently would change the data set
                raise InputError(
                    f"cannot list '{here}' ({error.strerror}); make it readable or move it away"
                ) from error

    def _take(self, entry: os.DirEntry[str], inside: str) -> str | None:
        """Note what an entry is; return the path of a folder that is still to be listed."""
        relative, kind = f"{inside}/{entry.name}" if inside else entry.name, kind_of_entry(entry)
        if kind == FOLDER and not entry.is_symlink():
            return relative
        if kind == FOLDER:
            self.links.append(relative)
        elif kind == IMAGE:
            self.names.append(relative)
        else:
            self.kinds[kind] += 1
            if kind == ".tar":
                self.archives.append(relative)
        return None


def kind_of_entry(entry: os.DirEntry[str]) -> str:
    """Return `IMAGE`, `FOLDER`, or the kind of anything else; a link that leads nowhere is a file that is missing."""
    if entry.name.startswith("."):
        return HIDDEN
    is_folder, is_file = entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False)
    if entry.is_symlink():
        try:
            mode = entry.stat().st_mode
        except OSError:
            mode = stat.S_IFREG
        is_folder, is_file = stat.S_ISDIR(mode), stat.S_ISREG(mode)
    if is_folder:
        return FOLDER
    if not is_file:
        return "pipes, sockets or devices"
    return IMAGE if is_image_name(entry.name) else kind_of(entry.name)


@dataclass(frozen=True)
class RankedFolder:
    """The top `share` of a ranked list, in its order."""

    root: Path
    share: float
    kind = "ranked"

    def list_images(self) -> Listing:
        """Read the list; `DataError` where it is no plain list, leads out of the folder, or its files are not there."""
        path = self.root / RANKED_LIST
        names = names_in(path, read_plain_pickle(path))
        if not names:
            raise DataError(f"{path} is empty; give the ranked list that the images came with")
        outside = next((name for name in names if name.startswith("/") or ".." in PurePosixPath(name).parts), None)
        if outside is not None:
            raise DataError(f"{path}: {outside[:80]!r} leads out of the folder; names must be relative to images/")
        places = ((inside, name) for inside in ("images", "") for name in names[:TRIED])
        inside = next((inside for inside, name in places if (self.root / inside / name).is_file()), None)
        if inside is None:
            raise DataError(
                f"{self.root}: none of the first names in {RANKED_LIST} (such as {names[0][:80]!r}) is a file in images/ or "
                f"beside the list; put the images there"
            )
        return Listing(arrays=pack_names(names), facts={"stamp": self._stamp(), "inside": inside})

    def _stamp(self) -> list[int]:
        found = (self.root / RANKED_LIST).stat()
        return [found.st_size, found.st_mtime_ns]

    def is_current(self, kept: Index) -> bool:
        """Compare size and time of change of the list."""
        return kept.facts["stamp"] == self._stamp()

    def open(self, listed: Index, *, patience: float) -> Folder:
        """Open the files that the upper part of the list names."""
        total = count_names(listed)
        count = max(int(self.share * total), 1)
        base = self.root / listed.facts["inside"]
        part = f"the top {count} of {total} names (share {self.share:g})" if self.share < 1 else f"all {total} names"
        description = f"{self.root}: a folder ranked by {RANKED_LIST}, {part}, files in {base}"
        return Folder(base, listed, description=description, patience=patience, count=count)
