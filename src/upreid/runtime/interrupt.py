"""SIGTERM and Ctrl-C ask a run to save and stop; asked twice, it stops at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
