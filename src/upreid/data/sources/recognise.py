"""What is at a path: one function that looks, and says in one sentence what it found."""

from pathlib import Path

from upreid.data.sources.folder import SUFFIXES, is_image_name, open_folder
from upreid.data.sources.foreign_tars import open_tars
from upreid.data.sources.lmdb_keys import lmdb_folder, open_lmdb
from upreid.data.sources.packed_set import is_packed, open_packed
from upreid.data.sources.patience import SECONDS
from upreid.data.sources.ranked_list import LIST, open_ranked_list
from upreid.data.sources.source import Source
from upreid.errors import InputError

COMPRESSED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")


def open_source(root: Path, *, cfs_share: float = 1.0, patience: float = SECONDS) -> Source:
    """Open a packed set, an lmdb, a folder with a ranked list, tar archives, or a folder of images: what is found first.

    `cfs_share`: the top share of a ranked list. `patience`: seconds to wait for storage that does not answer.
    Raises `InputError` where there is nothing of the kind, or two readings are possible.
    """
    if not 0 < cfs_share <= 1:
        raise InputError(f"a share of {cfs_share:g} of the ranked list is impossible; give a number above 0, up to 1")
    if (root / LIST).is_file() and not is_packed(root) and lmdb_folder(root) is None:
        return open_ranked_list(root, share=cfs_share, patience=patience)
    if cfs_share < 1:
        raise InputError(
            f"a share is taken of a ranked {LIST}, and {root} has none; put it there, or leave the share out"
        )
    if root.is_dir() and is_packed(root):
        return open_packed(root, patience=patience)
    if root.is_dir() and lmdb_folder(root):
        return open_lmdb(root, patience=patience)
    archives = _archives(root)
    return open_tars(root, archives, patience=patience) if archives else open_folder(root, patience=patience)


def _archives(root: Path) -> list[Path]:
    """Tar archives at or directly in `root`; none for a folder of images."""
    if root.is_file() and root.name.endswith(".tar"):
        return [root]
    if not root.is_dir():
        _refuse(root)
    try:
        entries = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot list '{root}' ({error.strerror}); make it readable or move it away") from error
    archives = sorted(entry for entry in entries if entry.name.endswith(".tar") and entry.is_file())
    rival = (
        next((entry for entry in entries if is_image_name(entry.name) or entry.is_dir()), None) if archives else None
    )
    if rival is not None:
        raise InputError(
            f"{root} holds tar archives ({archives[0].name}) beside {rival.name}; give one of the two: --data.root "
            f"{archives[0]}, or a folder without archives"
        )
    return archives


def _refuse(root: Path) -> None:
    suffixes = ", ".join(sorted(SUFFIXES))
    if root.name.endswith(COMPRESSED):
        raise InputError(f"'{root}' is compressed, and cannot be read at random; decompress it to a .tar or a folder")
    found = "is a file" if root.exists() else "does not exist"
    raise InputError(
        f"image folder '{root}' {found}; give a folder that holds {suffixes} files, a packed set, an lmdb or tar archives"
    )
