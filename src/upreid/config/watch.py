"""The knobs of `upreid watch`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """Watch runs in a viewer: their journals, metrics.jsonl, as TensorBoard events or as runs of Weights & Biases."""

    runs: tuple[Path, ...]
    """Folders of runs, finished or under way, on this machine or copied from another one."""
    to: Literal["tensorboard", "wandb"] = "tensorboard"
    """Viewer that is written for (needs the extra of the same name)."""
    out: Path = Path("watched")
    """Folder for what the viewer reads, a folder for each run in it."""
    follow: bool = False
    """Watching of runs under way: go on until Ctrl-C, instead of ending with the last line there is."""
    project: str = "upreid"
    """Name of the project in Weights & Biases."""
    online: bool = False
    """Sending to the server of Weights & Biases; by default all stays in the folder, and `wandb sync` sends it later."""
