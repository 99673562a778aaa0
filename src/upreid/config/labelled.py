"""The knobs of labelled sets and of retrieval on them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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
class Ranking:
    """How features are made and compared."""

    neck: Literal["after", "before"] = "after"
    """Features after or before the BNNeck, where the encoder has one."""
    flip: bool = False
    """Average the features of an image and its mirror image."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """Distance between features."""
    rerank: bool = False
    """Re-rank with k-reciprocal neighbours."""
    k1: int = 20
    """Re-ranking: neighbours that must be mutual."""
    k2: int = 6
    """Re-ranking: neighbours that an encoding is averaged over."""
    lambda_value: float = 0.3
    """Re-ranking: weight of the original distance."""
