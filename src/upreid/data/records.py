"""One labelled image, and how it is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from upreid.data.decode import UnreadableImage
from upreid.data.sources.folder import read_file
from upreid.data.sources.source import Source

UNKNOWN_CAMERA = -1
"""Stands for a camera that is not known where cameras are numbers in an array."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One image and what is known about it; `None` means unlabelled."""

    path: Path
    """What the image is called: the file's path, or its name below the set that it was packed into."""
    person: int | None = None
    camera: int | None = None
    source: Source | None = field(default=None, compare=False, repr=False)
    """Where the image is read from; without a source it is the file at `path`."""
    index: int = field(default=0, compare=False, repr=False)
    """Place of the image in `source`."""

    def read(self) -> bytes:
        """Return the bytes of the image's file; `UnreadableImage` where they cannot be had."""
        if self.source is not None:
            return self.source.read(self.index)
        try:
            return read_file(self.path)
        except OSError as error:
            raise UnreadableImage(self.path, error.strerror or type(error).__name__) from error


def records_of(source: Source, places: Sequence[int] | None = None) -> list[Record]:
    """Return the images of a source as records without labels: all of them, or those at some places."""
    chosen = range(len(source)) if places is None else places
    return [Record(path=Path(source.name(place)), source=source, index=place) for place in chosen]


def people(records: Sequence[Record]) -> list[int]:
    """Return the person of each labelled record."""
    return [record.person for record in records if record.person is not None]


def numbered_people(records: Sequence[Record]) -> list[int]:
    """Return the person of each labelled record, numbered from 0 in the order of the labels."""
    labels = people(records)
    number = {person: place for place, person in enumerate(sorted(set(labels)))}
    return [number[person] for person in labels]


def cameras(records: Sequence[Record]) -> list[int]:
    """Return the camera of each record, `UNKNOWN_CAMERA` where it is not known."""
    return [UNKNOWN_CAMERA if record.camera is None else record.camera for record in records]
