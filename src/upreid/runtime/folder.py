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
from contextlib import contextmanager
from pathlib import Path

from upreid.errors import InputError
from upreid.runtime.files import sweep
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
    there is nothing to resume.
    """
    if num_restarts():
        wait_until_free(out)
    if resume and not out.is_dir():
        raise InputError(f"no run at {out} to resume; give the folder that an earlier run was told as --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{out} is in use by another process; wait for it or choose another --out") from None
        held.add(handle)
        sweep(out)
        sweep(out / "states")
        if not (resume or is_same_job(owner(handle))) and any(entry.name not in NOT_BEGUN for entry in out.iterdir()):
            raise InputError(f"{out} is not empty; resume with --resume {out}, or choose a new folder with --out")
        os.ftruncate(handle, 0)
        os.pwrite(handle, job_id().encode(), 0)
        yield out
    finally:
        held.discard(handle)
        os.close(handle)


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
    while (out / LOCK).exists() and time.monotonic() < end:
        with (out / LOCK).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(0.2)
            else:
                return
