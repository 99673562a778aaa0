"""LUPerson as TransReID-SSL uses it: a folder `images/` and `CFS_list.pkl`, its file names ranked by their CFS score.

The list is a pickle, best name first (https://github.com/damo-cv/TransReID-SSL, commit fc39e88, `dino/main_dino.py`); their runs
keep the upper half. The list says which files there are, so the folder of millions is never listed.
"""

from pathlib import Path, PurePosixPath
from typing import Any

from upreid.data.sources.folder import Folder
from upreid.data.sources.index_cache import Made, cached_index
from upreid.data.sources.names import count_names, pack_names
from upreid.data.sources.plain_pickle import names_in, read_plain_pickle
from upreid.errors import InputError

LIST = "CFS_list.pkl"
TRIED = 100
"""Names of the list that are looked for to find out where they stand; some may be missing."""


def open_ranked_list(root: Path, *, share: float, patience: float) -> Folder:
    """Take the top `share` of the list, in its order; a long list is read once and kept (`index_cache`).

    Raises `InputError` where the pickle is no plain list, a name leads out of the folder, or the files are not there.
    """
    found = (root / LIST).stat()
    stamp = [found.st_size, found.st_mtime_ns]
    index = cached_index(
        "ranked", root, is_fresh=lambda kept: kept.facts["stamp"] == stamp, make=lambda: _read(root, stamp)
    )
    total = count_names(index)
    count = max(int(share * total), 1)
    base = root / index.facts["inside"]
    part = f"the top {count} of {total} names (share {share:g})" if share < 1 else f"all {total} names"
    description = f"{root}: a folder ranked by {LIST}, {part}, files in {base}"
    return Folder(base, index, description=description, patience=patience, count=count)


def _read(root: Path, stamp: list[Any]) -> Made:
    names = names_in(root / LIST, read_plain_pickle(root / LIST))
    if not names:
        raise InputError(f"{root / LIST} is empty; give the ranked list that the images came with")
    outside = next((name for name in names if name.startswith("/") or ".." in PurePosixPath(name).parts), None)
    if outside is not None:
        raise InputError(f"{root / LIST}: {outside[:80]!r} leads out of the folder; names must be relative to images/")
    places = ((inside, name) for inside in ("images", "") for name in names[:TRIED])
    inside = next((inside for inside, name in places if (root / inside / name).is_file()), None)
    if inside is None:
        raise InputError(
            f"{root}: none of the first names in {LIST} (such as {names[0][:80]!r}) is a file in images/ or beside the list; "
            f"put the images there"
        )
    return {"stamp": stamp, "inside": inside}, pack_names(names)
