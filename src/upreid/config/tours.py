"""The knobs of the renderer and of the demo."""

from dataclasses import dataclass
from pathlib import Path

from upreid.synthetic.settings import CorpusSettings


@dataclass(frozen=True, kw_only=True)
class SynthConfig(CorpusSettings):
    """Render synthetic pedestrians: an unlabelled `wild/` set and a labelled benchmark of other people."""

    out: Path
    """Folder to write to."""
    workers: int | None = None
    """Number of processes; one per core where it is not given."""


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
