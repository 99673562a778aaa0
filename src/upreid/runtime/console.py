"""What a run says while it works: lines on standard error, and progress with rate and time left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0
Watch = Callable[[str, int, int], None]
"""Is told what is going on, how much of it is done and how much there is; what it raises ends the work."""

console = Console(stderr=True, highlight=False, soft_wrap=True)

log_files: ContextVar[tuple[TextIO, ...]] = ContextVar("log_files", default=())
"""What is said goes here as well, for as long as `logging_to` lasts."""


def say(line: str) -> None:
    """Print one line, and keep it in the run's log; square brackets in file names are text, not markup."""
    console.print(line, markup=False)
    for file in log_files.get():
        file.write(f"{datetime.now().isoformat(timespec='seconds')} {line}\n")
        file.flush()


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append what is said to a file as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        before = log_files.set((*log_files.get(), file))
        try:
            yield
        finally:
            log_files.reset(before)


class Meter:
    """Counts work done; `advance` is cheap enough to call once per step."""

    watch: Callable[[int, int], None] | None = None
    """Is told the work done and the whole work at every advance."""

    def __init__(self, total: int, unit: str, done: int = 0) -> None:
        self.total, self.unit = total, unit
        self.done = self.done_at_start = done
        self.started = time.monotonic()
        self.note = ""

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count `amount` more; `note` (such as a loss) replaces the last one."""
        self.done += amount
        if note is not None:
            self.note = note
        if self.watch is not None:
            self.watch(self.done, self.total)

    def rate(self) -> float:
        """Units per second since the start."""
        return (self.done - self.done_at_start) / max(time.monotonic() - self.started, 1e-9)

    def seconds_left(self) -> float:
        """Estimate the time left, at the rate so far."""
        return (self.total - self.done) / max(self.rate(), 1e-9)


class LineMeter(Meter):
    """A meter for logs and pipes: a line every ten seconds and one at the end."""

    def __init__(self, what: str, total: int, unit: str, done: int) -> None:
        super().__init__(total, unit, done)
        self.what, self.last = what, self.started

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count, and show it."""
        super().advance(amount, note)
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN_LINES:
            self.last = now
            say(f"{self.what}: {self.done}/{self.total} {self.unit}, {self.pace()}")

    def pace(self) -> str:
        """Rate, time left and note, in words."""
        minutes, seconds = divmod(round(self.seconds_left()), 60)
        return f"{self.rate():.1f}/s, {minutes}:{seconds:02d} left {self.note}".rstrip()


class BarMeter(Meter):
    """A meter for terminals: a bar."""

    def __init__(self, what: str, total: int, unit: str, done: int, bar: Progress) -> None:
        super().__init__(total, unit, done)
        self.bar = bar
        self.task = bar.add_task(what, total=total, completed=done, rate="", note="")

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count, and show it."""
        super().advance(amount, note)
        rate = f"{self.rate():.1f} {self.unit}/s"
        self.bar.update(self.task, completed=self.done, rate=rate, note=self.note)


@contextmanager
def progress(
    what: str, total: int, unit: str, *, done: int = 0, quiet: bool = False, watch: Watch | None = None
) -> Iterator[Meter]:
    """Show how far `what` has come: a bar on a terminal, lines elsewhere, nothing where `quiet`; `watch` is told as well."""
    with shown(what, total, unit, done, quiet=quiet) as meter:
        meter.watch = None if watch is None else partial(watch, what)
        yield meter


@contextmanager
def shown(what: str, total: int, unit: str, done: int, *, quiet: bool) -> Iterator[Meter]:
    """Make the meter of `progress`."""
    if quiet:
        yield Meter(total, unit, done)
    elif console.is_terminal and sys.stderr.isatty():
        text = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        rest = TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[note]}")
        with Progress(*text, *rest, console=console) as bar:
            yield BarMeter(what, total, unit, done, bar)
    else:
        meter = LineMeter(what, total, unit, done)
        yield meter
        say(f"{what}: {meter.done}/{total} {unit}, {meter.rate():.1f}/s")
