"""The settings of a corpus: without numpy or torch, so that the command line is built from them."""

from dataclasses import dataclass
from typing import Annotated

from upreid.ranges import NotNegative, Range, Seed


@dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """Everything that decides the bytes of a corpus."""

    identities: Annotated[int, Range(least=4, most=9999)] = 200
    """Number of people in the labelled benchmark, half train, half test; `wild/` shows three times as many others."""
    seed: Seed = 1
    """Seed of the corpus: the same seed gives the same files."""
    height: Annotated[int, Range(least=32, most=2048)] = 128
    """Image height in pixels."""
    width: Annotated[int, Range(least=16, most=2048)] = 64
    """Image width in pixels."""
    camera_strength: NotNegative = 1.0
    """Strength of the differences between cameras in colour and gamma: 1 as tuned, 0 none."""
    background_strength: NotNegative = 1.0
    """Strength of the backgrounds' contrast: 1 as tuned, 0 plain grey."""
    occlusion_strength: NotNegative = 1.0
    """Frequency of objects in front of a person: 1 as tuned, 0 never."""
    layout: str = "market1501"
    """Layout of the labelled benchmark: market1501, cuhk03-np-labeled, cuhk03-np-detected, cuhk03-raw (or
    cuhk03-raw-v5, in the older MATLAB format), msmt17-v1, msmt17-v2, msmt17-ecn, personx, personx-original. Or the
    people of `wild/` once more, as LUPerson comes: luperson-folder, luperson-lmdb. A second layout joins the first."""
