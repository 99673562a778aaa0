"""Lists of pairs of images: which of them show one person, and which show two."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from upreid.data.sources.source import Source, printable
from upreid.errors import DataError, InputError, first_line

HEADER = ["first", "second", "same"]
NAMED = 5
"""Number of files that an error names."""


@dataclass(frozen=True, kw_only=True)
class PairList:
    """Pairs of images of a source, each once."""

    images: NDArray[np.int64]
    """Places in the source of the images that are in pairs, ascending."""
    pairs: NDArray[np.int64]
    """Places in `images` of the two images [pairs, 2] of each pair, the lower one first."""
    people: NDArray[np.int64]
    """Person of each of `images`, numbered from 0: who is linked by pairs of one person is one person."""


def read_pairs(path: Path, source: Source) -> PairList:
    """Read a CSV file with the columns first, second, same (1: one person, 0: two), with files as the source names them.

    Raises InputError where there is no such file, or where it names files that the source does not have; DataError where it is
    damaged, names a pair twice, or contradicts itself.
    """
    if not path.is_file():
        raise InputError(f"--pairs {path}: there is no such file; give a .csv with the columns {','.join(HEADER)}")
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines(), strict=True))
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} is no list of pairs ({first_line(error)}); write {','.join(HEADER)}") from error
    if not rows or rows[0] != HEADER:
        raise DataError(
            f"{path} begins with {rows[0] if rows else 'nothing'}; its first line must be {','.join(HEADER)}"
        )
    if bad := [number for number, row in enumerate(rows[1:], 2) if len(row) != 3 or row[2] not in ("0", "1")]:
        raise DataError(f"{path}: line {bad[0]} must be two files and 1 (one person) or 0 (two), with commas between")
    places = {source.name(index): index for index in range(len(source))}
    named = [name for row in rows[1:] for name in row[:2]]
    if strange := [name for name in dict.fromkeys(named) if name not in places]:
        some = ", ".join(map(printable, strange[:NAMED])) + (" and others" if len(strange) > NAMED else "")
        raise InputError(
            f"{len(strange)} files in {path} are not among the images of {source.root}: {some}; name them as they lie there"
        )
    at = np.array([places[name] for name in named], dtype=np.int64)
    images, at = np.unique(at, return_inverse=True)
    pairs, is_same = np.sort(at.reshape(-1, 2), axis=1), np.array([row[2] == "1" for row in rows[1:]], dtype=bool)
    check_pairs(path, pairs, rows)
    links = coo_array((np.ones(int(is_same.sum())), tuple(pairs[is_same].T)), shape=(len(images), len(images)))
    people = connected_components(links, directed=False)[1].astype(np.int64)
    wrong = np.flatnonzero(~is_same & (people[pairs[:, 0]] == people[pairs[:, 1]]))
    if len(wrong):
        first, second, _ = map(printable, rows[wrong[0] + 1])
        raise DataError(
            f"{path}: line {wrong[0] + 2} says that {first} and {second} are two people, and other lines link them as one; "
            f"correct the list ({len(wrong)} such lines)"
        )
    return PairList(images=images, pairs=pairs, people=people)


def check_pairs(path: Path, pairs: NDArray[np.int64], rows: list[list[str]]) -> None:
    """Refuse an image that is paired with itself, and a pair that stands twice."""
    _, first, times = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    for wrong, what in (
        (np.flatnonzero(pairs[:, 0] == pairs[:, 1]), "pairs an image with itself"),
        (first[times > 1], "names a pair that stands twice"),
    ):
        if len(wrong):
            line = int(wrong.min())
            raise DataError(f"{path}: line {line + 2} ({printable(rows[line + 1][0])}) {what}; remove one")
