"""The result of a finished cell: one small JSON, all that tables need and all that says that the cell is done."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from upreid.config.files import read_json
from upreid.errors import InputError
from upreid.runtime.files import write_text
from upreid.runtime.journal import read_journal
from upreid.runtime.provenance import provenance
from upreid.study.cells import Cell
from upreid.study.lines import RESULT_FILES
from upreid.study.places import Places

PROVENANCE = ("versions", "commit", "hardware")
NOT_LOSSES = {"step", "seconds", "lr"}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished cell said."""

    stage: str
    arm: str
    seed: int
    repeat: int
    metrics: dict[str, float]
    protocol: dict[str, Any]
    seconds: float
    origin: dict[str, Any]
    """Versions, commit and hardware."""


def read_result(cell: Cell, places: Places, wanted_digest: str | None = None) -> Result | None:
    """The result of a cell; None where there is none, or one that was made with other settings."""
    path = places.result(cell)
    if not path.is_file():
        return None
    table = read_json(path)
    if table.get("digest") != (wanted_digest or cell.digest):
        return None
    try:
        return Result(
            stage=cell.stage,
            arm=cell.arm,
            seed=cell.seed,
            repeat=cell.repeat,
            metrics={name: float(value) for name, value in table["metrics"].items() if value is not None},
            protocol=table["protocol"],
            seconds=table["seconds"],
            origin={name: table[name] for name in PROVENANCE},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path} is no result of a study ({error!r}); delete it, and the cell is run again") from error


def write_result(cell: Cell, places: Places, study: str, line: list[str], seconds: float) -> None:
    """Gather what a cell left in its folder into its result file."""
    folder = places.run(cell)
    metrics, protocol = outcome(cell, folder)
    table = {
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
        "seconds": round(seconds_of(folder) or seconds, 1),
        "finished": datetime.fromtimestamp(time.time(), tz=UTC).isoformat(timespec="seconds"),
        **origin(folder),
        "pretrained": pretrained(cell, places),
    }
    write_text(places.result(cell), json.dumps(table, indent=2) + "\n")


def outcome(cell: Cell, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and protocol; of a pre-training, what its losses came to in the last tenth."""
    if cell.program == "pretrain":
        return last_losses(folder), {}
    path = folder / RESULT_FILES[cell.program]
    if not path.is_file():
        raise InputError(f"{cell.name} ended well and left no {path.name}; delete {folder} and run again")
    table = read_json(path)
    return {name: value for name, value in table.items() if name != "protocol"}, table.get("protocol", {})


def last_losses(folder: Path) -> dict[str, float]:
    """Mean of each loss over the last tenth of the steps, and the number of steps."""
    lines = read_journal(folder / "metrics.jsonl")
    tail = [line for line in lines if "contrast" in line][-max(len(lines) // 10, 1) :]
    if not tail:
        raise InputError(f"{folder / 'metrics.jsonl'} holds no losses; delete {folder} and run again")
    names = [name for name in tail[-1] if name not in NOT_LOSSES]
    return {name: fmean(line[name] for line in tail) for name in names} | {"steps": lines[-1]["step"] + 1}


def seconds_of(folder: Path) -> float:
    """Seconds of training over all sittings, by the journal; 0 where nothing was trained."""
    path = folder / "metrics.jsonl"
    marks = [line["seconds"] for line in read_journal(path)] if path.is_file() else []
    return sum(now for now, after in pairwise([*marks, 0.0]) if after < now)  # the clock starts anew in each sitting


def origin(folder: Path) -> dict[str, Any]:
    """Versions, commit and hardware: those of the run where it wrote them down, else those of now."""
    path = folder / "config.json"
    saved = read_json(path) if path.is_file() else provenance()
    return {name: saved[name] for name in PROVENANCE}


def pretrained(cell: Cell, places: Places) -> dict[str, Any] | None:
    """Where the encoder that a cell began with was made."""
    first = cell
    while first.source is not None:
        first = first.source
    return origin(places.run(first)) if first is not cell else None
