"""Where the tracklets of a source stand: in a list, or in the source itself.

    tracklets.csv          a line for each crop, under the header `file,tracklet`; no tracklet is a single crop. A column `frame`
                           may follow: the number of the picture in its video
    annos.json             a list of {"file_path": ..., "id": ...}, as CION-AL has it
    keys.pkl               {"keys": [...], "pids": [...]}, as LUPerson-NL's lmdb has it
    own                    what a packed set carries, else tracklets.csv in the source's own folder
    folders                each folder of the source is a tracklet
    names                  LUPerson-NL's names, `{person}_{frame}_{crop}.jpg`: a folder and a person are a tracklet

Files are named as the source names them, or relative to the folder of the list. Crops that the list leaves out are single ones.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upreid.data.sources.index_file import open_index
from upreid.data.sources.packed_set import INDEX, KIND, is_packed, read_manifest
from upreid.data.sources.plain_pickle import read_plain_pickle
from upreid.data.sources.source import Source, printable
from upreid.data.tracklets import Tracklets, numbered, numbered_anew
from upreid.errors import DataError, InputError

OWN = "own"
OWN_LIST = "tracklets.csv"
HEADER, FRAME = ["file", "tracklet"], "frame"
ARRAYS = ("tracklets", "frames")
"""Arrays of a packed set's index; the second one only where frames are known."""
NAMED = 5
"""Number of files that an error names."""
PERSON_FRAME_CROP = re.compile(r"(\d+)_(\d+)_\d+$")
FRAMES = range(-(2**53), 2**53)


class Entry(NamedTuple):
    """Tracklet of a crop, None for a single one; and its frame, where that is known."""

    tracklet: str | None
    frame: int | None = None


def read_tracklets(wanted: Path, source: Source, *, flag: str = "--data.tracklets") -> Tracklets:
    """Read the tracklets of a source from a list, or from the source itself; `flag` is what the user named them with.

    Raises InputError where the list is missing or names other files than the source has, or where every crop is single; DataError
    where the list is damaged or names a file twice with different tracklets.
    """
    if str(wanted) == OWN and carries_tracklets(source.root):
        numbers, frames = packed_tracklets(source.root)
    else:
        numbers, frames = entries_of(wanted, source, flag)
    if len(numbers) == 0 or numbers.max() + 1 == len(numbers):
        raise InputError(
            f"{flag} {wanted}: each of the {len(numbers)} crops of {source.root} is alone in its tracklet; "
            "give a list with tracklets of two or more, or leave the flag away"
        )
    return Tracklets(numbers, frames)


def entries_of(wanted: Path, source: Source, flag: str) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Return the number of each crop's tracklet, and its frame where all tracklets have some."""
    names = [source.name(index) for index in range(len(source))]
    if str(wanted) in BY_NAME and not wanted.is_file():
        found = dict(zip(names, map(BY_NAME[str(wanted)], names), strict=True))
    else:
        path = wanted
        if str(wanted) == OWN:
            path = source.root / OWN_LIST
            if not path.is_file():
                raise InputError(
                    f"{flag} own: {source.root} is no packed set that carries tracklets, and there is no {path}; give a .csv, "
                    f".json or .pkl, or one of the words {', '.join(BY_NAME)}"
                )
        found = listed(path, names, source, flag)
    entries = [found.get(name, Entry(None)) for name in names]
    numbers = numbered([entry.tracklet for entry in entries])
    if not any(entry.frame is not None for entry in entries):
        return numbers, None
    return numbers, np.array([entry.frame or 0 for entry in entries], dtype=np.int64)


def has_own_tracklets(root: Path) -> bool:
    """Return whether `own` finds tracklets: in a packed set, or in a list in the source's own folder."""
    return carries_tracklets(root) or (root / OWN_LIST).is_file()


def carries_tracklets(root: Path) -> bool:
    """Return whether there is a packed set with tracklets; InputError or DataError where it is unfinished or damaged."""
    return root.is_dir() and is_packed(root) and "tracklets" in read_manifest(root)


def arrays_of(tracklets: Tracklets) -> dict[str, NDArray[np.int64]]:
    """Return the arrays by which the index of a packed set carries tracklets."""
    found = zip(ARRAYS, (tracklets.numbers, tracklets.frames), strict=True)
    return {name: array for name, array in found if array is not None}


def packed_tracklets(root: Path) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Read the tracklets that a packed set carries; DataError where they are not those of its manifest."""
    names = [name for name in ARRAYS if name in open_index(root / INDEX, KIND).arrays]
    index = open_index(root / INDEX, KIND, check=names)
    if "tracklets" not in names or read_manifest(root).get("tracklet_arrays") != index.digest(*names):
        raise DataError(f"{root}: the tracklets in {INDEX} are not those of its manifest; restore both, or pack again")
    arrays = [np.array(index.arrays[name], dtype=np.int64) for name in names]
    return numbered_anew(arrays[0]), arrays[1] if len(arrays) > 1 else None


def by_folder(name: str) -> Entry:
    """Take the folder of an image as its tracklet."""
    folder = str(PurePosixPath(name).parent)
    return Entry(None if folder == "." else folder)


def by_person(name: str) -> Entry:
    """Take folder and person of LUPerson-NL's names as the tracklet, and their frames; other names are single crops."""
    path = PurePosixPath(name)
    found = PERSON_FRAME_CROP.search(path.stem)
    return Entry(f"{path.parent}/{path.stem[: found.end(1)]}", whole(found[2])) if found else Entry(None)


BY_NAME: dict[str, Callable[[str], Entry]] = {"folders": by_folder, "names": by_person}
"""Word for `--data.tracklets` -> what an image's name says."""


def listed(path: Path, names: Iterable[str], source: Source, flag: str) -> dict[str, Entry]:
    """Read a list as name in the source -> entry."""
    known, folder = set(names), folder_within(path, source.root)
    found: dict[str, Entry] = {}
    strange: list[str] = []
    for file, entry in entries_in(path, flag):
        name = file if file in known else f"{folder}{file}"
        if name not in known:
            strange.append(file)
            continue
        before = found.setdefault(name, entry)
        if before.tracklet != entry.tracklet:
            raise DataError(
                f"{path} names {printable(file)} twice, in the tracklets {before.tracklet or '(none)'} and "
                f"{entry.tracklet or '(none)'}; a crop belongs to one"
            )
        if before != entry:
            raise DataError(
                f"{path} names {printable(file)} twice, in the frames {before.frame} and {entry.frame}; remove one line"
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


def entries_in(path: Path, flag: str) -> Iterable[tuple[str, Entry]]:
    """Read (file, entry) from a list in one of its forms."""
    if not path.is_file():
        words = ", ".join([OWN, *BY_NAME])
        raise InputError(
            f"{flag}: no list of tracklets at {path}; give a .csv, .json or .pkl, or one of the words {words}"
        )
    if path.suffix == ".pkl":
        return entries_in_pickle(path)
    try:
        content = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            return [(str(entry["file_path"]), Entry(str(entry["id"]))) for entry in json.loads(content)]
        reader = csv.reader(io.StringIO(content, newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise DataError(
            f"{path} is not a list of tracklets ({type(error).__name__}: {error}); see docs/sources.md"
        ) from error
    header = rows[0][1] if rows else []
    if header[:2] != HEADER:
        raise DataError(f"{path} begins with {header or 'nothing'}; its first line must be file,tracklet")
    frame = header.index(FRAME) if FRAME in header else None
    return [(row[0], entry_in(row, frame, f"{path}: line {number}")) for number, row in rows[1:]]


def entry_in(row: list[str], frame: int | None, place: str) -> Entry:
    """Read an entry of a CSV, whose frame stands in the column `frame`."""
    if len(row) < 2:
        raise DataError(f"{place} has no tracklet; write file,tracklet (and nothing after the comma for a single)")
    if frame is None or not row[1]:
        return Entry(row[1] or None)
    number = whole(row[frame]) if frame < len(row) else None
    if number is None:
        found = f"'{printable(row[frame])}'" if frame < len(row) else "nothing"
        raise DataError(f"{place} has {found} as its frame; every crop of a tracklet needs a whole number there")
    return Entry(row[1], number)


def whole(text: str) -> int | None:
    """Read a whole number; None where it is none, or absurdly large."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if number in FRAMES else None


def entries_in_pickle(path: Path) -> Iterable[tuple[str, Entry]]:
    """Read LUPerson-NL's list of keys and people."""
    table = read_plain_pickle(path)
    if not (isinstance(table, Mapping) and {"keys", "pids"} <= table.keys()):
        raise DataError(f"{path} holds no 'keys' and 'pids'; give LUPerson-NL's keys.pkl, or a .csv")
    if len(table["keys"]) != len(table["pids"]):
        raise DataError(f"{path} has {len(table['keys'])} keys and {len(table['pids'])} pids; restore it")
    return [(decoded(key), Entry(str(person))) for key, person in zip(table["keys"], table["pids"], strict=True)]


def decoded(key: Any) -> str:
    """Decode a key that is in bytes."""
    return key.decode("utf-8", errors="surrogateescape") if isinstance(key, bytes) else str(key)
