"""Indices that take long to make are kept in the user's cache folder, never beside the images.

`$XDG_CACHE_HOME/upreid/` (by default `~/.cache/upreid/`), one file per absolute path of a source. Below `WORTH_A_FILE` names
nothing is written: listing anew is as fast as asking whether a listing still holds.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from upreid.data.sources.index_file import Arrays, Index, index_in_memory, open_index, write_index
from upreid.data.sources.names import NAMES
from upreid.errors import InputError
from upreid.runtime.console import say
from upreid.runtime.launcher import num_ranks

WORTH_A_FILE = 20_000
"""Names."""

Made = tuple[dict[str, Any], Arrays]
"""Facts and arrays of a new index. A fact `keep` that is false says: too fresh to be trusted later."""


def cache_folder() -> Path:
    """Where indices are kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "upreid"


def cached_index(kind: str, root: Path, *, is_fresh: Callable[[Index], bool], make: Callable[[], Made]) -> Index:
    """Reuse the index of `root` where `is_fresh` says that it still holds; make it, and keep it if it is large.

    Several processes that start together make it once. Where the cache cannot be written, the index stays in memory.
    """
    path = cache_folder() / f"{kind}-{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]}.index"
    index = _reuse(path, kind, is_fresh)
    if index is not None:
        return index
    with _one_at_a_time(path):
        index = _reuse(path, kind, is_fresh)  # another process may have made it meanwhile
        if index is not None:
            return index
        facts, arrays = make()
        if len(arrays["name_ends"]) < WORTH_A_FILE or not facts.get("keep", True):
            return index_in_memory(kind, facts, arrays)
        try:
            write_index(path, kind, facts, {name: [array] for name, array in arrays.items()})
        except OSError as error:
            say(
                f"the index of {root} cannot be kept in {path.parent} ({error.strerror}); it will be made again next time"
            )
            return index_in_memory(kind, facts, arrays)
        return open_index(path, kind)


def _reuse(path: Path, kind: str, is_fresh: Callable[[Index], bool]) -> Index | None:
    try:
        index = open_index(path, kind, check=NAMES)
    except InputError:  # missing, damaged or of another version: it is only a cache
        return None
    try:
        return index if is_fresh(index) else None
    except (KeyError, InputError):
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
