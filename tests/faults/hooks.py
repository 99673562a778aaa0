"""Faults that no signal from outside hits exactly: put into a run before it begins."""

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch

from upreid.data import dataset, loading
from upreid.data.decode import decode_bytes
from upreid.errors import DataError
from upreid.losses.contrast import info_nce
from upreid.methods import moco_v2
from upreid.models import encoder


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_within_a_write(when: tuple[int, float]) -> None:
    """SIGKILL when so large a share of the so-manyth state is written."""
    number, share = when
    whole, writes = Path.write_bytes, count(1)

    def write_bytes(path: Path, content: Any) -> int:
        if path.name.startswith(".state.pt") and next(writes) == number:
            whole(path, content[: int(len(content) * share)])
            die()
        return whole(path, content)

    Path.write_bytes = write_bytes  # type: ignore[method-assign]


def killed_between_renames(when: tuple[int, int]) -> None:
    """SIGKILL at the so-manyth rename of a state: before it where the second number is 0, after it where it is 1."""
    number, after = when
    whole, renames = Path.replace, count(1)

    def replace(path: Path, target: Path) -> Path:
        hit = "state.pt" in path.name and next(renames) == number
        if hit and not after:
            die()
        result = whole(path, target)
        if hit:
            die()
        return result

    Path.replace = replace  # type: ignore[method-assign]


def workers_killed_within_a_save(number: int) -> None:
    """SIGKILL to the loader's workers when the so-manyth encoder is written: their deaths are known before it is."""
    whole, saves = encoder.save, count(1)

    def save(*tensors: Any, **settings: Any) -> bytes:
        if next(saves) == number:
            for worker in multiprocessing.active_children():
                worker.kill()
                os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
            time.sleep(0.1)
        return whole(*tensors, **settings)

    encoder.save = save  # type: ignore[assignment]


def clock_that_jumps(_: None) -> None:
    """The time of day goes back and forth by years, as after a reset clock or a bad time server."""
    real, calls = time.time, count()
    time.time = lambda: real() + (next(calls) % 7 - 3) * 1e8
    time.time_ns = lambda: int(time.time() * 1e9)


def loss_that_breaks(step: int) -> None:
    """The contrast loss is NaN at a step and, by its gradient, ever after."""
    steps = count()

    def broken(*tensors: torch.Tensor, **settings: float) -> torch.Tensor:
        return info_nce(*tensors, **settings) * (float("nan") if next(steps) >= step else 1.0)

    moco_v2.info_nce = broken


def small_files(room: int) -> None:
    """No file may grow over so many bytes: the write fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))


def step_that_hangs(step: int) -> None:
    """A step that takes for ever, as on a file system that does not answer."""
    steps = count()

    def slow(*tensors: torch.Tensor, **settings: float) -> torch.Tensor:
        while next(steps) >= step:
            time.sleep(0.05)
        return info_nce(*tensors, **settings)

    moco_v2.info_nce = slow


def defect(_: None) -> None:
    """A RuntimeError that the machine has nothing to do with."""

    def broken(*tensors: torch.Tensor, **settings: float) -> torch.Tensor:
        raise RuntimeError("a defect")

    moco_v2.info_nce = broken


def in_the_reading_of(number: int, act: Callable[[], None]) -> None:
    """Do something in the place of the so-manyth image that a process reads."""
    reads = count(1)

    def read(*given: Any, **settings: Any) -> Any:
        if next(reads) == number:
            act()
        return decode_bytes(*given, **settings)

    dataset.decode_bytes = read


def worker_that_hangs(step: int) -> None:
    """A worker does not come back from reading an image of a step, with batches of 4."""
    in_the_reading_of(4 * step + 1, lambda: time.sleep(3600))


def worker_that_hangs_and_is_not_waited_for(step: int) -> None:
    """The same, where a batch may take a second and not five minutes."""
    loading.SECONDS_OF_WORK = 1.0
    worker_that_hangs(step)


def defect_in_a_worker(_: None) -> None:
    """An error that nobody foresaw."""
    in_the_reading_of(30, lambda: raise_(ZeroDivisionError("a defect")))


def refusal_in_a_worker(_: None) -> None:
    """An error in words for the user."""
    in_the_reading_of(30, lambda: raise_(DataError("the storage is gone")))


def raise_(error: Exception) -> None:
    raise error
