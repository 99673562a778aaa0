"""The one place where data loaders are made: batches of a dataset, prepared in processes beside the step.

What can be known is checked when a loader is made; whatever else keeps a batch away is raised where the batch is asked for,
at the latest after a time-out, and a request to stop is heard meanwhile.
"""

import faulthandler
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler

from upreid.data.parcels import (
    SHARED_MEMORY,
    Batches,
    HandOverError,
    Parcel,
    check_locks,
    check_open_files,
    check_sockets,
    free_shared_memory,
    most_open_files,
)
from upreid.errors import RunError, Stopped, first_line
from upreid.runtime.folder import let_go
from upreid.runtime.launcher import num_ranks

PREFETCH = 2
"""Batches that each worker has ready, where the caller does not say."""
PATIENCE = 600.0
"""Seconds for which a dataset may wait for storage, where the caller does not say."""
SECONDS_OF_WORK = 300.0
"""Time that a batch may take on top of that; large ones take some seconds."""
SECONDS_BETWEEN_LOOKS = 1.0
"""How often a loader that waits looks for dead workers and for requests to stop."""
TELL = signal.SIGUSR1
"""Makes a worker print on standard error where in the program it is."""
STANDARD_ERROR = 2


def make_loader(
    dataset: Dataset[Any],
    *,
    workers: int,
    batch_size: int | None = None,
    batch_sampler: Iterable[Any] | None = None,
    collate: Callable[[list[Any]], Any] = torch.stack,
    pin: bool = False,
    prefetch: int = PREFETCH,
    patience: float = PATIENCE,
    flag: str = "--train.workers",
) -> "Loader":
    """Return the batches of `dataset`: of `batch_size` items in order, or of the items that `batch_sampler` lists.

    `workers` processes make them, each up to `prefetch` batches ahead; with 0 workers this process does. `collate` turns a
    list of items into a batch, and `pin` copies batches into memory that a GPU reads while it computes. `patience` is how long
    the dataset itself waits for storage, and `flag` the command's word for `workers`.

    Raises RunError where batches could not travel between processes.
    """
    if workers:
        check_locks(workers, flag)
        check_sockets(flag)
        check_open_files(workers, prefetch, flag)
    if batch_sampler is None:
        batch_sampler = BatchSampler(SequentialSampler(dataset), batch_size or 1, drop_last=False)  # pyright: ignore
    with torch_kept_quiet():
        batches = DataLoader(
            Batches(dataset, collate),
            batch_size=None,  # an item is a batch already
            sampler=batch_sampler,
            collate_fn=unchanged,
            num_workers=workers,
            pin_memory=pin,
            prefetch_factor=prefetch if workers else None,
            worker_init_fn=begin_worker,
        )
    return Loader(batches, seconds=patience + SECONDS_OF_WORK, flag=flag)


@dataclass(frozen=True)
class Loader:
    """Batches, every time anew.

    What a dataset raises in a worker is raised here as it is. Raises RunError where a worker is killed, where memory cannot be
    shared, and where no batch has come for `seconds`; Stopped where somebody asks to stop while a batch is waited for.
    """

    batches: DataLoader[Any]
    seconds: float
    flag: str

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        if self.batches.num_workers == 0:
            yield from self.batches
            return
        free = free_shared_memory()
        iterator, workers = self.start()
        try:
            while (parcel := self.receive(iterator, workers)) is not None:
                if free is not None:
                    self.check_shared_memory(parcel.size, free)
                    free = None
                yield parcel.take()  # held by nobody here while the next is waited for
        except (Exception, KeyboardInterrupt):
            end(workers)
            raise

    def start(self) -> tuple[Iterator[Parcel], list[BaseProcess]]:
        """Start the workers."""
        others = multiprocessing.active_children()
        try:
            with torch_kept_quiet():
                iterator = iter(self.batches)
        except OSError as error:
            number, why = self.batches.num_workers, first_line(error)
            raise RunError(
                f"{number} processes that read images cannot be started ({why}); lower {self.flag}"
            ) from error
        return iterator, [process for process in multiprocessing.active_children() if process not in others]

    def receive(self, iterator: Iterator[Parcel], workers: list[BaseProcess]) -> Parcel | None:
        """Wait for the next batch; None after the last."""
        with requests_to_stop() as requests:
            try:
                return self.awaited(iterator, workers, requests)
            except HandOverError as error:  # a worker may die only now
                raise self.explained(error, workers) from error

    def awaited(self, iterator: Iterator[Parcel], workers: list[BaseProcess], requests: list[int]) -> Parcel | None:
        """Wait for the next batch in a thread, because it may never come, and look for deaths and requests to stop meanwhile."""
        outcome: list[Parcel | Exception | None] = []
        thread = threading.Thread(target=take_next, args=(iterator, workers, outcome), daemon=True)
        thread.start()
        began = time.monotonic()
        while not outcome:
            thread.join(SECONDS_BETWEEN_LOOKS)
            if outcome:
                break
            if any(worker.exitcode for worker in workers):
                raise HandOverError("a process that reads images is dead")
            if requests:
                raise Stopped("asked to stop while no batch of images came", requests[0])
            if time.monotonic() - began > self.seconds:
                for worker in workers:
                    os.kill(worker.pid or 0, TELL)
                thread.join(SECONDS_BETWEEN_LOOKS)
                raise RunError(
                    f"the processes that read images have made no batch for {self.seconds:.0f} s (what they are at stands "
                    f"above); look whether the storage answers, or use {self.flag} 0"
                )
        thread.join()
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def explained(self, error: HandOverError, workers: list[BaseProcess]) -> RunError:
        """Say why a batch did not arrive: its worker is dead, or something that processes share has run out."""
        ended = wait([worker.sentinel for worker in workers], SECONDS_BETWEEN_LOOKS)  # connections end before a process
        for worker in workers:
            worker.join(SECONDS_BETWEEN_LOOKS if worker.sentinel in ended else 0.0)
        codes = {worker.exitcode or 0 for worker in died(workers)}
        end(workers)
        if killed := ", ".join(signal.Signals(-code).name for code in codes if code < 0):
            return RunError(
                f"a process that reads images was killed ({killed}), perhaps because memory ran out: lower {self.flag}"
            )
        if codes:
            return RunError("a process that reads images came to its end; what it said stands above")
        free = free_shared_memory()
        memory = "" if free is None else f"{SHARED_MEMORY} has {free / 1e6:.1f} MB free, and "
        return RunError(
            f"{error}; {memory}{most_open_files()} files may be open at once: make room, lower the batch, or use "
            f"{self.flag} 0, which shares nothing"
        )

    def check_shared_memory(self, size: int, free: int) -> None:
        """Refuse to go on where the batches that are ready at one time, each of `size` bytes, exceed what was `free`."""
        loader = self.batches
        at_once = min(loader.num_workers * (loader.prefetch_factor or PREFETCH) + 1, len(loader))
        if size * at_once > free:
            raise RunError(
                f"{at_once} batches of {size / 1e6:.1f} MB are ready at one time, and {SHARED_MEMORY} had {free / 1e6:.1f} MB "
                f"free; lower {self.flag} (0 shares nothing) or the batch, or enlarge it (docker run --shm-size=8g)"
            )


def take_next(iterator: Iterator[Parcel], workers: list[BaseProcess], outcome: list[Parcel | Exception | None]) -> None:
    """Put into `outcome` the next batch, opened, or None after the last, or what was raised in its place."""
    try:
        try:
            parcel = next(iterator, None)
        except RuntimeError as error:
            if died(workers):
                raise HandOverError(first_line(error)) from error
            raise
        if parcel is not None:
            parcel.open()
        outcome.append(parcel)
    except Exception as error:
        outcome.append(error)


def begin_worker(number: int) -> None:
    """In a new worker: let go of the run's folder, and leave it to the main process to stop."""
    del number
    let_go()
    faulthandler.register(TELL, file=STANDARD_ERROR, all_threads=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def unchanged(batch: Any) -> Any:
    """Return a batch as it is."""
    return batch


def died(workers: list[BaseProcess]) -> list[BaseProcess]:
    """List the workers that are no more."""
    return [worker for worker in workers if worker.exitcode is not None]


def end(workers: list[BaseProcess]) -> None:
    """End workers at once: one that hangs would hold up the end of this process for ever."""
    with handlers({signal.SIGCHLD: signal.SIG_DFL}):
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join(SECONDS_BETWEEN_LOOKS)


@contextmanager
def handlers(new: Mapping[signal.Signals, Callable[[int, FrameType | None], Any] | signal.Handlers]) -> Iterator[None]:
    """Handle signals in another way for a while; only the main thread can."""
    before = {}
    try:
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, handler) for number, handler in new.items()}
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def torch_kept_quiet() -> Iterator[None]:
    """Leave out what torch does beside making a loader.

    It warns of more workers than cores, which `Compute.announce` has said, and installs a handler that raises wherever this
    process is when a worker dies, be it in the middle of a save.
    """
    with warnings.catch_warnings(), handlers({signal.SIGCHLD: signal.SIG_DFL}):
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        yield


@contextmanager
def requests_to_stop() -> Iterator[list[int]]:
    """Collect the signals that ask a run to stop, and pass them on to the run's own handlers.

    Several ranks have to agree on a step before they stop, so there is nothing to collect; nor where a signal ends the process.
    Deaths of workers raise nothing meanwhile, whoever has told torch to: they are looked for.
    """
    requests: list[int] = []
    own: dict[int, Callable[[int, FrameType | None], Any]] = {}
    for number in (signal.SIGTERM, signal.SIGINT) if num_ranks() == 1 else ():
        handler = signal.getsignal(number)
        if callable(handler) and handler is not signal.default_int_handler:
            own[number] = handler

    def note(number: int, frame: FrameType | None) -> None:
        requests.append(number)
        own[number](number, frame)

    with handlers({signal.SIGCHLD: signal.SIG_DFL} | dict.fromkeys(map(signal.Signals, own), note)):
        yield requests
