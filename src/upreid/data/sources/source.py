"""What every source of images can do (count, name, read, say whether it is still the same), and what a form of sources knows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from upreid.data.sources.index_file import Arrays, Index

LIMIT_BYTES = 256 * 2**20
"""Larger files are refused before they are read: no person crop has so many bytes."""
SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff"})
HIDDEN = "hidden"
NAMED_KINDS = 6
"""Number of kinds of files left out that are named one by one."""


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
    """Text that changes when names or their order do, and for packed sets when the bytes do; a resumed run asks for the same."""
    patience: float
    """Number of seconds to wait for storage that does not answer."""

    def __len__(self) -> int:
        """Count the images."""
        ...

    def name(self, index: int) -> str:
        """Return the image's name, relative to `root`."""
        ...

    def read(self, index: int) -> bytes:
        """Return the file's bytes.

        Raises `UnreadableImage` for a fault of this image, `RunError` where the source as a whole does not answer after
        patience, and `DataError` where it is not what it was when it was opened.
        """
        ...


class SourcePart:
    """Consecutive images of a source, which are a source themselves."""

    def __init__(self, whole: Source, span: range) -> None:
        self.whole, self.span = whole, span
        part = f"images {span.start} to {span.stop - 1}"
        self.root, self.patience = whole.root, whole.patience
        self.description, self.fingerprint = f"{whole.description}, {part}", f"{whole.fingerprint}, {part}"

    def __len__(self) -> int:
        """Count the images."""
        return len(self.span)

    def name(self, index: int) -> str:
        """Return the image's name, relative to `root`."""
        return self.whole.name(self.span[index])

    def read(self, index: int) -> bytes:
        """Return the file's bytes, or raise what the whole raises."""
        return self.whole.read(self.span[index])


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A list of images as a form makes it: the arrays of an index, and facts about them that JSON can hold."""

    arrays: Arrays
    facts: dict[str, Any]
    is_settled: bool = True
    """Whether the list will hold until the next change that can be seen; else it is not kept."""


@runtime_checkable
class Form(Protocol):
    """One of the forms in which images lie at a path: it lists them, and opens them by that list."""

    @property
    def kind(self) -> str:
        """Name of the form, for the file that keeps its list."""
        ...

    @property
    def root(self) -> Path:
        """What was recognised."""
        ...

    def list_images(self) -> Listing:
        """List the images, which may take long; `DataError` or `InputError` where that is impossible."""
        ...

    def is_current(self, kept: Index) -> bool:
        """Return whether a list that was kept still holds."""
        ...

    def open(self, listed: Index, *, patience: float) -> Source:
        """Open the images of a list; `patience`: seconds to wait for storage that does not answer."""
        ...


def place(source: Source, index: int) -> str:
    """Return where an image is, fit to be printed."""
    return printable(f"{source.root}/{source.name(index)}")


def printable(name: str) -> str:
    """Replace control characters and broken text, whatever an archive calls its members."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


def is_image_name(name: str) -> bool:
    """Return whether the suffix, in any case, is that of an image; `.jpg` alone is a hidden file."""
    stem, dot, suffix = name.rpartition(".")
    return bool(stem and dot) and f".{suffix.lower()}" in SUFFIXES


def kind_of(name: str) -> str:
    """Name the kind of a file that is no image: its suffix, both of them where it is a compressed archive."""
    if name.startswith("."):
        return HIDDEN
    stem, dot, suffix = name.lower().rpartition(".")
    if not (stem and dot) or len(suffix) > 8:
        return "without a suffix"
    return printable(f".tar.{suffix}" if stem.endswith(".tar") else f".{suffix}")


def left_out(kinds: dict[str, int]) -> str:
    """Say what was not taken, by kind and count, as the end of a sentence; nothing where nothing was left out."""
    if not kinds:
        return ""
    most = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    named = [f"{count} {kind}" for kind, count in most[:NAMED_KINDS]]
    others = sum(count for _, count in most[NAMED_KINDS:])
    return f"; left out: {', '.join([*named, *([f'{others} of other kinds'] if others else [])])}"
