"""Which labelled set, and how much of its training part: torch-free, so that the command line is built from it."""

from dataclasses import dataclass
from pathlib import Path


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
