"""Sets of one's own: folders in Market-1501's manner, or one CSV file.

bounding_box_train/  query/  bounding_box_test/      12_c3_anything.jpg = person 12, camera 3; -1 junk, 0 distractors

path,person,camera,split
images/a.jpg,anna,door,train          paths relative to the CSV; split is train, query or gallery
"""

import csv
from pathlib import Path

from upreid.data.benchmarks.benchmark import PARTS, Benchmark, Part, assemble
from upreid.data.benchmarks.folders import MARKET_FOLDERS, find_home, missing_files, named, read_market_folders
from upreid.data.benchmarks.market1501 import JUNK, num_distractors
from upreid.data.benchmarks.naming import ANY_MARKET
from upreid.data.records import Record
from upreid.errors import InputError

COLUMNS = ("path", "person", "camera", "split")


def read_market_style(root: Path) -> Benchmark:
    """Read the three folders at `root`; raises InputError where folders or images are missing."""
    home = find_home(root, "market-style", places=("",), folders=tuple(MARKET_FOLDERS.values()))
    parts = read_market_folders(home, "market-style", ANY_MARKET, junk=JUNK)
    return assemble("market-style", home, parts, variant="custom folders", num_distractors=num_distractors(parts))


def read_csv(root: Path) -> Benchmark:
    """Read the CSV file at `root`; people and cameras are numbered from 0 in the sorted order of what they are called.

    Raises InputError, with the line's number, for a row that is not like the others, and where images are missing.
    """
    if not root.is_file():
        raise InputError(
            f"{root} is {'a folder' if root.is_dir() else 'not there'}; give a CSV file as the root of csv"
        )
    rows = _rows(root)
    missing = missing_files(root.parent, [row["path"] for row in rows])
    if missing:
        raise InputError(
            f"{len(missing)} of {len(rows)} images that {root} names are not there, such as {named(missing)}; "
            f"paths are relative to {root.parent}"
        )
    people, cameras = (
        {one: number for number, one in enumerate(sorted({row[column] for row in rows}))}
        for column in ("person", "camera")
    )
    lists: dict[str, list[Record]] = {part: [] for part in PARTS}
    for row in rows:
        person, camera = people[row["person"]], cameras[row["camera"]]
        lists[row["split"]].append(Record(path=root.parent / row["path"], person=person, camera=camera))
    parts = {part: Part(records=tuple(records)) for part, records in lists.items()}
    return assemble("csv", root, parts, variant="custom CSV")


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of the file, each checked."""
    rows = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            header = reader.fieldnames or []
            if not set(COLUMNS) <= set(header):
                raise InputError(f"{path}, line 1: columns are {', '.join(header)}; needed are {', '.join(COLUMNS)}")
            for row in reader:
                fault = _fault(row)
                if fault:
                    raise InputError(f"{path}, line {reader.line_num}: {fault}")
                rows.append({column: row[column].strip() for column in COLUMNS})
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    if not rows:
        raise InputError(f"{path} has no rows below its header")
    return rows


def _fault(row: dict[str, str]) -> str:
    """What is wrong with a row, if anything."""
    if None in row or None in row.values():
        return "more or fewer fields than columns"
    empty = [column for column in COLUMNS if not row[column].strip()]
    if empty:
        return f"{empty[0]} is empty"
    if row["split"].strip() not in PARTS:
        return f"split is '{row['split']}'; it must be {', '.join(PARTS)}"
    return ""
