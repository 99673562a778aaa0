"""What a run holds on to while it goes from one step to the next."""

import weakref
from pathlib import Path

import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from upreid.cli import main
from upreid.data.augment import Augment
from upreid.data.dataset import OriginalImages
from upreid.data.sources.recognise import open_source
from upreid.training import loop
from upreid.training.feeds.unlabelled import Prepare
from upreid.training.step import train_step

SMALL = ["--model.channels", "4", "--model.embed-dim", "16", "--contrast.queue", "16", "--train.batch", "8"]
SETTLED = ["--train.threads", "1", "--train.workers", "0", "--train.device", "cpu", "--train.steps", "3"]


def test_the_views_of_a_step_are_gone_before_the_next_are_made(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, held, augment = [], [], Augment.__call__

    def watched(self, batch):
        held.append(sum(views() is not None for views in used))
        return augment(self, batch)

    def watched_step(method, trained, views, step, optimiser, **how):
        used.append(weakref.ref(views["query"]))
        return train_step(method, trained, views, step, optimiser, **how)

    monkeypatch.setattr(Augment, "__call__", watched)
    monkeypatch.setattr(loop, "train_step", watched_step)
    where = ["--data.root", str(pictures), "--out", str(tmp_path / "run")]
    assert main(["pretrain", "both-terms-laptop", *where, *SMALL, *SETTLED]) == 0
    assert held == [0, 0, 0]


def test_the_loader_of_a_gpu_run_pins_the_pixels(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = OriginalImages(open_source(pictures), height=64, width=32, limit=0.0)
    loaded = Prepare(None)([images[0, 0], images[0, 1]])
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)  # needs a GPU; here a mark is left
    (batch, skipped) = pin_memory(loaded)
    assert torch.equal(batch.pixels, loaded[0].pixels + 1)
    assert (skipped, batch.epoch) == ((), 0)
