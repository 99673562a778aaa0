"""Market-1501 (Zheng et al., ICCV 2015).

    bounding_box_train/  query/  bounding_box_test/      0002_c1s1_000451_03.jpg = person 2, camera 1
    images/                                              500,000 distractors, where they were downloaded too
    gt_bbox/                                             more images of each person and camera, drawn by hand, for multi-query

Person -1 is junk, neither hit nor miss, and dropped here; person 0 are distractors and stay in the gallery.
"""

from dataclasses import replace
from pathlib import Path

from upreid.data.benchmarks.benchmark import Benchmark, Part, assemble
from upreid.data.benchmarks.folders import (
    ANY_MARKET,
    MARKET,
    MARKET_FOLDERS,
    Naming,
    find_home,
    read_folder,
    read_market_folders,
)
from upreid.data.records import Record
from upreid.errors import InputError

PLACES = ("", "Market-1501-v15.09.15", "market1501", "Market1501", "market1501/Market-1501-v15.09.15")
EXTRA = "images"
MULTI_QUERY = "gt_bbox"
JUNK, DISTRACTOR = -1, 0


def read_market1501(root: Path) -> Benchmark:
    """Read the set at `root`, at `root`/Market-1501-v15.09.15, or at `root`/market1501.

    Raises InputError where folders are missing, and DataError where images are.
    """
    home, parts = _read(root, "market1501")
    variant = "without the 500k distractors"
    return assemble("market1501", home, parts, variant=variant, num_distractors=num_distractors(parts))


def read_market1501_500k(root: Path) -> Benchmark:
    """Read the set with the 500k distractors of `images/` in the gallery, whatever person their names say."""
    home, parts = _read(root, "market1501-500k")
    if not (home / EXTRA).is_dir():
        raise InputError(f"{home} has no folder {EXTRA} with the 500k distractors; without them its name is market1501")
    extra = read_folder(home / EXTRA, "market1501-500k", ANY_MARKET)
    strangers = tuple(replace(record, person=DISTRACTOR) for record in extra.records)
    gallery = parts["gallery"]
    parts["gallery"] = replace(
        gallery, records=gallery.records + strangers, odd_names=gallery.odd_names + extra.odd_names
    )
    variant = f"with {len(strangers):,} more distractors"
    return assemble("market1501-500k", home, parts, variant=variant, num_distractors=num_distractors(parts))


def read_multi_query(labelled: Benchmark) -> tuple[Record, ...]:
    """Return the images that show the person of a query in that query's camera; InputError where the set has none."""
    if not labelled.multi_query:
        raise InputError(
            f"{labelled.name} at {labelled.root} has no images for multi-query; Market-1501's archive holds them in its folder "
            f"{MULTI_QUERY}"
        )
    return labelled.multi_query


def read_drawn_boxes(home: Path, name: str, naming: Naming, query: Part) -> Part:
    """Read the images of `gt_bbox` that show the person of a query in that query's camera; none without that folder."""
    if not (home / MULTI_QUERY).is_dir():
        return Part()
    asked = {(record.person, record.camera) for record in query.records}
    records = read_folder(home / MULTI_QUERY, name, naming, junk=JUNK, may_be_empty=True).records
    return Part(records=tuple(record for record in records if (record.person, record.camera) in asked))


def num_distractors(parts: dict[str, Part]) -> int:
    """Count the images of person 0 in the gallery."""
    return sum(record.person == DISTRACTOR for record in parts["gallery"].records)


def _read(root: Path, name: str) -> tuple[Path, dict[str, Part]]:
    home = find_home(root, name, places=PLACES, folders=tuple(MARKET_FOLDERS.values()))
    parts = read_market_folders(home, name, MARKET, junk=JUNK)
    return home, {**parts, "multi_query": read_drawn_boxes(home, name, ANY_MARKET, parts["query"])}
