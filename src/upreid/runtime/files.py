"""Files that are whole or not there: written aside, flushed to the disk, renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes its place at the end, or goes away on an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def flushed(file: BinaryIO) -> None:
    """See to it that what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a small file whole."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
