"""What a study's folder knows: its grid and its cells. A grid may grow; what it declared once, it keeps."""

import json
from collections.abc import Sequence
from typing import Any

from upreid.config.files import read_json
from upreid.config.grid import grid_of, to_table
from upreid.config.study import Grid
from upreid.errors import InputError
from upreid.runtime.files import write_text
from upreid.study.cells import Cell
from upreid.study.places import Places

MOST_NAMED = 3


def remember(name: str, grid: Grid, cells: Sequence[Cell], places: Places) -> None:
    """Keep grid and cells; InputError where the folder holds another study, or cells of this one that have changed."""
    digests = {cell.name: cell.digest for cell in cells}
    if places.memory.exists():
        before = read_json(places.memory)
        if before.get("study") != name:
            raise InputError(
                f"{places.out} holds the study '{before.get('study')}', not '{name}'; choose another --out"
            )
        changed = [cell for cell, digest in before["cells"].items() if digests.get(cell) != digest]
        if changed:
            named = ", ".join(changed[:MOST_NAMED]) + (" ..." if len(changed) > MOST_NAMED else "")
            raise InputError(
                f"{places.out} holds {len(changed)} cells that '{name}' has no more, or with other settings ({named}); "
                "a study may get more seeds, arms and settings, for anything else choose another --out"
            )
    table = {"study": name, "grid": to_table(grid), "cells": digests}
    write_text(places.memory, json.dumps(table, indent=2) + "\n")


def recall(places: Places) -> tuple[str, Grid, dict[str, str]]:
    """Name and grid of the study in a folder, and the digest of every cell as it was when the study was run."""
    if not places.memory.is_file():
        raise InputError(f"no study at {places.out}: no {places.memory.name}; give the --out of upreid study")
    table: dict[str, Any] = read_json(places.memory)
    return table["study"], grid_of(table["grid"], str(places.memory)), table["cells"]
