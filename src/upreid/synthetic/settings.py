"""The settings of a corpus: without numpy or torch, so that the command line is built from them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from upreid.ranges import Count, NotNegative, Range, Seed

WILD_PER_IDENTITY = 12
"""Number of unlabelled pictures for each labelled person, where nothing else is asked for."""


@dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """Everything that decides the bytes of a corpus."""

    version: Literal[1, 2] = 2
    """Version of the renderer: 2 for crops of videos, which are as hard as photographs, 1 for the easier pictures of the first
    results."""
    identities: Annotated[int, Range(least=4, most=9999)] = 200
    """Number of people in the labelled benchmark, half train, half test."""
    wild: Count | None = None
    """Number of unlabelled pictures of other people in `wild/`; 12 for each labelled person where not given. Version 2
    alone takes another number."""
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


def wild_images(corpus: CorpusSettings) -> int:
    """Count the unlabelled pictures."""
    return WILD_PER_IDENTITY * corpus.identities if corpus.wild is None else corpus.wild
