"""Batches on their way from a loader's worker to the process that trains: packed where they are made, opened where they are used.

torch's loader packs a batch in a thread behind a queue, which drops what it cannot send; then one waits for it for ever. Here
the worker packs the batch itself, so that whatever goes wrong, there or in the dataset, travels in the batch's place.
"""

import pickle
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from multiprocessing import Lock
from multiprocessing.connection import Listener
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from upreid.errors import RunError, first_line

BYTES_OF_LOCKS = 2**17
"""Taken by the locks of a worker's queues, at a page of memory each."""
SHARED_MEMORY = Path("/dev/shm")  # only Linux has it
FILES_OF_A_WORKER, FILES_OF_A_BATCH, SPARE_FILES = 4, 6, 8
"""Open files: pipes to a worker, tensors of a batch that is on its way, and what opens besides."""


class HandOverError(RunError):
    """Shared memory, or the sockets over which processes pass it on, did not take a batch."""


class Parcel:
    """A batch in shared memory, or the error that came in its place."""

    def __init__(self, content: Any) -> None:
        self.content = None
        self.size = sum(tensor.nbytes for tensor in tensors_of(content))
        try:
            self.packed = bytes(ForkingPickler.dumps(content))
        except (OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not str(error).startswith("unable to "):
                raise  # a defect, and not torch's words for shared memory that it cannot open, enlarge or map
            raise HandOverError(
                f"a batch of {self.size / 1e6:.1f} MB could not be handed over ({first_line(error)})"
            ) from error

    def open(self) -> None:
        """Map the shared memory into this process, unless that is done; raise the error that came in the place of a batch."""
        try:
            self.content = pickle.loads(self.packed) if self.content is None else self.content
        except (OSError, EOFError, RuntimeError) as error:
            raise HandOverError(
                f"a batch of {self.size / 1e6:.1f} MB could not be taken over ({first_line(error)})"
            ) from error
        if isinstance(self.content, Exception):
            raise self.content

    def take(self) -> Any:
        """Return the batch, which is open, and forget it."""
        content, self.content = self.content, None
        return content

    def pin_memory(self) -> "Parcel":
        """Copy the batch into memory that a GPU reads by itself; torch calls this, in a thread beside the step."""
        try:
            self.open()
            self.content = pinned(self.content)
        except Exception as error:
            self.content = error
        return self


class Batches(Dataset[Any]):
    """Whole batches of a dataset by lists of its keys; in a worker they are parcels."""

    def __init__(self, dataset: Dataset[Any], collate: Callable[[list[Any]], Any]) -> None:
        self.dataset, self.collate = dataset, collate

    def __getitem__(self, keys: Sequence[Any]) -> Any:
        """Make one batch."""
        if get_worker_info() is None:
            return self.collate(self.items(keys))
        try:
            return Parcel(self.collate(self.items(keys)))
        except Exception as error:
            return Parcel(sendable(error))

    def items(self, keys: Sequence[Any]) -> list[Any]:
        """Read each item once, however often its key stands in the batch: a single crop is its own mate."""
        known = {key: self.dataset[key] for key in dict.fromkeys(keys)}
        return [known[key] for key in keys]


def sendable(error: Exception) -> Exception:
    """Return `error`, or its words where it does not pickle, to be raised in another process; its traceback becomes a note."""
    note = f"In the worker that raised it:\n{traceback.format_exc()}"
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(note)
    return error


def tensors_of(batch: Any) -> list[Tensor]:
    """List the tensors of a batch: itself, or those in its mappings, sequences and dataclasses."""
    if isinstance(batch, Tensor):
        return [batch]
    parts = vars(batch) if is_dataclass(batch) else batch
    parts = list(parts.values()) if isinstance(parts, Mapping) else parts
    return [tensor for part in parts for tensor in tensors_of(part)] if isinstance(parts, list | tuple) else []


def pinned(batch: Any) -> Any:
    """Copy a batch into pinned memory, as far as mappings, tuples, tensors and methods called `pin_memory` lead to it."""
    if isinstance(batch, Mapping):
        return {name: pinned(part) for name, part in batch.items()}
    if isinstance(batch, tuple):
        return tuple(map(pinned, batch))
    return batch.pin_memory() if hasattr(batch, "pin_memory") else batch


def free_shared_memory() -> int | None:
    """Bytes that processes can still share; None where the system does not say."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None


def most_open_files() -> int:
    """Number of files that a process may open at once."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def check_locks(workers: int, flag: str) -> None:
    """Raise RunError where processes cannot even share the locks of the queues between them."""
    free, trouble = free_shared_memory(), ""
    try:
        Lock()
    except OSError as error:
        trouble = first_line(error)
    if free is not None and free < BYTES_OF_LOCKS * workers:
        trouble = f"it has {free / 1e3:.0f} kB free"
    if trouble:
        raise RunError(
            f"processes cannot share memory in {SHARED_MEMORY} ({trouble}): make room, or use {flag} 0, which shares nothing"
        )


def check_sockets(flag: str) -> None:
    """Raise RunError where processes cannot open the sockets over which they pass memory on."""
    try:
        Listener().close()
    except OSError as error:
        folder = "" if isinstance(error, FileNotFoundError) else f", {tempfile.gettempdir()}"
        raise RunError(
            f"processes cannot pass batches on ({first_line(error)}); their sockets stand in the folder for temporary "
            f"files{folder}: let TMPDIR be a short path that can be written, as in TMPDIR=/tmp, or use {flag} 0"
        ) from error


def check_open_files(workers: int, prefetch: int, flag: str) -> None:
    """Raise RunError where this process or a worker would reach the limit of open files."""
    now = sum(1 for _ in Path("/dev/fd").iterdir())
    needed = now + SPARE_FILES + FILES_OF_A_WORKER * workers + FILES_OF_A_BATCH * prefetch
    if needed > most_open_files():
        raise RunError(
            f"reading images in {workers} processes takes {needed} open files, and {most_open_files()} are allowed; raise "
            f"the limit (ulimit -n {max(needed, 1024)}), or lower {flag}"
        )
