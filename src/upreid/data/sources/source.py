"""What every source of unlabelled images can do: count, name, read; and say whether it is still the same."""

from pathlib import Path
from typing import Protocol, runtime_checkable

LIMIT_BYTES = 256 * 2**20
"""Larger files are refused before they are read: no person crop has so many bytes."""


@runtime_checkable  # by the type checks of the tests
class Source(Protocol):
    """Images by index, in an order that never changes while the source does not.

    A source is cheap to pickle and opens files lazily, so that every loader's worker has its own handles and none has a
    copy of the list of names.
    """

    root: Path
    """What was opened."""
    description: str
    """What it was recognised as, in one sentence for the log."""
    fingerprint: str
    """Changes when names or their order do, and for packed sets when the bytes do; a resumed run asks for the same."""

    def __len__(self) -> int:
        """Count the images."""
        ...

    def name(self, index: int) -> str:
        """Return the image's name, relative to `root`."""
        ...

    def read(self, index: int) -> bytes:
        """Return the file's bytes.

        Raises `UnreadableImage` for a fault of this image, and `InputError` where the source as a whole does not answer,
        after patience, or is not what it was when it was opened.
        """
        ...


def place(source: Source, index: int) -> str:
    """Return where an image is, fit to be printed."""
    return printable(f"{source.root}/{source.name(index)}")


def printable(name: str) -> str:
    """Replace control characters and broken text, whatever an archive calls its members."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
