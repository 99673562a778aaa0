"""A set that `upreid pack` made: tar shards, one index over all of them, and a manifest.

    manifest.json        what it was made from and how, what was skipped and why, a hash per shard; written last
    index.upreid         where each image lies (`index_file`)
    shard-000000.tar     ...

Opening it reads the manifest, checks the index against its hashes and the size of every shard, and looks at one header in each:
no image is touched.
"""

import json
import os
import re
import tarfile
from pathlib import Path
from typing import Any

from upreid.data.sources.archives import Shard, ShardImages
from upreid.data.sources.index_file import NAMES, Index, count_names, open_index
from upreid.data.sources.retry import SECONDS
from upreid.errors import DataError, InputError

FORMAT, VERSION = "upreid-pack", 1
MANIFEST, INDEX, UNFINISHED = "manifest.json", "index.upreid", ".pack"
KIND = "packed"
WHERE = ("positions", "sizes", "checks")
SHARD_NAME = re.compile(r"shard-\d{6,}\.tar")
LARGEST_MANIFEST = 2**28


def is_packed(root: Path) -> bool:
    """Return whether `root` is, or is becoming, a packed set."""
    return (root / INDEX).is_file() or (root / UNFINISHED).is_dir()


def open_packed(root: Path, *, patience: float = SECONDS) -> ShardImages:
    """Open a packed set, and refuse one that is unfinished, damaged, of another version, or not of one piece."""
    manifest = read_manifest(root)
    index = open_index(root / INDEX, KIND, check=WHERE)
    if not {*NAMES, *WHERE} <= index.arrays.keys():
        raise DataError(f"{root / INDEX} lacks arrays that a packed set has; it is damaged: pack again")
    if manifest["index"] != index.digest(*NAMES, *WHERE):
        raise DataError(f"{root}: {INDEX} and {MANIFEST} are not of the same pack; restore the one that was exchanged")
    shards = _shards(root, index)
    for number, shard in enumerate(shards):
        _check_shard(root, index, shard, first=shards[number - 1].end if number else 0)
    count = count_names(index)
    shape = manifest["settings"]
    kept = "original files" if not any(shape[name] for name in ("height", "width", "quality")) else "re-encoded"
    labels = f", labelled: {manifest['labelled'].get('name')}" if isinstance(manifest.get("labelled"), dict) else ""
    return ShardImages(
        root,
        shards,
        index,
        description=f"{root}: a packed set ({count} images in {len(shards)} shards, {kept}{labels})",
        fingerprint=f"packed {manifest['index']}",
        patience=patience,
    )


def read_manifest(root: Path) -> dict[str, Any]:
    """Read what a finished pack says of itself."""
    path = root / MANIFEST
    if not path.is_file():
        raise InputError(f"{root} is a pack that was not finished; run the same upreid pack again, and it will go on")
    if path.stat().st_size > LARGEST_MANIFEST:
        raise DataError(f"{path} is absurdly large; restore it or pack again")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        is_ours = manifest["format"] == FORMAT and isinstance(manifest["index"], str)
        version, _ = manifest["version"], [manifest["settings"][name] for name in ("height", "width", "quality")]
    except (ValueError, KeyError, TypeError, RecursionError):
        is_ours, version, manifest = False, VERSION, {}
    if not is_ours:
        raise DataError(f"{path} is no manifest of a packed set, or damaged; restore it or pack again")
    if version != VERSION:
        raise DataError(
            f"{path} is of version {version}, and this upreid reads version {VERSION}; pack again, or use the upreid that made it"
        )
    return manifest


def _shards(root: Path, index: Index) -> list[Shard]:
    """Return the shards that the index speaks of, if what it says fits together."""
    try:
        shards = [Shard(str(entry["name"]), int(entry["bytes"]), int(entry["end"])) for entry in index.facts["shards"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{root / INDEX} does not say which shards there are; it is damaged: pack again") from error
    ends = [0, *(shard.end for shard in shards)]
    counts = {count_names(index), ends[-1], *(len(index.arrays.get(name, ())) for name in WHERE)}
    if not shards or ends != sorted(ends) or len(counts) > 1:
        raise DataError(f"{root / INDEX}: counts of images do not agree; it is damaged: pack again")
    for shard in shards:
        if not SHARD_NAME.fullmatch(shard.name):
            raise DataError(f"{root / INDEX} names '{shard.name[:80]}', which is no shard; it is damaged or hostile")
    return shards


def _check_shard(root: Path, index: Index, shard: Shard, *, first: int) -> None:
    """Refuse a shard of another size than the index says, or whose first image has no header where the index says."""
    path = root / shard.name
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} is missing ({error.strerror}); restore it or pack again") from error
    if size != shard.size:
        state = "shorter" if size < shard.size else "longer"
        raise DataError(
            f"{path} is {state} than its index says ({size} bytes, not {shard.size}); restore it or pack again"
        )
    if first == shard.end:
        return
    position, length = int(index.arrays["positions"][first]), int(index.arrays["sizes"][first])
    if not _has_header(path, position - tarfile.BLOCKSIZE, length, size):
        raise DataError(f"{path} is not the shard that {INDEX} was made for; restore it or pack again")


def _has_header(path: Path, position: int, length: int, size: int) -> bool:
    """Return whether there is a header of a member of `length` bytes."""
    if not 0 <= position < size:
        return False
    with path.open("rb", buffering=0) as file:
        block = os.pread(file.fileno(), tarfile.BLOCKSIZE, position)
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size == length
    except (tarfile.HeaderError, ValueError, OverflowError):
        return False
