"""What the machine does to a run, in one line: memory that ran out, and processes of the group that are gone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.distributed import DistError

from upreid.errors import RunError, Stopped, UpreidError, first_line

NO_MEMORY = ("not enough memory", "can't allocate memory")
"""How torch's allocator on the CPU begins to say it."""
GROUP_GONE = "another process of the group is gone: torchrun names the first that failed"


def fault_of_the_machine(error: Exception) -> str | None:
    """Say in one line what happened; None for everything else, which is a defect of ours.

    torch has classes for what happens on GPUs and in NCCL, and a plain RuntimeError for the rest.
    """
    first = first_line(error, 160)
    if isinstance(error, torch.OutOfMemoryError):
        what = "the GPU's memory does not hold this batch: make it smaller, as with a lower --train.batch"
    elif isinstance(error, MemoryError) or any(words in first for words in NO_MEMORY):
        what = "this machine's memory does not hold this: use a smaller batch, or fewer workers"
    elif isinstance(error, DistError) or "gloo/transport" in first:
        what = GROUP_GONE
    else:
        return None
    return f"{what} ({first})"


@contextmanager
def machine_faults() -> Iterator[None]:
    """Turn faults of the machine into RunErrors; this process alone knows of them."""
    try:
        yield
    except UpreidError:
        raise
    except (RuntimeError, MemoryError) as error:
        if (sentence := fault_of_the_machine(error)) is None:
            raise
        fault = RunError(sentence)
        fault.is_of_one_rank = True
        raise fault from error


@contextmanager
def errors_of_one_rank(go_on: str = "") -> Iterator[None]:
    """Let this rank speak of its own errors, because they may happen on one alone: an image that cannot be read.

    Faults of the machine become RunErrors; `go_on` says how a run that one has stopped goes on.
    """
    try:
        with machine_faults():
            yield
    except Stopped:
        raise
    except UpreidError as error:
        if go_on and isinstance(error, RunError):
            error.args = (f"{error}; {go_on}",)
        error.is_of_one_rank = True
        raise
