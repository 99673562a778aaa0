"""What all parts of `gpu.py` share: sizes, recipes, the device, and crops that are rendered once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from _steps import NO_TERMS, read
from upreid.commands.pack import run as pack
from upreid.commands.synth import synthesise
from upreid.config.commands import PackConfig
from upreid.config.pretrain import MocoV2Config
from upreid.runtime.processes import usable_cores
from upreid.synthetic.settings import CorpusSettings

Add = Callable[..., None]
"""Called with the name of a measurement, and its values by name."""

BACKBONES = {"resnet50": "luperson-resnet50", "vit-small": "luperson-vit-small"}
"""Backbone -> recipe of UP-ReID."""
ROUNDS = 5
"""Rounds in which candidates take turns."""
METHODS = {"MoCo v2": NO_TERMS, "both terms": ()}
"""Method -> flags over that recipe with both terms."""
TINY = "--model.embed-dim 16 --contrast.queue 64 --intrinsic.rows 2 --intrinsic.columns 1 --train.threads 1 --model.backbone"
TINY_FLAGS = {
    "resnet50": [*TINY.split(), "resnet18", "--model.channels", "4", "--model.last-stride", "1"],
    "vit-small": [*TINY.split(), "vit_tiny_patch16_224"],
}
"""Backbone -> flags for a test of the script itself."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the parts work, and whether they only test themselves."""

    work: Path
    tiny: bool

    @property
    def device(self) -> torch.device:
        """The GPU, or the CPU where the script tests itself."""
        return torch.device("cpu" if self.tiny else "cuda:0")

    @property
    def repeats(self) -> int:
        """Steps in a row per round: the host of a GPU runs ahead of it, as it does in training."""
        return 1 if self.tiny else 4

    def size(self) -> tuple[int, int]:
        """Return height and width of the input."""
        return (64, 32) if self.tiny else (256, 128)

    def config(self, backbone: str, *flags: object) -> MocoV2Config:
        """Read the recipe of a backbone at this size, with one BatchNorm group as on one of several GPUs."""
        return read(MocoV2Config, "pretrain", BACKBONES[backbone], [*self.flags(backbone), *flags])

    def flags(self, backbone: str) -> list[str]:
        """Return the flags that are put over the recipe of a backbone."""
        (height, width), batch = self.size(), 8 if self.tiny else 256
        shape = f"--augment.height {height} --augment.width {width} --train.batch {batch}"
        shape += f" --train.device {self.device.type} --intrinsic.weight 3"
        return [*shape.split(), *(TINY_FLAGS[backbone] if self.tiny else [])]

    def crops(self, add: Add = lambda *_, **__: None) -> Path:
        """Render and pack unlabelled crops where that has not been done; return the packed set."""
        packed, corpus = self.work / "packed", self.work / "corpus"
        if packed.is_dir():
            return packed
        height, width = self.size()
        settings = CorpusSettings(identities=4 if self.tiny else 200, height=height, width=width)
        began = time.perf_counter()
        synthesise(corpus, settings)
        rendered = time.perf_counter()
        pack(PackConfig(src=corpus / "wild", out=packed, shard_size=500))
        for name, count, seconds in (
            ("rendered", 24 * settings.identities, rendered - began),
            ("packed", 12 * settings.identities, time.perf_counter() - rendered),
        ):
            add(name, images=count, seconds=seconds, **{"images/s": count / seconds, "cores": usable_cores()})
        return packed
