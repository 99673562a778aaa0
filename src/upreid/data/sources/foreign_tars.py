"""Plain tar archives made by others: one file, or a folder of them.

Their headers are read once; the index is kept (`index_cache`) and used again as long as names, sizes and times of change of the
archives are what they were. Order: archives by name, members as they lie. Everything that is no image by its suffix, and hidden
files, are left out, as in a folder.
"""

from pathlib import Path
from typing import Any

import numpy as np

from upreid.data.sources.folder import is_image_name
from upreid.data.sources.index_cache import Made, cached_index
from upreid.data.sources.names import NAMES, count_names, pack_names
from upreid.data.sources.shards import Shard, ShardImages
from upreid.data.sources.tar_headers import members
from upreid.errors import InputError
from upreid.runtime.console import progress

LARGEST = 2**32 - 1
"""Sizes are kept in 32 bits; an image is refused long before it is so large."""


def open_tars(root: Path, paths: list[Path], *, patience: float) -> ShardImages:
    """Index the archives at `paths` (`root` itself, or files in it), or use the index of an earlier run.

    Raises `InputError` where one is compressed, damaged or cut short, or no image is in any.
    """
    stamp = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    index = cached_index(
        "tars", root, is_fresh=lambda found: found.facts["stamp"] == stamp, make=lambda: _list(paths, stamp)
    )
    if count_names(index) == 0:
        raise InputError(
            f"no images in the tar archives of {root}; expected members named as images are (.jpg, .png, ...)"
        )
    facts = index.facts
    shards = [Shard(name, size, end) for (name, size, _), end in zip(stamp, facts["ends"], strict=True)]
    digest = index.digest(*NAMES, "positions", "sizes")
    return ShardImages(
        root,
        shards,
        index,
        description=f"{root}: {len(paths)} tar archives made elsewhere ({count_names(index)} images, "
        f"{facts['others']} other members left out)",
        fingerprint=f"tars {digest}",
        patience=patience,
    )


def _list(paths: list[Path], stamp: list[Any]) -> Made:
    names: list[str] = []
    positions: list[int] = []
    sizes: list[int] = []
    ends, others = [], 0
    with progress("indexing tar archives", len(paths), "archives", quiet=len(paths) < 2) as meter:
        for path in paths:
            inside = f"{path.name}/" if len(paths) > 1 else ""
            for member in members(path):
                name = member.name.removeprefix("./")
                if not is_image_name(name) or any(part.startswith(".") for part in name.split("/")):
                    others += 1
                    continue
                names.append(inside + name)
                positions.append(member.position)
                sizes.append(min(member.size, LARGEST))
            ends.append(len(names))
            meter.advance()
    arrays: dict[str, Any] = pack_names(names)
    arrays |= {"positions": np.array(positions, dtype=np.uint64), "sizes": np.array(sizes, dtype=np.uint32)}
    return {"stamp": stamp, "ends": ends, "others": others}, arrays
