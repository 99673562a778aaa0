"""A labelled set: three lists of records, one source to read them from, and the facts that a result should state about them.

Published counts of images and people: Market-1501, MSMT17: the sets' papers and every reader of them. CUHK03:
zhunzhong07/person-re-ranking, CUHK03-NP/README.md (0621a59). PersonX: yxgeee/SpCL, spcl/datasets/personx.py (a92497b) for the
subset; for the original release the counts per background in SpCL#8, times the number of backgrounds.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from upreid.data.records import Record
from upreid.data.sources.folder import Folder
from upreid.data.sources.index_file import index_in_memory, pack_names
from upreid.data.sources.retry import SECONDS
from upreid.data.sources.source import Source

PARTS = ("train", "query", "gallery")
LISTS = (*PARTS, "multi_query")
NAMED = 3
"""Number of names that do not match which are kept in the facts."""

MSMT17_TEST = {"query": (11_659, 3_060), "gallery": (82_161, 3_060)}
MSMT17 = {"train": (30_248, 1_041), **MSMT17_TEST}
MSMT17_TRAINVAL = {"train": (32_621, 1_041), **MSMT17_TEST}
CUHK03_LABELED = {"train": (7_368, 767), "query": (1_400, 700), "gallery": (5_328, 700)}
CUHK03_DETECTED = {"train": (7_365, 767), "query": (1_400, 700), "gallery": (5_332, 700)}
PERSONX_BACKGROUND = {"train": (14_760, 410), "query": (856, 856), "gallery": (30_816, 856)}
"""Of the original release, per background."""

PUBLISHED: dict[str, dict[str, tuple[int, int]]] = {
    "market1501": {"train": (12_936, 751), "query": (3_368, 750), "gallery": (15_913, 751)},
    "market1501-500k": {"train": (12_936, 751), "query": (3_368, 750)},
    "cuhk03-np-labeled": CUHK03_LABELED,
    "cuhk03-np-detected": CUHK03_DETECTED,
    "cuhk03-raw-labeled": CUHK03_LABELED,
    "cuhk03-raw-detected": CUHK03_DETECTED,
    "msmt17-v1": MSMT17,
    "msmt17-v2": MSMT17,
    "msmt17-v1-trainval": MSMT17_TRAINVAL,
    "msmt17-v2-trainval": MSMT17_TRAINVAL,
    "msmt17-ecn": MSMT17_TRAINVAL,
    "personx": {"train": (9_840, 410), "query": (5_136, 856), "gallery": (30_816, 856)},
}
"""Images and people by name and list; Market's gallery counts person 0, the distractors, as one person."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A labelled set as it is used: junk is dropped already, and distractors stand in the gallery.

    A record without a camera comes from an unknown one. A set for testing only has no training images.

    Facts: `variant` (which one of the set's forms this is, in words); `train`, `query`, `gallery` (each the number of
    images, people, known cameras); `junk_dropped`; `distractors`; `names_not_matched` and `first_names_not_matched`;
    `differs_from_published` (sentences, none where the counts are the known ones); `also_present` (other forms of the
    same set that were seen beside it and left alone). Only where there is something to say: `unknown_cameras` (the number of
    images without a camera label), `doubts` (sentences on images that make a training on this set doubtful) and `stored` (how the
    images of a packed set were shrunk or encoded anew).
    """

    name: str
    root: Path
    """Folder in which the set was found."""
    train: tuple[Record, ...]
    query: tuple[Record, ...]
    gallery: tuple[Record, ...]
    source: Source = field(compare=False, repr=False)
    """All images, list by list in the order of `LISTS`; each record knows its place in it."""
    multi_query: tuple[Record, ...] = ()
    """More images of the queries' people in the queries' cameras, where a set has them (Market-1501's folder gt_bbox)."""
    shares_ids: bool = True
    """Is one number one person in all three lists? MSMT17 numbers training and test people from 0 each."""
    facts: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    """Number of files in its folders that are no images of the set, by kind."""

    @property
    def records(self) -> tuple[Record, ...]:
        """All images but those for multi-query, in the order of the source."""
        return (*self.train, *self.query, *self.gallery)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the three lists as it was read."""

    records: tuple[Record, ...] = ()
    num_junk: int = 0
    odd_names: tuple[str, ...] = ()
    """Images whose names do not match."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Number of files that are no images, by kind."""


def count(records: Sequence[Record]) -> dict[str, int]:
    """Count the images, people and known cameras of a list."""
    seen = {record.camera for record in records} - {None}
    return {"images": len(records), "people": len({record.person for record in records}), "cameras": len(seen)}


def assemble(
    name: str,
    root: Path,
    parts: dict[str, Part],
    *,
    variant: str,
    shares_ids: bool = True,
    num_distractors: int = 0,
    also_present: Sequence[str] = (),
) -> Benchmark:
    """Put the three lists together, count them, and compare the counts to the published ones."""
    counts = {part: count(parts[part].records) for part in PARTS}
    odd = [name for part in PARTS for name in parts[part].odd_names]
    facts: dict[str, Any] = {
        "variant": variant,
        **counts,
        "junk_dropped": sum(parts[part].num_junk for part in PARTS),
        "distractors": num_distractors,
        "names_not_matched": len(odd),
        "first_names_not_matched": odd[:NAMED],
        "differs_from_published": differences(name, counts),
        "also_present": list(also_present),
    }
    unknown = sum(record.camera is None for part in PARTS for record in parts[part].records)
    if unknown:
        facts["unknown_cameras"] = unknown
    source, lists = with_source(root if root.is_dir() else root.parent, parts)
    left_out = sum((Counter(parts[part].left_out) for part in PARTS), Counter())
    return Benchmark(
        name=name, root=root, source=source, shares_ids=shares_ids, facts=facts, left_out=dict(left_out), **lists
    )


def with_source(folder: Path, parts: dict[str, Part]) -> tuple[Source, dict[str, tuple[Record, ...]]]:
    """Make one source of the images of all lists, named relative to `folder`, and tell each record its place in it."""
    read = {name: parts.get(name, Part()).records for name in LISTS}
    paths = [str(record.path) for records in read.values() for record in records]
    index = index_in_memory("labelled", {}, pack_names([path.removeprefix(f"{folder}/") for path in paths]))
    source = Folder(folder, index, description=f"{folder}: a labelled set of {len(paths)} images", patience=SECONDS)
    lists: dict[str, tuple[Record, ...]] = {}
    first = 0
    for part, records in read.items():
        lists[part] = tuple(replace(record, source=source, index=first + place) for place, record in enumerate(records))
        first += len(records)
    return source, lists


def published(name: str) -> dict[str, tuple[int, int]]:
    """Return the known counts; none for custom sets."""
    original, _, backgrounds = name.partition("personx-original")
    if original or not name.startswith("personx-original"):
        return PUBLISHED.get(name, {})
    times = len(backgrounds.lstrip("-")) or 6
    return {part: (times * images, people) for part, (images, people) in PERSONX_BACKGROUND.items()}


def differences(name: str, counts: dict[str, dict[str, int]]) -> list[str]:
    """Return a sentence for every list whose counts are not the published ones."""
    sentences = []
    for part, (images, people) in published(name).items():
        found = counts[part]
        if (found["images"], found["people"]) != (images, people):
            has = f"{part} has {found['images']:,} images of {found['people']:,} people"
            sentences.append(f"{has}; published: {images:,} of {people:,}")
    return sentences
