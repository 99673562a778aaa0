"""LUPerson and LUPerson-NL as their authors pack them: an lmdb of image files, and a pickle that lists its keys.

    ROOT/lmdb/data.mdb       key -> the bytes of a JPEG file (or ROOT/data.mdb)
    ROOT/keys.pkl            a list of keys; or {"keys": [...], "pids" or "vids": [...]}; or no such file: all keys, as stored

The environment is opened once per process, when the first image is read: read-only, without a lock file, so also from a
file system that cannot be written. What cannot be met with patience is a file server that goes away under an open lmdb: it is
mapped into memory, and the system ends a process that touches a page it cannot have. `upreid pack` it for such storage.
"""

import os
from pathlib import Path
from typing import Any

from upreid.data.decode import UnreadableImage
from upreid.data.sources.index_cache import Made, cached_index
from upreid.data.sources.index_file import Index
from upreid.data.sources.names import NAMES, count_names, name_at, pack_names
from upreid.data.sources.patience import patiently
from upreid.data.sources.plain_pickle import names_in, read_plain_pickle
from upreid.data.sources.source import LIMIT_BYTES, place
from upreid.errors import InputError

DATA, KEYS = "data.mdb", "keys.pkl"
_environments: dict[Path, Any] = {}
"""By folder: an lmdb must not be opened twice in a process."""


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
        environment = patiently(lambda: _environment(self.folder), what=str(self.root), seconds=self.patience)
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
    """Where the environment is, if `root` holds one."""
    return next((folder for folder in (root / "lmdb", root) if (folder / DATA).is_file()), None)


def open_lmdb(root: Path, *, patience: float) -> LmdbImages:
    """Recognise which of the three forms it is; the list of keys is kept if it is long.

    Raises `InputError` where the package `lmdb` is missing, the file is cut short or no lmdb, or the pickle is no list.
    """
    folder = lmdb_folder(root)
    assert folder is not None
    folder = folder.resolve()
    keys = next((path for path in (root / KEYS, folder / KEYS) if path.is_file()), None)
    _check(folder)
    stamp = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in (folder / DATA, keys) if file]
    index = cached_index(
        "lmdb",
        root,
        is_fresh=lambda found: found.facts["stamp"] == stamp,
        make=lambda: _list(folder, keys, stamp),
    )
    count = count_names(index)
    if count == 0:
        raise InputError(f"{root}: the lmdb has no images; give one that has")
    description = f"{root}: an lmdb of {count} images, keys from {index.facts['source']}"
    return LmdbImages(root, folder, index, description=description, patience=patience)


def _list(folder: Path, keys: Path | None, stamp: list[Any]) -> Made:
    if keys is None:
        with _environment(folder).begin() as transaction:
            stored = [bytes(key) for key in transaction.cursor().iternext(keys=True, values=False)]
        names = [key.decode("utf-8", "surrogateescape") for key in stored if not key.startswith(b"__")]
        return {"stamp": stamp, "source": "the lmdb itself"}, pack_names(names)
    value = read_plain_pickle(keys)
    form = "dict" if isinstance(value, dict) else "list"
    return {"stamp": stamp, "source": f"the {form} in {keys.name}"}, pack_names(names_in(keys, value))


def _check(folder: Path) -> None:
    """An lmdb cut short would end the process that reads beyond its end."""
    path, environment = folder / DATA, _environment(folder)
    pages, page = environment.info()["last_pgno"] + 1, environment.stat()["psize"]
    if path.stat().st_size < pages * page:
        raise InputError(
            f"{path} is cut short: {path.stat().st_size} bytes, and its pages take {pages * page}; copy it again"
        )


def _environment(folder: Path) -> Any:
    """The environment, opened where it is not; `OSError` where its file is not there."""
    if folder not in _environments:
        lmdb = _lmdb()
        (folder / DATA).stat()
        try:
            _environments[folder] = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, create=False)
        except lmdb.Error as error:
            raise InputError(f"{folder / DATA} is no lmdb that can be read ({error}); restore it") from error
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
