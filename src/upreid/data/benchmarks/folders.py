"""Finding a set, and listing its images: one look per folder, however many files it holds."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from upreid.data.benchmarks.benchmark import Part
from upreid.data.benchmarks.naming import Naming, hint, hint_from_names
from upreid.data.records import Record
from upreid.errors import InputError

IMAGE = re.compile(r"[^.].*\.(jpe?g|png|bmp)", re.IGNORECASE)
MARKET_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
NAMED = 4
"""So many things are named where there are more."""


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
    """The first names in a folder, in words."""
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return named(names) or "nothing"


def named(names: Sequence[str]) -> str:
    """The first of some names, in words."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def image_names(folder: Path) -> list[str]:
    """Names of the images in a folder, sorted; hidden files (`._0001_c1.jpg` of a Mac), Thumbs.db and such are none."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if IMAGE.fullmatch(entry.name))


def read_folder(folder: Path, name: str, naming: Naming, *, junk: int | None = None) -> Part:
    """Read the people and cameras of a folder's images from their names; images of person `junk` are dropped."""
    names = image_names(folder)
    matches = [(image, naming.pattern.match(image)) for image in names]
    odd = tuple(image for image, match in matches if match is None)
    found = [(image, int(match[1]), int(match[2])) for image, match in matches if match is not None]
    records = tuple(
        Record(path=folder / image, person=person, camera=camera) for image, person, camera in found if person != junk
    )
    if not records:
        raise InputError(
            f"{folder} holds no images named like {naming.example} ({len(names)} images in all"
            f"{', such as ' + named(odd) if odd else ''}){hint_from_names(odd, name)}"
        )
    return Part(records=records, num_junk=len(found) - len(records), odd_names=odd)


def read_market_folders(home: Path, name: str, naming: Naming, *, junk: int | None = None) -> dict[str, Part]:
    """Read the three folders that Market-1501 made usual."""
    return {part: read_folder(home / folder, name, naming, junk=junk) for part, folder in MARKET_FOLDERS.items()}


def missing_files(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of `names`, relative to `folder`, that are not there; every folder is looked at once."""
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
