"""Tracklets: which crops of an unlabelled source a tracker has held to be one person for a moment.

A list names them, or the source itself does:

    tracklets.csv          a line for each crop, under the header `file,tracklet`; no tracklet is a single crop
    annos.json             a list of {"file_path": ..., "id": ...}, as CION-AL has it
    keys.pkl               {"keys": [...], "pids": [...]}, as LUPerson-NL's lmdb has it
    own                    tracklets.csv in the source's own folder
    folders                each folder of the source is a tracklet
    names                  LUPerson-NL's names, `{person}_{frame}_{crop}.jpg`: a folder and a person are a tracklet

Files are named as the source names them, or relative to the folder of the list. Crops that the list leaves out are single ones.
"""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upreid.data.sources.plain_pickle import read_plain_pickle
from upreid.data.sources.source import Source, printable
from upreid.errors import DataError, InputError
from upreid.runtime.seed import uniforms

OWN_LIST = "tracklets.csv"
HEADER = ["file", "tracklet"]
NAMED = 5
"""Number of files that an error names."""
PERSON_FRAME_CROP = re.compile(r"(\d+)_\d+_\d+$")


class Tracklets:
    """The tracklets of the images of a source: `numbers` says which one each belongs to, and is consecutive from 0.

    A single crop has a number of its own. Crops of a tracklet are in the order of the source, which for names with frame numbers
    is that of time.
    """

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        self.numbers, self.sizes = numbers, np.bincount(numbers)
        self.order = np.argsort(numbers, kind="stable")  # the images, tracklet by tracklet
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.places = np.empty_like(self.order)  # of each image within its tracklet
        self.places[self.order] = np.arange(len(self.order)) - self.starts[numbers[self.order]]

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits over which images belong together."""
        return hashlib.sha256(self.numbers.astype("<i8").tobytes()).hexdigest()[:16]

    @property
    def description(self) -> str:
        """How many tracklets there are, how large, and how many crops are single, for the log."""
        sizes = self.sizes[self.sizes > 1]
        singles, total = int((self.sizes == 1).sum()), len(self.numbers)
        low, middle, high = np.quantile(sizes, [0.1, 0.5, 0.9]).round().astype(int)
        return (
            f"tracklets: {len(sizes)} of {sizes.min()} to {sizes.max()} crops (10 %, 50 %, 90 %: {low}, {middle}, {high}); "
            f"{singles} of {total} crops are single ({singles / total:.0%})"
        )

    def mates(self, indices: NDArray[np.int64], *, seed: int, epoch: int, gap: int = 1) -> NDArray[np.int64]:
        """Draw another crop of the same tracklet for each image: any one that is `gap` places away or more.

        Where none is so far away, it is the one that is farthest; a single crop is its own mate. The draw belongs to (seed,
        epoch, image) alone.
        """
        tracklet, place = self.numbers[indices], self.places[indices]
        size = self.sizes[tracklet]
        before, after = np.maximum(place - gap + 1, 0), np.maximum(size - place - gap, 0)
        number = uniforms(seed, epoch, indices, purpose="mate", count=1)[:, 0]
        drawn = (number * (before + after)).astype(np.int64)
        far = np.where(drawn < before, drawn, place + gap + drawn - before)
        farthest = np.where(2 * place < size - 1, size - 1, 0)
        chosen = np.where(before + after > 0, far, farthest)
        return self.order[self.starts[tracklet] + np.where(size > 1, chosen, 0)]


def read_tracklets(wanted: Path, source: Source) -> Tracklets:
    """Read the tracklets of a source from a list, or from the source's own names.

    Raises InputError where the list is missing or names other files than the source has, or where every crop is single; DataError
    where the list is damaged or names a file twice with different tracklets.
    """
    names = [source.name(index) for index in range(len(source))]
    if str(wanted) in BY_NAME and not wanted.exists():
        found = dict(zip(names, map(BY_NAME[str(wanted)], names), strict=True))
    else:
        path = source.root / OWN_LIST if str(wanted) == "own" else wanted
        found = listed(path, names, source)
    numbers = numbered([found.get(name) for name in names])
    if len(numbers) == 0 or numbers.max() + 1 == len(numbers):
        raise InputError(
            f"--data.tracklets {wanted}: each of the {len(names)} crops of {source.root} is alone in its tracklet; "
            "give a list with tracklets of two or more, or leave the flag away"
        )
    return Tracklets(numbers)


def by_folder(name: str) -> str | None:
    """Take the folder of an image as its tracklet."""
    folder = str(PurePosixPath(name).parent)
    return None if folder == "." else folder


def by_person(name: str) -> str | None:
    """Take folder and person of LUPerson-NL's names as the tracklet; other names are single crops."""
    path = PurePosixPath(name)
    found = PERSON_FRAME_CROP.search(path.stem)
    return f"{path.parent}/{path.stem[: found.end(1)]}" if found else None


BY_NAME: dict[str, Callable[[str], str | None]] = {"folders": by_folder, "names": by_person}
"""Word for `--data.tracklets` -> the tracklet of an image by its name."""


def listed(path: Path, names: Iterable[str], source: Source) -> dict[str, str | None]:
    """Read a list as name in the source -> tracklet, None for a single crop."""
    known, folder = set(names), folder_within(path, source.root)
    found: dict[str, str | None] = {}
    strange: list[str] = []
    for file, tracklet in pairs_of(path):
        name = file if file in known else f"{folder}{file}"
        if name not in known:
            strange.append(file)
        elif found.setdefault(name, tracklet) != tracklet:
            raise DataError(
                f"{path} names {printable(file)} twice, in the tracklets {found[name]} and {tracklet}; a crop belongs to one"
            )
    if strange:
        some = ", ".join(map(printable, strange[:NAMED])) + (" and others" if len(strange) > NAMED else "")
        raise InputError(
            f"{len(strange)} of the {len(found) + len(strange)} files in {path} are not among the images of {source.root}: "
            f"{some}; name them as they lie below {source.root}, or give the list of this source"
        )
    return found


def folder_within(path: Path, root: Path) -> str:
    """Return what stands before a name that is relative to the list's folder, to make it relative to the source's."""
    try:
        inner = path.resolve().parent.relative_to(root.resolve())
    except ValueError:
        return ""
    return "" if str(inner) == "." else f"{inner.as_posix()}/"


def pairs_of(path: Path) -> Iterable[tuple[str, str | None]]:
    """Read (file, tracklet) from a list in one of its forms."""
    if not path.is_file():
        words = ", ".join(["own", *BY_NAME])
        raise InputError(f"no list of tracklets at {path}; give a .csv, .json or .pkl, or one of the words {words}")
    if path.suffix == ".pkl":
        table = read_plain_pickle(path)
        if not (isinstance(table, Mapping) and {"keys", "pids"} <= table.keys()):
            raise DataError(f"{path} holds no 'keys' and 'pids'; give LUPerson-NL's keys.pkl, or a .csv")
        if len(table["keys"]) != len(table["pids"]):
            raise DataError(f"{path} has {len(table['keys'])} keys and {len(table['pids'])} pids; restore it")
        return [(text(key), str(person)) for key, person in zip(table["keys"], table["pids"], strict=True)]
    try:
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return [(str(entry["file_path"]), str(entry["id"])) for entry in json.loads(content)]
        rows = list(csv.reader(content.splitlines(), strict=True))
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            f"{path} is not a list of tracklets ({type(error).__name__}: {error}); see docs/sources.md"
        ) from error
    if not rows or rows[0][:2] != HEADER:
        raise DataError(f"{path} begins with {rows[0] if rows else 'nothing'}; its first line must be file,tracklet")
    if bad := [number for number, row in enumerate(rows, 1) if len(row) < 2]:
        raise DataError(
            f"{path}: line {bad[0]} has no tracklet; write file,tracklet (and nothing after the comma for a single)"
        )
    return [(row[0], row[1] or None) for row in rows[1:]]


def text(key: Any) -> str:
    """Decode a key that is in bytes."""
    return key.decode("utf-8", errors="surrogateescape") if isinstance(key, bytes) else str(key)


def numbered(tracklets: list[str | None]) -> NDArray[np.int64]:
    """Number tracklets in the order of their first crops; each None is a number of its own."""
    known: dict[str, int] = {}
    numbers: list[int] = []
    count = 0
    for tracklet in tracklets:
        if tracklet is None:
            numbers.append(count)
            count += 1
        elif tracklet in known:
            numbers.append(known[tracklet])
        else:
            known[tracklet] = count
            numbers.append(count)
            count += 1
    return np.array(numbers, dtype=np.int64)
