"""The last states of a run: `state.pt`, and older ones in `states/`. A damaged one gives way to the one before.

A state is plain tensors and values, written as an archive whose every part carries a checksum, and loaded with
`weights_only=True`.
"""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from upreid.errors import DataError, first_line
from upreid.runtime.console import say
from upreid.runtime.files import check_archive, flush, write_aside

NEWEST = "state.pt"
OLDER = "states"


@dataclass
class States:
    """The states in a run's folder: written and read by rank 0, each checked when it is read."""

    folder: Path
    keep: int = 2
    """How many there are at most; while one more is being written, the disk holds one more."""
    newest: int | None = None
    """Step of a `state.pt` known to be whole; what is not known to be so is written over, and never kept."""

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` as the newest. At every moment of it, one whole state is there to go on from."""
        step = int(state["step"])
        with write_aside(self.folder / NEWEST) as aside:
            aside.write_bytes(in_bytes(state))
            flush(aside)  # on the disk before the older one moves
            if self.newest not in (None, step) and self.keep > 1:
                (self.folder / OLDER).mkdir(exist_ok=True)
                (self.folder / NEWEST).replace(self.folder / OLDER / f"step-{self.newest:09}.pt")
        self.newest = step
        older = self.older()
        for path in [path for path in older if step_of(path) >= step] + older[self.keep - 1 :]:
            path.unlink(missing_ok=True)

    def older(self) -> list[Path]:
        """Return those before `state.pt`, the newest first."""
        return sorted((self.folder / OLDER).glob("step-*.pt"), key=step_of, reverse=True)

    def load(self) -> dict[str, Any] | None:
        """Read the newest whole state; None where none was ever written.

        Says which ones are damaged; DataError where none is whole.
        """
        newest, older = self.folder / NEWEST, self.older()
        found = [newest, *older] if newest.exists() else older
        complaints: list[str] = []
        for path in found:
            try:
                state = load_state(path)
            except DataError as error:
                say(str(error))
                complaints.append(path.name)
                continue
            self.newest = int(state["step"]) if path == newest else None
            if path != newest:
                say(f"going back to the state before, of step {state['step']}: {path}")
            return state
        if complaints:
            raise DataError(
                f"no state in {self.folder} is whole ({', '.join(complaints)}); put a copy back as state.pt, or start anew"
            )
        return None


def step_of(path: Path) -> int:
    """Return the step that an older state is named after; -1 for a name of somebody else's."""
    number = path.stem.removeprefix("step-")
    return int(number) if number.isdecimal() else -1


def in_bytes(state: dict[str, Any]) -> memoryview:
    """Return a state as torch.save writes it: an archive whose every part carries a checksum."""
    whole = io.BytesIO()  # torch's own writer hides what the system said behind a RuntimeError
    torch.save(state, whole)
    return whole.getbuffer()


def load_state(path: Path) -> dict[str, Any]:
    """Read a state onto the CPU; DataError where it is missing, cut short, changed since it was written, or holds code."""
    if not path.is_file():
        raise DataError(f"no {path.name} in {path.parent}: the run was stopped before its first save; start it anew")
    try:
        check_archive(path, checksums=True)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, BadZipFile, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)}); it is damaged or not a state of ours") from error
    if not isinstance(state, dict) or not {"step", "hash", "world_size"} <= state.keys():
        raise DataError(f"{path} is not a state of ours: it has no step, hash and world_size")
    return state
