"""How features are made and compared: torch-free, so that the command line is built from it."""

from dataclasses import dataclass
from typing import Literal


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
