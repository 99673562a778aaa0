"""Sets of one's own: folders in Market-1501's manner, or one CSV file.

bounding_box_train/  query/  bounding_box_test/      12_c3_anything.jpg = person 12, camera 3; -1 junk, 0 distractors
                                                     12_anything.jpg = person 12, camera unknown

path,person,camera,split
images/a.jpg,anna,door,train          paths relative to the CSV; split is train, query or gallery; person -1 is junk

A camera may be unknown: the column is missing, or its field is empty. A set without training images is one to test on.
"""

import csv
import posixpath
from pathlib import Path

from upreid.data.benchmarks.benchmark import PARTS, Benchmark, Part, assemble
from upreid.data.benchmarks.folders import MARKET_FOLDERS, OWN, find_home, missing_files, named, read_folder
from upreid.data.benchmarks.market1501 import JUNK, num_distractors, read_drawn_boxes
from upreid.data.records import Record
from upreid.errors import DataError, InputError

NEEDED = ("path", "person", "split")
COLUMNS = (*NEEDED, "camera")
DELIMITERS = ",;\t"


def read_market_style(root: Path) -> Benchmark:
    """Read the three folders at `root`, of which bounding_box_train may be missing or empty.

    Raises InputError where folders are missing, and DataError where images are.
    """
    needed = [folder for part, folder in MARKET_FOLDERS.items() if part != "train"]
    home = find_home(root, "market-style", places=("",), folders=needed)
    parts: dict[str, Part] = {}
    for part, folder in MARKET_FOLDERS.items():
        is_there = part != "train" or (home / folder).is_dir()
        how = {"junk": JUNK, "may_be_empty": part == "train"}
        parts[part] = read_folder(home / folder, "market-style", OWN, **how) if is_there else Part()
    parts["multi_query"] = read_drawn_boxes(home, "market-style", OWN, parts["query"])
    return assemble("market-style", home, parts, variant="custom folders", num_distractors=num_distractors(parts))


def read_csv(root: Path) -> Benchmark:
    """Read the CSV file at `root`; people and cameras are numbered from 0 in the sorted order of what they are called.

    Raises DataError, with the line's number, for a row that is not like the others, and where images are missing.
    """
    if not root.is_file():
        raise InputError(
            f"{root} is {'a folder' if root.is_dir() else 'not there'}; give a CSV file as the root of csv"
        )
    rows = _rows(root)
    missing = missing_files(root.parent, [row["path"] for row in rows])
    if missing:
        raise DataError(
            f"{len(missing)} of {len(rows)} images that {root} names are not there, such as {named(missing)}; "
            f"paths are relative to {root.parent}"
        )
    kept = [row for row in rows if row["person"] != str(JUNK)]
    people, cameras = (
        {one: number for number, one in enumerate(sorted({row[column] for row in kept} - {""}))}
        for column in ("person", "camera")
    )
    parts: dict[str, Part] = {}
    for part in PARTS:
        mine = [row for row in kept if row["split"] == part]
        records = tuple(
            Record(path=root.parent / row["path"], person=people[row["person"]], camera=cameras.get(row["camera"]))
            for row in mine
        )
        parts[part] = Part(records=records, num_junk=sum(row["split"] == part for row in rows) - len(mine))
    return assemble("csv", root, parts, variant="custom CSV")


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of the file, each checked."""
    rows: list[dict[str, str]] = []
    lines: dict[tuple[str, str], int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            delimiter = max(DELIMITERS, key=header.count)
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            reader.fieldnames = [column.strip().lower() for column in reader.fieldnames or []]
            if not set(NEEDED) <= set(reader.fieldnames):
                raise DataError(
                    f"{path}, line 1: columns are {', '.join(reader.fieldnames)}; needed are {', '.join(NEEDED)}, and camera "
                    f"where it is known"
                )
            for row in reader:
                kept = {column: (row.get(column) or "").strip() for column in COLUMNS}
                fault = _fault(row, kept) or _repeats(kept, lines)
                if fault:
                    raise DataError(f"{path}, line {reader.line_num}: {fault}")
                lines[posixpath.normpath(kept["path"]), kept["split"]] = reader.line_num
                rows.append(kept)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    if not rows:
        raise DataError(f"{path} has no rows below its header")
    return rows


def _fault(row: dict[str | None, str | None], kept: dict[str, str]) -> str:
    """Say what is wrong with a row, if anything."""
    if None in row or None in row.values():
        return "more or fewer fields than columns"
    empty = [column for column in NEEDED if not kept[column]]
    if empty:
        return f"{empty[0]} is empty"
    if kept["split"] not in PARTS:
        return f"split is '{kept['split']}'; it must be {', '.join(PARTS)}"
    return ""


def _repeats(kept: dict[str, str], lines: dict[tuple[str, str], int]) -> str:
    """Say which earlier line names the same image in the same list, if one does."""
    before = lines.get((posixpath.normpath(kept["path"]), kept["split"]))
    if before is None:
        return ""
    return f"'{kept['path']}' stands in {kept['split']} already, on line {before}; remove one of the two"
