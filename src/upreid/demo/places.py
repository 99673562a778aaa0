"""Where the tour's files are."""

from dataclasses import dataclass
from pathlib import Path

STARTS = {"random": "random start", "moco": "MoCo v2", "upreid": "UP-ReID"}


@dataclass(frozen=True)
class Places:
    """Where the tour's files are."""

    out: Path

    @property
    def corpus(self) -> Path:
        """The rendered people."""
        return self.out / "corpus"

    def pretrained(self, start: str) -> Path:
        """The run of a pre-training."""
        return self.out / "runs" / start

    def finetuned(self, start: str, seed: int) -> Path:
        """The run of a fine-tuning."""
        return self.out / "finetune" / f"{start}-{seed}"
