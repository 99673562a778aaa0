"""`study.jsonl`: a whole study in one file. The first line holds the grid and what its results share, each other line a result.

    {"study": "mine", "grid": {...}, "results": 2, "shared": {...}, "stages": {"frozen": {...}}}
    {"cell": "frozen/moco-s1", "digest": "...", "metrics": {"mAP": 1.9}, "seconds": 20.1, "line": "upreid evaluate ...", ...}
    {"cell": "frozen/moco-s2", ...}

The record of a result is its line upon the facts of its stage upon those that all share.
"""

import json
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from upreid.config.files import hash_of
from upreid.config.grid import grid_of, to_table
from upreid.config.study import Grid
from upreid.errors import DataError
from upreid.runtime.files import write_text
from upreid.study.cells import effective

Record = dict[str, Any]
NAMED_BY_ITS_CELL = ("stage", "arm", "seed", "repeat")


def write_study_file(
    path: Path, name: str, grid: Grid, records: Mapping[str, Record], facts: Mapping[str, Record] | None = None
) -> None:
    """Write the results of a study, name of the cell -> record, as one file; `facts`: what its folders hold."""
    rows = {cell: brief(cell, record) for cell, record in records.items()}
    shared = facts_of(list(rows.values()))
    rows = {cell: without(row, shared) for cell, row in rows.items()}
    stages = {
        stage: facts_of([rows[cell] for cell in rows if stage_of(cell) == stage]) for stage in map(stage_of, rows)
    }
    data = {"data": facts} if facts else {}
    first = {"study": name, "grid": to_table(grid), **data, "results": len(rows), "shared": shared, "stages": stages}
    lines = [first, *({"cell": cell, **without(row, stages[stage_of(cell)])} for cell, row in rows.items())]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def read_study_file(path: Path) -> tuple[str, Grid, dict[str, Record]]:
    """Return name and grid of a study, and cell -> record; DataError where the file is damaged or no study."""
    try:
        first, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        name, table, count = first["study"], first["grid"], first["results"]
        facts = {stage: joined(first["shared"], some) for stage, some in first["stages"].items()}
        records = {row["cell"]: joined(facts[stage_of(row["cell"])], row) for row in rows}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged, or is no study.jsonl ({error!r}); give one, or the folder of a study"
        ) from error
    if len(records) != count:
        raise DataError(f"{path} holds {len(records)} of its {count} results: it was cut short; copy it again")
    return name, grid_of(table, str(path)), records


def read_facts(path: Path) -> dict[str, Record]:
    """Return what the folders of a study held, by its file, which `read_study_file` has found to be whole."""
    with path.open(encoding="utf-8") as lines:
        return json.loads(next(lines)).get("data", {})


def stage_of(cell: str) -> str:
    """Return the stage in the name of a cell."""
    return cell.partition("/")[0]


def brief(cell: str, record: Record) -> Record:
    """Leave out of a record what the cell's name says; the settings of the cell before become its digest."""
    settings = record.get("settings", {})
    if isinstance(source := settings.get("source"), dict):
        settings = settings | {"source": hash_of(effective(source))}
    stage, _, rest = cell.partition("/")
    arm, _, numbers = rest.rpartition("-s")
    seed, _, repeat = numbers.partition("-r")
    said = dict(zip(NAMED_BY_ITS_CELL, (stage, arm, int(seed), int(repeat or 1) - 1), strict=True))
    return {
        key: settings if key == "settings" else value
        for key, value in record.items()
        if key != "cell" and not (key in said and said[key] == value)
    }


def facts_of(rows: list[Record]) -> Record:
    """Return what all rows share, but for the metrics, whose order is that of the tables."""
    return common([{key: value for key, value in row.items() if key != "metrics"} for row in rows])


def common(tables: list[Record]) -> Record:
    """Return what all tables say alike, at every level."""

    def of_two(first: Record, second: Record) -> Record:
        found: Record = {}
        for key in [key for key in first if key in second]:
            one, other = first[key], second[key]
            if json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True):  # 1 and 1.0 are not alike
                found[key] = one
            elif isinstance(one, dict) and isinstance(other, dict) and (inner := of_two(one, other)):
                found[key] = inner
        return found

    return reduce(of_two, tables) if tables else {}


def without(table: Record, shared: Record) -> Record:
    """Return what `table` says beyond `shared`, at every level."""
    found: Record = {}
    for key, value in table.items():
        if key not in shared:
            found[key] = value
        elif isinstance(value, dict) and (inner := without(value, shared[key])):
            found[key] = inner
    return found


def joined(shared: Record, table: Record) -> Record:
    """Invert `without`: the facts of both, at every level."""
    found = dict(shared)
    for key, value in table.items():
        found[key] = joined(found[key], value) if isinstance(value, dict) and key in found else value
    return found
