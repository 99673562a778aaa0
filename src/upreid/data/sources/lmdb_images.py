"""LUPerson and LUPerson-NL as their authors pack them: an lmdb of image files, and a pickle that lists its keys.

    ROOT/lmdb/data.mdb       key -> the bytes of a JPEG file (or ROOT/data.mdb)
    ROOT/keys.pkl            a list of keys; or {"keys": [...], "pids" or "vids": [...]}; or no such file: all keys, as stored

The environment is opened once per process, when the first image is read: read-only, without a lock file, so also from a
file system that cannot be written. What cannot be waited for is a file server that goes away under an open lmdb: it is
mapped into memory, and the system ends a process that touches a page it cannot have. `upreid pack` it for such storage.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upreid.data.decode import UnreadableImage
from upreid.data.sources.index_file import NAMES, Index, count_names, name_at, pack_names
from upreid.data.sources.plain_pickle import names_in, read_plain_pickle
from upreid.data.sources.retry import retry
from upreid.data.sources.source import LIMIT_BYTES, Listing, place
from upreid.errors import DataError, InputError

DATA, KEYS = "data.mdb", "keys.pkl"
_environments: dict[Path, Any] = {}
"""Open environments by folder: an lmdb must not be opened twice in a process."""


class LmdbImages:
    """Values of an lmdb, by a list of keys."""

    def __init__(self, root: Path, folder: Path, index: Index, *, description: str, patience: float) -> None:
        self.root, self.folder, self.index = root, folder, index
        self.description, self.patience = description, patience
        self.fingerprint = f"keys {index.digest(*NAMES)}"

    def __len__(self) -> int:
        return count_names(self.index)

    def name(self, index: int) -> str:
        """Return the key."""
        return name_at(self.index, index)

    def read(self, index: int) -> bytes:
        """Return the stored bytes; `UnreadableImage` for a key that the lmdb does not have."""
        key, where = self.name(index), place(self, index)
        environment = retry(lambda: _environment(self.folder), what=str(self.root), seconds=self.patience)
        try:
            with environment.begin(buffers=True) as transaction:
                value = transaction.get(key.encode("utf-8", "surrogateescape"))
                if value is None:
                    raise UnreadableImage(where, "the list has this key, the lmdb does not")
                if len(value) > LIMIT_BYTES:
                    raise UnreadableImage(where, f"{len(value)} bytes are over the limit")
                return bytes(value)
        except _lmdb().Error as error:
            raise UnreadableImage(where, f"lmdb: {error}") from error


def lmdb_folder(root: Path) -> Path | None:
    """Return where the environment is, if `root` holds one."""
    return next((folder for folder in (root / "lmdb", root) if (folder / DATA).is_file()), None)


@dataclass(frozen=True)
class Lmdb:
    """An lmdb in any of its three forms.

    A kept list is used again as long as sizes and times of change of the lmdb and the pickle are what they were.
    """

    root: Path
    kind = "lmdb"

    @property
    def folder(self) -> Path:
        """Folder of the environment."""
        folder = lmdb_folder(self.root)
        assert folder is not None
        return folder.resolve()

    @property
    def keys(self) -> Path | None:
        """The pickle that lists the keys, if there is one."""
        return next((path for path in (self.root / KEYS, self.folder / KEYS) if path.is_file()), None)

    def list_images(self) -> Listing:
        """List the keys; `DataError` where the lmdb is cut short or none, or the pickle is no list."""
        _check(self.folder)
        keys = self.keys
        if keys is None:
            with _environment(self.folder).begin() as transaction:
                stored = [bytes(key) for key in transaction.cursor().iternext(keys=True, values=False)]
            names = [key.decode("utf-8", "surrogateescape") for key in stored if not key.startswith(b"__")]
            return Listing(arrays=pack_names(names), facts={"stamp": self._stamp(), "source": "the lmdb itself"})
        value = read_plain_pickle(keys)
        source = f"the {'dict' if isinstance(value, dict) else 'list'} in {keys.name}"
        return Listing(arrays=pack_names(names_in(keys, value)), facts={"stamp": self._stamp(), "source": source})

    def _stamp(self) -> list[list[Any]]:
        found = [(file, file.stat()) for file in (self.folder / DATA, self.keys) if file]
        return [[file.name, status.st_size, status.st_mtime_ns] for file, status in found]

    def is_current(self, kept: Index) -> bool:
        """Compare sizes and times of change."""
        return kept.facts["stamp"] == self._stamp()

    def open(self, listed: Index, *, patience: float) -> LmdbImages:
        """Open the images by their keys."""
        _check(self.folder)
        count = count_names(listed)
        if count == 0:
            raise DataError(f"{self.root}: the lmdb has no images; give one that has")
        description = f"{self.root}: an lmdb of {count} images, keys from {listed.facts['source']}"
        return LmdbImages(self.root, self.folder, listed, description=description, patience=patience)


def _check(folder: Path) -> None:
    """Refuse an lmdb that is cut short: the system ends a process that reads beyond its end."""
    path, environment = folder / DATA, _environment(folder)
    pages, page = environment.info()["last_pgno"] + 1, environment.stat()["psize"]
    if path.stat().st_size < pages * page:
        raise DataError(
            f"{path} is cut short: {path.stat().st_size} bytes, and its pages take {pages * page}; copy it again"
        )


def _environment(folder: Path) -> Any:
    """Return the environment, opened where it is not; `OSError` where its file is not there."""
    if folder not in _environments:
        lmdb = _lmdb()
        (folder / DATA).stat()
        try:
            _environments[folder] = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, create=False)
        except lmdb.Error as error:
            raise DataError(f"{folder / DATA} is no lmdb that can be read ({error}); restore it") from error
    return _environments[folder]


def _close_all() -> None:
    while _environments:
        _environments.popitem()[1].close()


os.register_at_fork(before=_close_all)  # an environment must not cross a fork; it is opened again where it is needed


def _lmdb() -> Any:
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise InputError("reading an lmdb needs the package lmdb: pip install 'upreid[lmdb]'") from error
    return lmdb
