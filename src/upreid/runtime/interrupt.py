"""SIGTERM and Ctrl-C ask a run to save and stop; a second Ctrl-C stops it at once."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from upreid.runtime.distributed import World, agree

STEPS_BETWEEN_VOTES = 10
"""Several ranks agree this often on whether to stop: a vote makes the GPU wait."""


SECONDS_OF_ONE_REQUEST = 1.0
"""A terminal and torchrun, or SLURM and torchrun, each pass on one and the same request."""


class Stop:
    """Whether somebody asked."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.asked = 0.0

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; leave at once on a later Ctrl-C. Who wants more than SIGTERM sends SIGKILL."""
        del frame
        if self.signal is None:
            self.signal, self.asked = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self.asked > SECONDS_OF_ONE_REQUEST:
            raise KeyboardInterrupt

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def listen(stop: Stop | None = None) -> Iterator[Stop]:
    """Turn SIGTERM and SIGINT into a flag that the loop looks at between steps, and a feed while it makes them."""
    stop = Stop() if stop is None else stop
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_time_to_stop(stop: Stop, steps_done: int, device: torch.device, world: World) -> bool:
    """Whether anybody was asked to stop, and this is a step at which all ranks look."""
    votes = world.size == 1 or steps_done % STEPS_BETWEEN_VOTES == 0
    return votes and agree(bool(stop), device, world)
