"""One picture of a corpus as numbers: whatever is drawn for it depends on them alone."""

import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.random import Generator

CAMERAS = 6
"""Number of cameras of a benchmark."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture to take."""

    path: PurePosixPath
    person: int
    """Number of the person; in version 2's wild, among those of the video."""
    camera: int | None
    """Number of the camera; None in the wild of version 1, where each picture has its own."""
    image: int
    """Number of the picture among those of this person and camera."""
    is_wild: bool = False
    """Whether the picture is a crop of one of version 2's videos; its camera is the number of the video."""
    tracklet: str = ""
    """Tracklet that the tracker put such a crop into; empty for a single one."""
    slipped: bool = False
    """Whether the tracker's box slipped off the person."""

    @property
    def who(self) -> tuple[int, ...]:
        """Numbers that the person is drawn from."""
        return (self.camera or 0, self.person) if self.is_wild else (self.person,)


def generator(seed: int, role: str, *numbers: int) -> Generator:
    """Return the generator of one person, camera or image.

    The stream depends on (seed, role, numbers) alone, so any worker may draw it, at any time.
    """
    return np.random.default_rng([seed, zlib.crc32(role.encode()), *numbers])
