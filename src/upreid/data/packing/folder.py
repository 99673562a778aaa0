"""The folder of a packed set, from its plan to its manifest.

While it is made, `.pack/` holds the plan and a record per finished shard; a run that is killed leaves them, and the next one
writes only the shards that have none. The manifest comes last: with it the set is whole.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from upreid.data.benchmarks.packed import LABELS
from upreid.data.packing.shard import RECORD, Packing
from upreid.data.sources.index_file import NAMES, Index, joined, open_index, write_index
from upreid.data.sources.packed_set import FORMAT, INDEX, KIND, MANIFEST, UNFINISHED, VERSION, WHERE, read_manifest
from upreid.data.tracklet_lists import arrays_of
from upreid.errors import InputError
from upreid.runtime.files import write_text

PLAN = "plan.json"


def plan_of(packing: Packing) -> dict[str, Any]:
    """Return everything that decides the bytes of the set."""
    shape = packing.shape
    encodes = not (shape.height is None and shape.width is None and shape.quality is None)
    return {
        "format": FORMAT,
        "version": VERSION,
        "source": {"images": len(packing.source), "fingerprint": packing.source.fingerprint},
        "settings": {**vars(shape), "shard_size": packing.shard_size},
        "encoder": f"Pillow {PIL.__version__}" if encodes else None,
        **({"labelled": packing.labels.about} if packing.labels else {}),
        **({"tracklets": packing.tracklets.fingerprint} if packing.tracklets else {}),
    }


def begin(packing: Packing) -> bool:
    """Make the folder ready, or take up what an earlier run left; return whether the set is whole already.

    Raises `InputError` where the folder holds something else, or a set made otherwise.
    """
    plan, out = plan_of(packing), packing.out
    if (out / MANIFEST).exists():
        manifest = read_manifest(out)
        _refuse_other(out, {name: manifest.get(name) for name in plan}, plan)
        shutil.rmtree(out / UNFINISHED, ignore_errors=True)
        return True
    if (out / UNFINISHED / PLAN).exists():
        _refuse_other(out, json.loads((out / UNFINISHED / PLAN).read_text(encoding="utf-8")), plan)
        for left in (out / UNFINISHED).glob("*.tar.*"):
            left.unlink()
        return False
    others = [entry.name for entry in out.iterdir() if entry.name not in (UNFINISHED, ".lock")]
    if others:
        raise InputError(f"{out} is not empty ({others[0]}) and no pack; choose a new folder")
    write_text(out / UNFINISHED / PLAN, json.dumps(plan, indent=2) + "\n")
    return False


def _refuse_other(out: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    if found != wanted:
        differs = ", ".join(name for name in {**wanted, **found} if found.get(name) != wanted.get(name))
        raise InputError(f"{out} was packed otherwise ({differs} differ); choose another folder, or delete this one")


def finish(packing: Packing) -> dict[str, Any]:
    """Write index and manifest from the records, and leave nothing else; return the manifest."""
    shards: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    end = 0
    for record, number in zip(_records(packing), packing.shards(), strict=True):
        count = len(record.arrays["positions"])
        end += count
        facts = record.facts
        name = packing.path(number).name
        shards.append({"name": name, "images": count, "bytes": facts["bytes"], "sha256": facts["sha256"], "end": end})
        skipped += [{"name": name, "reason": reason} for name, reason in facts["skipped"]]
    path = packing.out / INDEX
    labels, tracklets = (
        LABELS if packing.labels else (),
        tuple(arrays_of(packing.tracklets)) if packing.tracklets else (),
    )
    arrays = {name: _pieces(packing, name) for name in (*NAMES, *WHERE, *labels, *tracklets)}
    write_index(path, KIND, {"shards": [{k: shard[k] for k in ("name", "bytes", "end")} for shard in shards]}, arrays)
    index = open_index(path, KIND)
    manifest = {
        **plan_of(packing),
        "packed_from": packing.source.description,
        "images": end,
        "bytes": sum(shard["bytes"] for shard in shards),
        "index": index.digest(*NAMES, *WHERE),
        **({"labels": index.digest(*LABELS)} if packing.labels else {}),
        **({"tracklet_arrays": index.digest(*tracklets)} if tracklets else {}),
        "shards": shards,
        "skipped": skipped,
    }
    write_text(packing.out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(packing.out / UNFINISHED)
    return manifest


def _records(packing: Packing) -> Iterator[Index]:
    """Open the records one after the other, so that few are open at a time."""
    return (open_index(packing.record(number), RECORD) for number in packing.shards())


def _pieces(packing: Packing, name: str) -> Iterator[np.ndarray]:
    records = (record.arrays for record in _records(packing))
    return joined(records) if name == "name_ends" else (arrays[name] for arrays in records)


def damaged_shard(packing: Packing, shard: dict[str, Any]) -> str | None:
    """Compare a finished shard with its hash in the manifest; return its name if it is another."""
    try:
        with (packing.out / shard["name"]).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        found = "missing"
    return None if found == shard["sha256"] else shard["name"]
