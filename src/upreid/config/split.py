"""The knobs of `upreid split`."""

from dataclasses import dataclass
from pathlib import Path

from upreid.data.settings import LabelledSet


@dataclass(frozen=True, kw_only=True)
class SplitConfig(LabelledSet):
    """Write a split file: which images a small-scale or few-shot fine-tuning trains on."""

    out: Path
    """JSON file to write; not inside the data set's folder."""
    identity_share: float = 1.0
    """Small-scale setting: so large a share of the identities, with all their images."""
    image_share: float = 1.0
    """Few-shot setting: so large a share of every identity's images, one at least."""
    seed: int = 1
    """Which ones."""
