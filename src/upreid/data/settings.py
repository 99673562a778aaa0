"""Which images are read, and how unreadable ones are met: torch-free, so that the command line is built from it."""

from dataclasses import dataclass
from pathlib import Path

from upreid.ranges import Seconds, Seed, Share, ShareOrZero

UNLABELLED = "unlabelled"
"""Name of any set without labels."""
TRACKLET_WORDS = ("own", "folders", "names")
"""What `--data.tracklets` takes beside the path of a list (data/tracklets.py)."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Limits for unreadable images and for waiting."""

    unreadable_share: ShareOrZero = 0.01
    """Share of images that may be unreadable; above it the program stops, below it they are left out and named."""
    patience: Seconds = 600.0
    """Number of seconds to wait for storage that does not answer, before the program stops."""


@dataclass(frozen=True, kw_only=True)
class UnlabelledSet(Tolerance):
    """Share of a set of unlabelled images that is used."""

    cfs_share: Share = 1.0
    """Share of images to take from the top of a ranked CFS_list.pkl, for folders that hold one."""


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Labelled benchmark on disk."""

    name: str
    """Layout and variant of the labelled set, such as market1501 or msmt17-v2."""
    root: Path
    """Folder of the labelled set, or the one above it."""


@dataclass(frozen=True, kw_only=True)
class TrainingPart(LabelledSet):
    """Labelled benchmark, and how much of its training part is used."""

    identity_share: Share = 1.0
    """Small-scale setting: share of the identities to train on, with all their images."""
    image_share: Share = 1.0
    """Few-shot setting: share of every identity's images to train on, one image at least."""
    split_seed: Seed = 1
    """Seed of the draw: which identities or images the shares keep."""
    split: Path | None = None
    """Split file (of `upreid split`, or a list of LUPerson's) that says which images to train on."""


@dataclass(frozen=True, kw_only=True)
class TrainingData(TrainingPart, Tolerance):
    """Labelled benchmark to train on, and how its unreadable images are met."""
