"""What is at a path: one function that looks, and says in one sentence what it found; and one place that keeps long lists.

Lists that take long to make are kept in the user's cache folder, never beside the images: `$XDG_CACHE_HOME/upreid/` (by default
`~/.cache/upreid/`), one file per absolute path of a source. Below `WORTH_A_FILE` names nothing is written: listing anew is as
fast as asking whether a list still holds.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from upreid.data.sources.archives import TarArchives
from upreid.data.sources.folder import RANKED_LIST, ImageFolder, RankedFolder
from upreid.data.sources.index_file import NAMES, Index, count_names, index_in_memory, open_index, write_index
from upreid.data.sources.lmdb_images import Lmdb, lmdb_folder
from upreid.data.sources.packed_set import is_packed, open_packed
from upreid.data.sources.retry import SECONDS
from upreid.data.sources.source import SUFFIXES, Form, Source, is_image_name
from upreid.errors import DataError, InputError
from upreid.runtime.console import say
from upreid.runtime.launcher import num_ranks

COMPRESSED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
WORTH_A_FILE = 20_000
"""Number of names from which a list is kept."""
LISTS_VERSION = 2
"""Version of what a list holds; lists that an earlier version kept are made again."""


def open_source(root: Path, *, cfs_share: float = 1.0, patience: float = SECONDS) -> Source:
    """Open a packed set, an lmdb, a folder with a ranked list, tar archives, or a folder of images: what is found first.

    `cfs_share`: the top share of a ranked list. `patience`: seconds to wait for storage that does not answer.
    Raises `InputError` where there is nothing of the kind, or two readings are possible.
    """
    form = recognise(root, cfs_share=cfs_share)
    if form is None:
        return open_packed(root, patience=patience)
    listed = list_of(form)
    if isinstance(form, ImageFolder) and not count_names(listed) and listed.facts["archives"]:
        form = TarArchives(root, [root / name for name in listed.facts["archives"]])
        listed = list_of(form)
    return form.open(listed, patience=patience)


def recognise(root: Path, *, cfs_share: float = 1.0) -> Form | None:
    """Name the form of what lies at `root`; None for a packed set, which brings its own list."""
    if not 0 < cfs_share <= 1:
        raise InputError(f"a share of {cfs_share:g} of the ranked list is impossible; give a number above 0, up to 1")
    packed, lmdb = root.is_dir() and is_packed(root), lmdb_folder(root) is not None
    if (root / RANKED_LIST).is_file() and not packed and not lmdb:
        return RankedFolder(root, share=cfs_share)
    if cfs_share < 1:
        raise InputError(
            f"a share is taken of a ranked {RANKED_LIST}, and {root} has none; put it there, or leave the share out"
        )
    if packed:
        return None
    if lmdb:
        return Lmdb(root)
    archives = _archives(root)
    return TarArchives(root, archives) if archives else ImageFolder(root)


def _archives(root: Path) -> list[Path]:
    """Return the tar archives at or directly in `root`; none for a folder of images."""
    if root.is_file() and root.name.endswith(".tar"):
        return [root]
    if not root.is_dir():
        _refuse(root)
    try:
        entries = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot list '{root}' ({error.strerror}); make it readable or move it away") from error
    archives = sorted(entry for entry in entries if entry.name.endswith(".tar") and entry.is_file())
    rivals = (entry for entry in entries if is_image_name(entry.name) or entry.is_dir()) if archives else iter(())
    rival = next(rivals, None)
    if rival is not None:
        raise InputError(
            f"{root} holds tar archives ({archives[0].name}) beside {rival.name}; give one of the two: --data.root "
            f"{archives[0]}, or a folder without archives"
        )
    return archives


def _refuse(root: Path) -> None:
    if root.name.endswith(COMPRESSED):
        raise InputError(f"'{root}' is compressed, and cannot be read at random; decompress it to a .tar or a folder")
    found = "is a file" if root.exists() else "does not exist"
    raise InputError(
        f"image folder '{root}' {found}; give a folder that holds {', '.join(sorted(SUFFIXES))} files, a packed set, an lmdb "
        f"or tar archives"
    )


def cache_folder() -> Path:
    """Return where lists are kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "upreid"


def list_of(form: Form) -> Index:
    """Reuse the list of a source where it still holds; else make it, and keep it if it is long.

    Several processes that start together make it once. Where the cache cannot be written, the list stays in memory.
    """
    path = cache_folder() / f"{form.kind}-{hashlib.sha256(os.fsencode(form.root.resolve())).hexdigest()[:32]}.index"
    index = _reuse(path, form)
    if index is not None:
        return index
    with _one_at_a_time(path):
        index = _reuse(path, form)  # another process may have made it meanwhile
        if index is not None:
            return index
        listing = form.list_images()
        facts = {**listing.facts, "version": LISTS_VERSION}
        if len(listing.arrays["name_ends"]) < WORTH_A_FILE or not listing.is_settled:
            return index_in_memory(form.kind, facts, listing.arrays)
        try:
            write_index(path, form.kind, facts, {name: [array] for name, array in listing.arrays.items()})
        except OSError as error:
            say(
                f"the list of {form.root} cannot be kept in {path.parent} ({error.strerror}); it will be made again next time"
            )
            return index_in_memory(form.kind, facts, listing.arrays)
        return open_index(path, form.kind)


def _reuse(path: Path, form: Form) -> Index | None:
    try:
        index = open_index(path, form.kind, check=NAMES)
        return index if index.facts["version"] == LISTS_VERSION and form.is_current(index) else None
    except (DataError, KeyError):  # missing, damaged or of another version: it is only a cache
        return None


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Among ranks hold a lock beside the cache file, where the file system has locks."""
    if num_ranks() == 1:
        yield
        return
    with ExitStack() as stack:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context((path.parent / ".lock").open("ab")), fcntl.LOCK_EX)
        yield
