"""`metrics.jsonl`: one JSON object per line, the truth about a run."""

import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from upreid.errors import DataError
from upreid.runtime.files import write_aside


class Journal:
    """Appends to `path`; opened at step `resume_at`, it first drops what a killed run wrote from there on.

    So no step stands twice, and a resumed run's journal equals that of a run which was never stopped.
    """

    def __init__(self, path: Path, *, resume_at: int = 0) -> None:
        kept = lines_before(path, resume_at)
        with write_aside(path) as aside:
            aside.write_bytes(b"".join(kept))
        self.file = path.open("a", encoding="utf-8")

    def write(self, *, step: int, **values: Any) -> None:
        """Write one line; a number that is not finite becomes null, which JSON can hold."""
        finite = {key: None if is_broken(value) else value for key, value in values.items()}
        self.file.write(json.dumps({"step": step, **finite}, allow_nan=False) + "\n")
        self.file.flush()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


def is_broken(value: Any) -> bool:
    """Whether JSON cannot hold it."""
    return isinstance(value, float) and not math.isfinite(value)


def lines_before(path: Path, step: int) -> list[bytes]:
    """Return the whole lines of steps below `step`; a line cut short by a kill is dropped, and all after it."""
    kept: list[bytes] = []
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        entry = entry_of(line)
        if entry is None or not line.endswith(b"\n") or entry["step"] >= step:
            break
        kept.append(line)
    return kept


def entry_of(line: bytes) -> dict[str, Any] | None:
    """Read a line; None where it holds none of ours."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("step"), int) else None


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read every line; DataError where one is not ours."""
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        entry = entry_of(line)
        if entry is None:
            raise DataError(f"line {number} of {path} is damaged; resume its run, which writes it anew")
        entries.append(entry)
    return entries
