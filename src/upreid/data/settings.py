"""Which images are read, and how unreadable ones are met: torch-free, so that the command line is built from it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How many unreadable images and how much waiting a program accepts."""

    unreadable_share: float = 0.01
    """Share of images that may be unreadable; above it the program stops, below it they are left out and named."""
    patience: float = 600.0
    """Number of seconds to wait for storage that does not answer, before the program stops."""


@dataclass(frozen=True, kw_only=True)
class UnlabelledSet(Tolerance):
    """How much of a set of unlabelled images is used."""

    cfs_share: float = 1.0
    """Share of images to take from the top of a ranked CFS_list.pkl, for folders that hold one."""


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """A labelled benchmark on disk."""

    name: str
    """Its layout and variant, such as market1501 or msmt17-v2."""
    root: Path
    """Its folder, or the one above."""


@dataclass(frozen=True, kw_only=True)
class TrainingPart(LabelledSet):
    """A labelled benchmark, and how much of its training part is used."""

    identity_share: float = 1.0
    """Small-scale setting: train on so large a share of the identities, with all their images."""
    image_share: float = 1.0
    """Few-shot setting: train on so large a share of every identity's images, one at least."""
    split_seed: int = 1
    """Which identities or images those are."""
    split: Path | None = None
    """A split file (`upreid split`, or a list of LUPerson's) that says which images to train on."""


@dataclass(frozen=True, kw_only=True)
class TrainingImages(TrainingPart, Tolerance):
    """A labelled benchmark to train on, and how its unreadable images are met."""
