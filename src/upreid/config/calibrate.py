"""The knobs of `upreid calibrate`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from upreid.config.commands import OptionalSet
from upreid.config.training import ComputeConfig
from upreid.ranges import Count, Range, Seed


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(ComputeConfig):
    """Calibrate an encoder: find the distance up to which two features are taken for one person, and test it on other people."""

    encoder: Path
    """Encoder file that pretrain or finetune wrote, or the folder of a run or of a model; the thresholds are written into it."""
    data: OptionalSet = field(default_factory=OptionalSet)
    source: Path | None = None
    """Folder of images, or another source of them, that --pairs or --tracklets speaks of."""
    pairs: Path | None = None
    """CSV file with the columns first, second, same: pairs of images of the source that show one person (1) or two (0)."""
    tracklets: Path | None = None
    """List of tracklets with frames, as for --data.tracklets of pretrain: calibration without labels."""
    false_accept: Annotated[float, Range(above=0, most=0.5)] = 0.01
    """False-accept rate: share of the pairs of two people that may be taken for one."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """Distance between features: cosine or Euclidean."""
    neck: Literal["after", "before"] | None = None
    """Side of the BNNeck from which features are taken, where the encoder has one; by default the side that its recipe tests."""
    flip: bool = False
    """Features as the mean over an image and its mirror image."""
    same_camera: Literal["drop", "keep"] = "drop"
    """Pairs of one person and one camera: left out, as in the evaluation, or counted."""
    test_share: Annotated[float, Range(least=0.1, most=0.9)] = 0.5
    """Share of the people that are kept apart, on whom the threshold is tested."""
    seed: Seed = 1
    """Seed of the choice of these people, and of the intervals."""
    out: Path | None = None
    """JSON file for the numbers, the curves and the histograms."""
    page: Path | None = None
    """HTML page with the distances of both kinds of pairs, the threshold and the error rates."""
    batch: Count = 128
    """Number of images in a forward pass."""
