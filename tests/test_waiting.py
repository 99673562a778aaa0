"""A pretended accelerator: torch's meta device has shapes and no values, so whatever reads one back raises at once.

What a device would also wait for is a copy of the host's that blocks; `WaitsForNothing` refuses those.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from upreid.commands.pretrain import method_of
from upreid.config.command_line import parse
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.data.augment import Augment
from upreid.data.augment.downstream import DownstreamAugment
from upreid.methods.method import Method
from upreid.methods.pretraining import Setup, preprocess
from upreid.models.batchnorm import in_channels_last
from upreid.training.precision import Precision
from upreid.training.recorder import Recorder
from upreid.training.step import train_step
from upreid.types import ImageBatch

DEVICE = torch.device("meta")
BATCH = 8
FLAGS = [
    "--consistency.reading g-queue --intrinsic.reading i-a",
    "--consistency.reading g-batch --intrinsic.reading i-b --train.accumulate 2",
    "--consistency.reading g-cos --intrinsic.reading i-c --intrinsic.hardest 3",
    "--consistency.reading g-pos --intrinsic.reading i-d --intrinsic.source pixels",
    "--consistency.reading g-key --intrinsic.reading i-d --intrinsic.source map",
    "--consistency.reading g-rel --train.channels-last --model.bn-groups 1",
    "--consistency.weight 0 --intrinsic.weight 0",
]


class WaitsForNothing(TorchDispatchMode):
    """Raises where the host would hand numbers to the device and wait until they have arrived."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        arrives = isinstance(result, Tensor) and result.device == DEVICE
        stays = [tensor for tensor in tensors if tensor.device != DEVICE and tensor.ndim > 0]
        if func is torch.ops.aten.lift_fresh.default:
            assert not arrives, "torch.tensor(values, device=...) waits; use .to(device, non_blocking=True)"
        elif arrives and stays:
            is_copy = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
            waits = not (is_copy and ((kwargs or {}).get("non_blocking") or (len(args) > 2 and args[2])))
            assert not waits, f"{func} waits for numbers of the host"
        return result


def settings(*flags: str) -> MocoV2Config:
    required = ["--recipe", "both-terms-laptop", "--data.root", "none", "--out", "none", "--train.batch", str(BATCH)]
    small = ["--model.channels", "4", "--model.embed-dim", "16", "--contrast.queue", "20"]
    recipe = read_recipe("both-terms-laptop", "pretrain")
    return parse(MocoV2Config, [*required, *recipe, *required, *small, *flags], program="pretrain")


def built(config: MocoV2Config) -> Method:
    return method_of(config, Setup(device=DEVICE, num_images=100, steps_per_epoch=1)).to(DEVICE)


def augmentation(config: MocoV2Config, method: Method) -> Augment:
    return Augment(method.views(), preprocess=preprocess(config), seed=config.train.seed)


def originals(height: int = 128, width: int = 64) -> ImageBatch:
    sizes = torch.tensor([[height, width]] * BATCH)
    pixels = torch.zeros(BATCH, 3, height, width, dtype=torch.uint8)
    return ImageBatch(pixels=pixels, extents=sizes, file_sizes=sizes, indices=torch.arange(BATCH), epoch=0)


@pytest.fixture
def _no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it has no word for the meta device


@pytest.mark.usefixtures("_no_autocast")
@pytest.mark.parametrize("flags", FLAGS)
def test_neither_augmentation_nor_step_waits_for_the_device(flags: str) -> None:
    config = settings(*flags.split())
    method = built(config)
    if config.train.channels_last:
        method = in_channels_last(method)
    optimiser = torch.optim.SGD(method.learning(), lr=0.1, momentum=0.9)
    augment, recorder = augmentation(config, method), Recorder([])
    how = {"precision": Precision(device=DEVICE), "accumulate": config.train.accumulate}
    with WaitsForNothing():
        views = augment(originals().to(DEVICE))
        losses = train_step(method, method.student, views, 0, optimiser, **how)
        recorder.add(0, 0.1, losses)
    assert {loss.device for loss in losses.values()} == {DEVICE}
    assert views["query"].shape == (BATCH, 3, 64, 32)


@pytest.mark.usefixtures("_no_autocast")
@pytest.mark.parametrize("preset", ["luperson", "luperson-jitter"])
@pytest.mark.parametrize("size", [(64, 32), (150, 60)])
def test_no_preset_and_no_size_of_file_makes_augmentation_wait(preset: str, size: tuple[int, int]) -> None:
    config = settings("--augment.preset", preset)
    augment = augmentation(config, built(config))
    with WaitsForNothing():
        assert augment(originals(*size).to(DEVICE))["key_patches"].shape == (BATCH, 1, 3, 64, 32)


def test_augmentation_of_labelled_images_does_not_wait() -> None:
    augment = DownstreamAugment(seed=1, pad=4, flip_probability=0.5, erase_probability=0.5)
    with WaitsForNothing():
        augment(torch.zeros(BATCH, 3, 64, 32, device=DEVICE), step=0)


@pytest.mark.parametrize(
    "read",
    [
        lambda values: values.sum().item(),
        lambda values: bool((values > 0).any()),
        lambda values: values[values > 0],
        lambda values: values.cpu(),
        lambda values: values.tolist(),
        lambda values: values[torch.tensor([0, 1])],
        lambda values: values + torch.tensor([1.0, 2.0, 3.0], device=DEVICE),
        lambda values: values + torch.from_numpy(np.ones(3, dtype=np.float32)).to(DEVICE),
        lambda values: values.copy_(torch.ones(3)),
    ],
)
def test_every_way_of_waiting_would_be_noticed(read) -> None:
    values = torch.zeros(3, device=DEVICE)
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError)), WaitsForNothing():
        read(values)
