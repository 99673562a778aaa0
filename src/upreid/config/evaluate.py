"""The knobs of evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from upreid.data.settings import LabelledSet
from upreid.retrieval.settings import Ranking


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Ranking):
    """Retrieval with an encoder on a labelled set, its own or another one (cross-domain)."""

    encoder: Path
    """File written by pretrain or finetune."""
    data: LabelledSet
    out: Path | None = None
    """JSON file for the numbers and the protocol."""
    height: int | None = None
    """Input height; the header's where not given."""
    width: int | None = None
    """Input width; the header's where not given."""
    batch: int = 128
    """Images per forward."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Auto takes a GPU where there is one."""
    threads: int | None = None
    """CPU threads; by default the cores that the workers leave."""
    workers: int | None = None
    """Processes that read images."""
