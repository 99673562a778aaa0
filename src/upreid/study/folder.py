"""The folder of a study: where its files are, and which grid it holds. A grid may grow; what it declared once, it keeps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from upreid.config.files import read_json
from upreid.config.grid import grid_of, to_table
from upreid.config.study import Grid
from upreid.errors import DataError, InputError
from upreid.runtime.files import write_text
from upreid.study.cells import Cell
from upreid.study.corpora import Facts, check_unchanged
from upreid.study.study_file import Record, read_facts, read_study_file

MOST_NAMED = 3


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study.

    study.json                       the grid, what its folders hold, and a digest of every cell's settings
    results/STAGE/ARM-sSEED.json     the result of a finished cell: all that tables need, and all that says it is done
    study.jsonl                      grid and results in one file: what there was when a table was last made
    corpora/NAME/                    rendered people
    pretrain/ARM-sSEED/              a run of `upreid pretrain`
    SETTING/ARM-sSEED/               what followed it
    logs/                            what the cells said
    """

    out: Path

    @property
    def grid(self) -> Path:
        """The file that holds the grid and the digests of its cells."""
        return self.out / "study.json"

    @property
    def results(self) -> Path:
        """The folder of the results; it may be copied from one machine to another by itself."""
        return self.out / "results"

    @property
    def file(self) -> Path:
        """The file that holds the grid and all results; it may stand alone."""
        return self.out / "study.jsonl"

    @property
    def is_begun(self) -> bool:
        """Whether there is a study, or results that were copied from elsewhere."""
        return self.grid.exists() or self.file.exists() or self.results.is_dir()

    @cached_property
    def filed(self) -> tuple[str, Grid, dict[str, Record]] | None:
        """The content of `study.jsonl`, read once; None where there is no such file."""
        return read_study_file(self.file) if self.file.is_file() else None

    @property
    def facts(self) -> dict[str, Facts]:
        """What the corpora that are folders held when the study was last run."""
        if self.grid.is_file():
            return read_json(self.grid).get("data", {})
        return read_facts(self.file) if self.file.is_file() else {}

    def corpus(self, name: str) -> Path:
        """Return the folder of a corpus."""
        return self.out / "corpora" / name

    def wild(self, name: str) -> Path:
        """Return the folder of the unlabelled people of a corpus."""
        return self.corpus(name) / "wild"

    def labelled(self, name: str) -> Path:
        """Return the folder of the labelled people of a corpus."""
        return self.corpus(name) / "market1501"

    def run(self, cell: Cell) -> Path:
        """Return the folder that a cell works in."""
        return self.out / cell.name

    def encoder(self, cell: Cell) -> Path:
        """Return the encoder file of a training."""
        return self.run(cell) / "encoder.safetensors"

    def result(self, cell: Cell) -> Path:
        """Return the file that the result of a cell is written to."""
        return self.results / f"{cell.name}.json"

    def records(self, cell: Cell) -> list[Record]:
        """Return what is written down of a cell's result: in its own file, and in `study.jsonl`."""
        own = [read_json(self.result(cell))] if self.result(cell).is_file() else []
        filed = self.filed[2] if self.filed else {}
        return [*own, *([filed[cell.name]] if cell.name in filed else [])]


def remember(
    name: str, grid: Grid, digests: Mapping[str, str], folder: StudyFolder, facts: Mapping[str, Facts] | None = None
) -> None:
    """Keep a grid, the digests of its cells and the facts of its folders.

    Raises InputError where the folder holds another study, or data or cells of this one that have changed.
    """
    facts = facts or {}
    if folder.grid.exists() or folder.filed:
        owner, _, before = recall(folder)
        if owner != name:
            raise InputError(f"{folder.out} holds the study '{owner}', not '{name}'; choose another --out")
        check_unchanged(folder.facts, facts, grid, folder.out)
        changed = [cell for cell, digest in before.items() if digests.get(cell) != digest]
        if changed:
            named = ", ".join(changed[:MOST_NAMED]) + (" ..." if len(changed) > MOST_NAMED else "")
            raise InputError(
                f"{folder.out} holds {len(changed)} cells that '{name}' has no more, or with other settings ({named}); "
                "a study may get more seeds, arms and settings, for anything else choose another --out"
            )
    table = {
        "study": name,
        "grid": to_table(without_paths(grid)),
        **({"data": facts} if facts else {}),
        "cells": digests,
    }
    write_text(folder.grid, json.dumps(table, indent=2) + "\n")


def without_paths(grid: Grid) -> Grid:
    """Leave out where folders are: a study may go on elsewhere, and its files may be shown to others."""
    return replace(grid, corpora={name: replace(corpus, root=None) for name, corpus in grid.corpora.items()})


def recall(folder: StudyFolder) -> tuple[str, Grid, dict[str, str]]:
    """Return name and grid of the study in a folder, and the digests of its cells as they were when the study was run.

    Where there is only `study.jsonl`, these are the finished cells.
    """
    if folder.grid.is_file():
        table: dict[str, Any] = read_json(folder.grid)
        try:
            return table["study"], grid_of(table["grid"], str(folder.grid)), table["cells"]
        except KeyError as error:
            raise DataError(f"{folder.grid} has no {error}; restore it, or choose another --out") from error
    if folder.filed is None:
        raise InputError(
            f"no study at {folder.out}: neither {folder.grid.name} nor {folder.file.name}; give the --out of upreid study"
        )
    name, grid, records = folder.filed
    return name, grid, {cell: str(record.get("digest")) for cell, record in records.items()}
