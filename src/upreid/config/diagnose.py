"""The knobs of `upreid diagnose`."""

from dataclasses import dataclass
from pathlib import Path

from upreid.config.training import ComputeConfig
from upreid.data.settings import LabelledSet


@dataclass(frozen=True, kw_only=True)
class DiagnoseConfig(ComputeConfig):
    """Look into a pre-training run: what its terms do to the embeddings, and whether they are solved by a shortcut."""

    run: Path
    """Folder of a pre-training run."""
    data: LabelledSet
    out: Path | None = None
    """JSON file for the numbers."""
    unlabelled: Path | None = None
    """Folder of unlabelled images; that of the run where not given."""
    images: int = 1024
    """Unlabelled images to look at; all where there are fewer."""
    seed: int = 1
    """Of the choice of images and their views."""
