"""A labelled set in a packed set: list, person and camera of every image stand in the index, facts and name in the manifest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upreid.data.benchmarks.benchmark import LISTS, PARTS, Benchmark, count, differences
from upreid.data.benchmarks.folders import listing
from upreid.data.records import UNKNOWN_CAMERA, Record, cameras, people
from upreid.data.sources.index_file import NAMES, Index, index_in_memory, open_index
from upreid.data.sources.packed_set import INDEX, KIND, MANIFEST, is_packed, open_packed, read_manifest
from upreid.data.sources.source import Source
from upreid.errors import DataError, InputError

LABELS = ("lists", "people", "cameras")
"""Arrays of the index: place of an image's list in `LISTS`, its person, and its camera or `UNKNOWN_CAMERA`."""
NAME = "packed"


@dataclass(frozen=True, kw_only=True)
class PackedLabels:
    """The labels of a set on its way into a packed one."""

    about: dict[str, Any]
    """What the manifest says: `name`, `shares_ids` and `facts` of the set, and a hash of its labels."""
    all: dict[str, NDArray[Any]]

    def trains(self, index: int) -> bool:
        """Return whether an image stands in the training list."""
        return LISTS[self.all["lists"][index]] == "train"

    def arrays(self, kept: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the labels of some images."""
        return {name: array[kept] for name, array in self.all.items()}


def labels_of(labelled: Benchmark) -> PackedLabels:
    """Take the labels of a set, in the order of its source."""
    lists = [place for place, name in enumerate(LISTS) for _ in getattr(labelled, name)]
    records = (*labelled.records, *labelled.multi_query)
    values = zip(LABELS, (lists, people(records), cameras(records)), strict=True)
    arrays = {name: np.array(numbers, dtype=np.uint8 if name == "lists" else np.int64) for name, numbers in values}
    digest = index_in_memory("labels", {}, arrays).digest(*LABELS)
    about = {"name": labelled.name, "shares_ids": labelled.shares_ids, "facts": labelled.facts, "labels": digest}
    return PackedLabels(about=about, all=arrays)


def is_labelled_pack(root: Path) -> bool:
    """Return whether a packed set carries labels; InputError or DataError where it is unfinished or damaged."""
    return root.is_dir() and is_packed(root) and "labelled" in read_manifest(root)


def read_packed(root: Path, *, name: str = NAME) -> Benchmark:
    """Read a labelled packed set at `root`, which is called `packed` or by the name of the set that it was made from.

    Training images that could not be read when it was packed are missing. Raises InputError where there is no such set, and
    DataError where it is damaged.
    """
    if not root.is_dir():
        raise InputError(f"no folder {root}; give the folder of a packed set")
    if not is_packed(root):
        raise InputError(f"{root} is no packed set (it has {listing(root)}); give the folder that upreid pack wrote")
    manifest = read_manifest(root)
    if "labelled" not in manifest:
        hint = "the name of its data set" if name == NAME else name
        raise InputError(f"{root} is a packed set without labels; pack the labelled set again, with --name {hint}")
    source = open_packed(root)
    index = open_index(root / INDEX, KIND, check=(*NAMES, *LABELS))
    try:
        about, facts = manifest["labelled"], dict(manifest["labelled"]["facts"])
        its_name, shares_ids = str(about["name"]), bool(about["shares_ids"])
        facts["variant"] = str(facts["variant"])
        lists = lists_of(root, source, index, digest=manifest["labels"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{root}: the labels in {INDEX} and {MANIFEST} do not fit together; restore both, or pack again"
        ) from error
    if name not in (NAME, its_name):
        raise InputError(f"{root} is a packed set of {its_name}, and {name} was asked for; its name is {its_name}")
    counts = {part: count(lists[part]) for part in PARTS}
    facts |= {**counts, "differs_from_published": differences(its_name, counts)}
    shape = manifest["settings"]
    if shape["height"] or shape["width"] or shape["quality"]:
        size = f"{shape['height'] or 'any height'} x {shape['width'] or 'any width'}"
        quality = shape["quality"] or "95 where an image was larger"
        facts["stored"] = f"packed at most {size}, JPEG of quality {quality}"
    return Benchmark(
        name=its_name,
        root=root,
        train=lists["train"],
        query=lists["query"],
        gallery=lists["gallery"],
        multi_query=lists["multi_query"],
        source=source,
        shares_ids=shares_ids,
        facts=facts,
    )


def lists_of(root: Path, source: Source, index: Index, *, digest: str) -> dict[str, tuple[Record, ...]]:
    """Make the records of all lists; their paths say which file an image was, below the packed set.

    Raises ValueError where the labels are not those that `digest` was made of.
    """
    if index.digest(*LABELS) != digest:
        raise ValueError("other labels")
    lists: dict[str, list[Record]] = {name: [] for name in LISTS}
    labels = zip(*(index.arrays[name].tolist() for name in LABELS), strict=True)
    for place, (part, person, camera) in enumerate(labels):
        known = None if camera == UNKNOWN_CAMERA else camera
        path = root / source.name(place)
        lists[LISTS[part]].append(Record(path=path, person=person, camera=known, source=source, index=place))
    return {name: tuple(records) for name, records in lists.items()}
