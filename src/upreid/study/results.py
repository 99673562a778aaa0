"""The result of a finished cell: what the tables need of it, and how it is gathered from the folder of its run."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from upreid.config.files import read_json
from upreid.errors import DataError
from upreid.runtime.compute import provenance
from upreid.runtime.files import write_text
from upreid.runtime.journal import read_journal
from upreid.study.cells import Cell
from upreid.study.command_lines import RESULT_FILES
from upreid.study.folder import StudyFolder
from upreid.training.precision import Precision, recorded

PROVENANCE = ("versions", "commit", "hardware")
NOT_LOSSES = {"step", "seconds", "lr"}


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """The result of a finished cell, as the tables need it."""

    stage: str
    arm: str
    seed: int
    repeat: int
    metrics: dict[str, float]
    protocol: dict[str, Any]
    seconds: float
    origin: dict[str, Any]
    """Versions, commit and hardware of the run, and the precision of a training that recorded it."""


def result_of(cell: Cell, record: Mapping[str, Any]) -> CellResult:
    """Read the record of a result; DataError where it lacks something."""
    try:
        return CellResult(
            stage=cell.stage,
            arm=cell.arm,
            seed=cell.seed,
            repeat=cell.repeat,
            metrics={name: float(value) for name, value in record["metrics"].items() if value is not None},
            protocol=record["protocol"],
            seconds=record["seconds"],
            origin={name: record[name] for name in PROVENANCE} | {"precision": record.get("precision")},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"the result of {cell.name} is damaged ({error!r}); move results/{cell.name}.json away, or the study.jsonl that "
            "holds it, and the cell is run again"
        ) from error


def is_finished(cell: Cell, folder: StudyFolder) -> bool:
    """Whether there is a result of a cell that was made with its settings; DataError where it is damaged."""
    record = next((record for record in folder.records(cell) if record.get("digest") == cell.digest), None)
    return record is not None and bool(result_of(cell, record))


def write_result(cell: Cell, folder: StudyFolder, study: str, line: list[str], seconds: float) -> None:
    """Gather what a cell left in the folder of its run into its result file."""
    run = folder.run(cell)
    metrics, protocol = outcome(cell, run)
    record = {
        "study": study,
        "stage": cell.stage,
        "arm": cell.arm,
        "seed": cell.seed,
        "repeat": cell.repeat,
        "digest": cell.digest,
        "settings": cell.settings,
        "line": " ".join(["upreid", *line]),
        "metrics": metrics,
        "protocol": protocol,
        "seconds": round(seconds_of(run) or seconds, 1),
        "finished": datetime.fromtimestamp(time.time(), tz=UTC).isoformat(timespec="seconds"),
        **origin(run),
        **precision(run),
        "pretrained": pretrained(cell, folder),
    }
    write_text(folder.result(cell), json.dumps(record, indent=2) + "\n")


def outcome(cell: Cell, run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return metrics and protocol; those of a pre-training are its losses over the last tenth of the steps."""
    if cell.program == "pretrain":
        return last_losses(run), {}
    path = run / RESULT_FILES[cell.program]
    if not path.is_file():
        raise DataError(f"{cell.name} ended well and left no {path.name}; move {run} away and run again")
    table = read_json(path)
    return {name: value for name, value in table.items() if name not in ("protocol", "oracle")}, table.get(
        "protocol", {}
    )


def last_losses(run: Path) -> dict[str, float]:
    """Return the mean of each loss over the last tenth of the steps, and the number of steps."""
    lines = read_journal(run / "metrics.jsonl")
    tail = [line for line in lines if "lr" in line][-max(len(lines) // 10, 1) :]
    if not tail:
        raise DataError(f"{run / 'metrics.jsonl'} holds no losses; move {run} away and run again")
    names = [name for name in tail[-1] if name not in NOT_LOSSES]
    return {name: fmean(line[name] for line in tail) for name in names} | {"steps": lines[-1]["step"] + 1}


def seconds_of(run: Path) -> float:
    """Add up the seconds of training over all sittings, by the journal; 0 where nothing was trained."""
    path = run / "metrics.jsonl"
    marks = [line["seconds"] for line in read_journal(path)] if path.is_file() else []
    return sum(now for now, after in pairwise([*marks, 0.0]) if after < now)  # the clock starts anew in each sitting


def origin(run: Path) -> dict[str, Any]:
    """Return versions, commit and hardware: those of the run where it wrote them down, else those of now."""
    path = run / "config.json"
    saved = read_json(path) if path.is_file() else provenance()
    return {name: saved[name] for name in PROVENANCE}


def precision(run: Path) -> dict[str, str]:
    """Return the precision that a training recorded; nothing for what is no training."""
    known = recorded(run) if (run / "config.json").is_file() else {}
    return {"precision": str(Precision(device=torch.device("cpu"), **known))} if known else {}


def pretrained(cell: Cell, folder: StudyFolder) -> dict[str, Any] | None:
    """Return versions, commit and hardware of the pre-training that a cell began with; None where there is none."""
    first = cell
    while first.source is not None:
        first = first.source
    return origin(folder.run(first)) if first is not cell else None
