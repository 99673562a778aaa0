"""The knobs of `upreid table`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """Print results side by side; runs that differ in their seed only become mean and standard deviation."""

    runs: tuple[Path, ...]
    """Folders of fine-tuning runs, or JSON files that evaluate wrote."""
    format: Literal["markdown", "latex"] = "markdown"
    """What to print."""
    metrics: tuple[Literal["mAP", "mAP_trapezoid", "rank1", "rank5", "rank10", "mINP"], ...] = ("mAP", "rank1")
    """Numbers of a cell, in this order."""
