"""SIGTERM and Ctrl-C ask a run to save and stop; asked twice, it stops at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from upreid.runtime.distributed import World, agree

STEPS_BETWEEN_VOTES = 10
"""Several ranks agree this often on whether to stop: a vote makes the GPU wait."""


class Stop:
    """Whether somebody asked."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; leave at once on the second."""
        del frame
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def listen() -> Iterator[Stop]:
    """Turn SIGTERM and SIGINT into a flag that the loop looks at between steps."""
    stop = Stop()
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
