"""The last states of a run: `state.pt`, and older ones in `states/`. A damaged one gives way to the one before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upreid.errors import InputError
from upreid.runtime.checkpoint import in_bytes, load_state
from upreid.runtime.console import say
from upreid.runtime.files import flush, write_aside

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
        """Those before `state.pt`, the newest first."""
        return sorted((self.folder / OLDER).glob("step-*.pt"), key=step_of, reverse=True)

    def load(self) -> dict[str, Any] | None:
        """Read the newest whole state; None where none was ever written.

        Says which ones are damaged; InputError where none is whole.
        """
        newest, older = self.folder / NEWEST, self.older()
        found = [newest, *older] if newest.exists() else older
        complaints: list[str] = []
        for path in found:
            try:
                state = load_state(path)
            except InputError as error:
                say(str(error))
                complaints.append(path.name)
                continue
            self.newest = int(state["step"]) if path == newest else None
            if path != newest:
                say(f"going back to the state before, of step {state['step']}: {path}")
            return state
        if complaints:
            raise InputError(
                f"no state in {self.folder} is whole ({', '.join(complaints)}); put a copy back as state.pt, or start anew"
            )
        return None


def step_of(path: Path) -> int:
    """Step that an older state is named after; -1 for a name of somebody else's."""
    number = path.stem.removeprefix("step-")
    return int(number) if number.isdecimal() else -1
