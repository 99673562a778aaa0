"""`upreid.fit`: a training from Python, with parts of one's own."""

from pathlib import Path

import pytest
import torch
from torch import nn

import upreid
from upreid.config.training import TrainConfig, TrainingConfig
from upreid.data.augment import PRESETS, StrongView
from upreid.data.sources.recognise import open_source
from upreid.errors import InputError
from upreid.methods.method import Method
from upreid.models.backbone import create_backbone
from upreid.models.encoder import Encoder, EncoderHeader
from upreid.training.feeds.unlabelled import UnlabelledFeed
from upreid.training.loop import Plan
from upreid.training.parts import Context, TrainingParts
from upreid.types import Preprocess

SIZE = Preprocess(height=32, width=16, mean=(0.35, 0.31, 0.31), std=(0.27, 0.25, 0.25))
HEADER = EncoderHeader(
    backbone="resnet18", channels=4, last_stride=None, height=32, width=16, mean=SIZE.mean, std=SIZE.std
)


class Brightness(Method):
    """Teach a backbone the mean of its picture: the smallest method there can be."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        backbone = create_backbone("resnet18", height=32, width=16, channels=4)
        self.student = nn.Sequential(backbone, nn.Linear(32, 1))

    def views(self):
        return {"view": StrongView(preset=PRESETS["person"])}

    def inputs(self, batch, part):
        return (batch["view"][part],)

    def losses(self, outputs, batch, targets, part):
        return {"error": (outputs[:, 0] - batch["view"][part].mean(dim=(1, 2, 3))).pow(2).mean()}

    def encoder(self):
        return Encoder(self.student[0], HEADER)


def parts(pictures: Path, context: Context) -> TrainingParts:
    method = Brightness()
    feed = UnlabelledFeed(
        open_source(pictures),
        method.views(),
        preprocess=SIZE,
        batch=8,
        seed=1,
        compute=context.compute,
        world=context.world,
    )
    plan = Plan(steps=6, steps_per_epoch=feed.steps_per_epoch, lr=lambda step: 0.05)
    return TrainingParts(method=method, feed=feed, plan=plan, optimiser=lambda some: torch.optim.SGD(some, lr=0.05))


def config(out: Path) -> TrainingConfig:
    train = TrainConfig(epochs=1.0, save_every=3, device="cpu", threads=1, workers=0)
    return TrainingConfig(recipe="none", method="brightness", out=out, train=train)


def test_it_trains_resumes_and_exports(pictures: Path, tmp_path: Path) -> None:
    assert upreid.fit(lambda context: parts(pictures, context), config(tmp_path / "whole")) == 0
    assert upreid.fit(lambda context: parts(pictures, context), config(tmp_path / "part")) == 0
    with pytest.raises(InputError, match="not empty"):
        upreid.fit(lambda context: parts(pictures, context), config(tmp_path / "part"))
    (tmp_path / "part" / "states" / "step-000000003.pt").replace(tmp_path / "part" / "state.pt")
    assert upreid.fit(lambda context: parts(pictures, context), config(tmp_path / "part"), resumes=True) == 0
    first, second = ((tmp_path / run / "encoder.safetensors").read_bytes() for run in ("whole", "part"))
    assert first == second
    encoder = upreid.load_encoder(tmp_path / "part" / "encoder.safetensors")
    assert encoder(torch.zeros(2, 3, 32, 16)).shape == (2, 32)
