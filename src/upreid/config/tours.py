"""The knobs of the renderer and of the demo."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SynthConfig:
    """Render synthetic pedestrians: an unlabelled `wild/` set and a labelled benchmark of other people."""

    out: Path
    """Folder to write to."""
    identities: int = 200
    """People in the labelled benchmark, half train, half test; `wild/` shows three times as many others."""
    seed: int = 1
    """Same seed, same files."""
    height: int = 128
    """Image height in pixels."""
    width: int = 64
    """Image width in pixels."""
    layout: str = "market1501"
    """A labelled benchmark: market1501, cuhk03-np-labeled, cuhk03-np-detected, cuhk03-raw (or cuhk03-raw-v5, in the
    older MATLAB format), msmt17-v1, msmt17-v2, msmt17-ecn, personx, personx-original. Or the people of `wild/` again, as
    LUPerson comes: luperson-folder, luperson-lmdb. A second layout joins the first."""
    workers: int | None = None
    """Processes; all cores where not given."""
    camera_strength: float = 1.0
    """How much cameras differ in colour and gamma; 0: not at all."""
    background_strength: float = 1.0
    """How busy backgrounds are; 0: plain."""
    occlusion_strength: float = 1.0
    """How often something stands in front; 0: never."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Render, pre-train with MoCo v2 and UP-ReID, fine-tune, evaluate, and show what came out."""

    out: Path = Path("demo")
    """Folder of the tour; what is there already is reused."""
    identities: int = 250
    """People in the labelled benchmark; `wild/` shows three times as many others."""
    epochs: float = 20.0
    """Passes over `wild/` in each pre-training."""
    finetune_epochs: float = 30.0
    """Passes over the labelled images in each fine-tuning."""
    identity_share: float = 0.3
    """Share of the labelled identities used in fine-tuning."""
    seeds: int = 3
    """Fine-tunings per start."""
    seed: int = 1
    """Of corpus and pre-training."""
