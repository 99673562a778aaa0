"""A run's folder: made, claimed by one process, and never shared.

config.json           everything resolved: settings, versions, commit, seed, hardware
metrics.jsonl         one line per step: the truth; TensorBoard is a view of it
state.pt              to resume from
states/               the states before it
encoder.safetensors   what others use
logs/                 what was said
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from upreid.errors import InputError
from upreid.runtime.files import ASIDE, sweep
from upreid.runtime.launcher import is_same_job, job_id, num_restarts

LOCK = ".lock"
NOT_BEGUN = {LOCK, "logs"}
"""All that there is of a run that was killed before it had written its configuration."""
SECONDS_TO_SAVE = 60.0

held: set[int] = set()
"""Handles of the folders that this process holds."""


@contextmanager
def claim(out: Path, *, resume: bool = False) -> Iterator[Path]:
    """Hold `out` for the length of a run; the operating system frees it, even after a SIGKILL.

    What a killed process left half-written is removed. A process that torchrun started again takes up the run that its
    job began. Raises InputError where another process holds the folder, where a new run finds files in it, and where
    there is nothing to resume. Of a run that ends by an error before it has begun, nothing is left.
    """
    if num_restarts():
        wait_until_free(out)
    if resume and not out.is_dir():
        raise InputError(f"no run at {out} to resume; give the folder that an earlier run was told as --out")
    new_folders = [folder for folder in (out, *out.parents) if not folder.exists()]
    before = set() if new_folders else names_in(out)
    handle = None
    try:
        handle = lock(out)
        held.add(handle)
        if not (resume or is_same_job(owner(handle))):
            check_not_begun(out)
        sweep(out)
        sweep(out / "states")
        os.ftruncate(handle, 0)
        os.pwrite(handle, job_id().encode(), 0)
        yield out
    except BaseException:
        if handle is not None:
            remove_traces(out, before)
        for folder in new_folders:
            with suppress(OSError):  # it holds something
                folder.rmdir()
        raise
    finally:
        if handle is not None:
            held.discard(handle)
            os.close(handle)


def names_in(out: Path) -> set[str]:
    """List a folder; InputError where it is none, or may not be read."""
    try:
        return {entry.name for entry in out.iterdir()}
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error


def check_not_begun(out: Path) -> None:
    """Refuse a folder that holds more than what is left of a run that has not begun."""
    if not all(is_left_over(name) for name in names_in(out)):
        raise InputError(f"{out} is not empty; resume with --resume {out}, or choose a new folder with --out")


def is_left_over(name: str) -> bool:
    """Whether a run may have left an entry of this name before it had begun."""
    return name in NOT_BEGUN or (name.startswith(".") and name.endswith(f".{ASIDE}"))


def lock(out: Path) -> int:
    """Make the folder and lock it; return the handle that holds the lock. InputError where that cannot be done."""
    while True:
        try:
            out.mkdir(parents=True, exist_ok=True)
            handle = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise InputError(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise InputError(f"{out} is in use by another process; wait for it or choose another --out") from None
        with suppress(OSError):  # who held it before may have removed the file, and with it what its lock is good for
            if os.path.samestat(os.fstat(handle), (out / LOCK).stat()):
                return handle
        os.close(handle)


def remove_traces(out: Path, before: set[str]) -> None:
    """Remove the lock and the logs that were not there `before`, unless a run has left more than them."""
    with suppress(OSError, InputError):
        new = names_in(out) - before
        if new <= NOT_BEGUN:
            for name in new:
                for path in (out / name).glob("*.log"):
                    path.unlink()
                (out / name).unlink() if name == LOCK else (out / name).rmdir()


def owner(handle: int) -> str:
    """The job that claimed the folder before."""
    return os.pread(handle, 1000, 0).decode(errors="replace")


def let_go() -> None:
    """In a loader's new worker: it outlives a killed run by seconds, and must not hold the run's folder so long."""
    while held:
        os.close(held.pop())


def wait_until_free(out: Path, seconds: float = SECONDS_TO_SAVE) -> None:
    """Give a process that holds `out` some time to save and end; `claim` says what there is to say if it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with (out / LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.2)
        except OSError:  # there is no such folder, or no run has locked it
            return
        else:
            return
