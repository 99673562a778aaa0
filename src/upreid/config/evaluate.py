"""The knobs of evaluation."""

from dataclasses import dataclass
from pathlib import Path

from upreid.config.training import ComputeConfig
from upreid.data.settings import LabelledSet
from upreid.retrieval.settings import Ranking


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Ranking, ComputeConfig):
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
