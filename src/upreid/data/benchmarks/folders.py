"""Finding a set, and reading its images' labels from their names: one look per folder, however many files it holds.

A pattern is matched to the beginning of a base name, never to the folders above it: a parent called `run_1_c2` means
nothing. Group 1 is the person, group 2 the camera.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from upreid.data.benchmarks.benchmark import Part
from upreid.data.records import Record
from upreid.data.sources.folder import IMAGE, kind_of_entry
from upreid.data.sources.source import left_out
from upreid.errors import DataError, InputError

MARKET_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
NAMED = 4
"""Number of things that an error names where there are more."""


@dataclass(frozen=True)
class Naming:
    """A pattern, and a name that matches."""

    pattern: re.Pattern[str]
    example: str


def _naming(pattern: str, example: str) -> Naming:
    return Naming(re.compile(pattern), example)


MARKET = _naming(r"(-?\d{1,18})_c(\d)s\d+_\d{6}_\d{2}\.", "0002_c1s1_000451_03.jpg")
ANY_MARKET = _naming(r"(-?\d{1,18})_c(\d{1,18})", "0002_c1_x.jpg")
OWN = _naming(r"(-?\d{1,18})(?:_c(\d{1,18})|[_.])", "12_c3_anything.jpg or 12_anything.jpg")
CUHK03 = _naming(r"(\d{1,18})_c(\d)_\d+\.", "0001_c1_1.png")
MSMT17_ECN = _naming(r"(\d{1,18})_c(\d{1,18})_\d{4,}\.", "0000_c12_0036.jpg")
PERSONX = _naming(r"(\d{1,18})_c(\d{1,18})", "0001_c10s1_01.jpg")
PERSONX_ORIGINAL = _naming(r"(\d{1,18})_c(\d)s\d+_\d{1,2}\.", "0001_c1s1_01.jpg")

MARKERS = {
    "MSMT17_V2": "msmt17-v2",
    "mask_train_v2": "msmt17-v2",
    "MSMT17_V1": "msmt17-v1",
    "cuhk03_release": "cuhk03-raw",
    "cuhk-03.mat": "cuhk03-raw",
    "labeled/bounding_box_train": "cuhk03-np-labeled",
    "detected/bounding_box_train": "cuhk03-np-detected",
    "cuhk03-np/labeled": "cuhk03-np-labeled",
    "cuhk03-np/detected": "cuhk03-np-detected",
    "cuhk03_np/labeled": "cuhk03-np-labeled",
    "cuhk03_np/detected": "cuhk03-np-detected",
    "PersonX_v1": "personx-original",
    "1/bounding_box_train": "personx-original",
    "PersonX": "personx",
    "Market-1501-v15.09.15": "market1501",
}
"""File or folder that marks a set -> name of the set, without its form where that does not show."""

STYLES = {
    "market1501": MARKET.pattern,
    "personx-original": re.compile(r"\d+_c[12569]s\d_\d{1,2}\.jpg"),
    "personx": re.compile(r"\d+_c(3|4|8|10|11|12)s\d_\d{1,2}\.jpg"),
    "cuhk03-np": re.compile(r"\d{4}_c[12]_\d+\.png"),
    "msmt17-ecn": re.compile(r"\d{4}_c\d{1,2}_\d{4}\.jpg"),
}


def hint(root: Path, name: str) -> str:
    """Return `; that looks like msmt17-v2` where a folder has the marks of another set than `name`, else nothing."""
    others = [other for marker, other in MARKERS.items() if (root / marker).exists()]
    if others:
        return "" if any(is_form(name, other) for other in others) else f"; that looks like {others[0]}"
    queries = root / "query"
    return hint_from_names(sorted(path.name for path in queries.iterdir()), name) if queries.is_dir() else ""


def hint_from_names(names: Sequence[str], name: str) -> str:
    """Return the same hint from the names of images; a set of one's own may be named like any other."""
    if name == "market-style":
        return ""
    for other, pattern in STYLES.items():
        if any(pattern.match(image) for image in names) and not is_form(name, other):
            return f"; that looks like {other}"
    return ""


def is_form(name: str, other: str) -> bool:
    """Return whether `name` is the set `other`, or a form of it; personx-original is none of personx."""
    known = {*MARKERS.values(), *STYLES}
    return other == max((one for one in known if f"{name}-".startswith(f"{one}-")), key=len, default="")


def find_home(root: Path, name: str, *, places: Sequence[str], folders: Sequence[str]) -> Path:
    """Find the folder that holds all of `folders`: `root`, or the first of `places` below it.

    Raises InputError where there is none: not there at all, half extracted, or another set.
    """
    homes = [root / place for place in places]
    for home in homes:
        if all((home / folder).is_dir() for folder in folders):
            return home
    if not root.is_dir():
        raise InputError(f"no folder {root}; give the folder of {name}, or the one above it")
    wanted, has = ", ".join(folders[:NAMED]), f"it has {listing(root)}"
    other = hint(root, name)
    begun = [home for home in homes if any((home / folder).is_dir() for folder in folders)]
    if begun and not other:
        lost = ", ".join([folder for folder in folders if not (begun[0] / folder).is_dir()][:NAMED])
        raise InputError(
            f"{begun[0]} lacks {lost} (it has {listing(begun[0])}); extract the whole archive of {name} there"
        )
    raise InputError(f"{root} has no {wanted} ({has}){other or f'; give the folder of {name} or the one above it'}")


def listing(folder: Path) -> str:
    """Return the first names in a folder, in words."""
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return named(names) or "nothing"


def named(names: Sequence[str]) -> str:
    """Return the first of some names, in words."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def read_folder(
    folder: Path, name: str, naming: Naming, *, junk: int | None = None, may_be_empty: bool = False
) -> Part:
    """Read the people and cameras of a folder's images from their names, in sorted order; images of person `junk` are dropped.

    Hidden files (`._0001_c1.jpg` of a Mac), Thumbs.db, pipes and folders are no images of the set, and are counted by kind.
    """
    names: list[str] = []
    kinds: Counter[str] = Counter()
    with os.scandir(folder) as entries:
        for entry in entries:
            kind = kind_of_entry(entry)
            if kind == IMAGE:
                names.append(entry.name)
            else:
                kinds[kind] += 1
    matches = [(image, naming.pattern.match(image)) for image in sorted(names)]
    odd = tuple(image for image, match in matches if match is None)
    found = [
        (image, int(match[1]), int(match[2]) if match[2] else None) for image, match in matches if match is not None
    ]
    records = tuple(
        Record(path=folder / image, person=person, camera=camera) for image, person, camera in found if person != junk
    )
    if not records and not (may_be_empty and not names):
        raise DataError(
            f"{folder} holds no images named like {naming.example} ({len(names)} images in all"
            f"{', such as ' + named(odd) if odd else ''}{left_out(kinds)}){hint_from_names(odd, name)}"
        )
    return Part(records=records, num_junk=len(found) - len(records), odd_names=odd, left_out=kinds)


def read_market_folders(home: Path, name: str, naming: Naming, *, junk: int | None = None) -> dict[str, Part]:
    """Read the three folders that Market-1501 made usual."""
    return {part: read_folder(home / folder, name, naming, junk=junk) for part, folder in MARKET_FOLDERS.items()}


def missing_files(folder: Path, names: Iterable[str]) -> list[str]:
    """Return those of `names`, relative to `folder`, that are not there; every folder is looked at once."""
    seen: dict[str, set[str]] = {}
    missing = []
    for name in names:
        place, _, base = name.rpartition("/")
        if place not in seen:
            seen[place] = _names_in(folder / place)
        if base not in seen[place]:
            missing.append(name)
    return missing


def _names_in(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()
