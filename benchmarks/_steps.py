"""Steps as the trainer does them, on views that are there already: pre-training by a recipe, and fine-tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from upreid.commands.pretrain import method_of
from upreid.commands.starting_point import starting_point
from upreid.config.command_line import parse
from upreid.config.finetune import FinetuneConfig
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.data.augment import CropBox, PatchView, StrongView, TrackletNumber, ViewRequest
from upreid.methods import supervised
from upreid.methods.method import Method
from upreid.methods.pretraining import Setup
from upreid.runtime.distributed import ALONE
from upreid.training.launch import placed
from upreid.training.precision import Precision, precision_of
from upreid.training.step import make_optimiser, train_step
from upreid.types import Views

Config = TypeVar("Config", MocoV2Config, FinetuneConfig)

NO_TERMS = ("--consistency.weight", "0", "--intrinsic.weight", "0")
"""Flags that turn a recipe of UP-ReID into MoCo v2."""
PEOPLE, CAMERAS = 751, 6
"""Of Market-1501's training part."""


def read(schema: type[Config], program: str, recipe: str, flags: Sequence[object]) -> Config:
    """Read a recipe with flags over it; nothing is read from its data or written to its folder."""
    places = ["--data.root", "none", "--out", "none"]
    words = ["--recipe", recipe, *read_recipe(recipe, program), *places, *map(str, flags)]
    return parse(schema, words, program=program)


def settled(config: Config, device: torch.device) -> Config:
    """Write into a configuration what `--train.auto-precision` comes to on this device."""
    resolved = precision_of(config.train, device).resolved
    return replace(config, train=replace(config.train, auto_precision=False, **resolved))


class Step:
    """One training step, as often as it is called."""

    def __init__(self, method: Method, optimiser: torch.optim.Optimizer, views: Views, precision: Precision) -> None:
        self.method, self.optimiser, self.views, self.precision = method, optimiser, views, precision
        self.trained: torch.nn.Module = method.student
        method.phase(10**9)  # nothing is frozen any more

    def __call__(self) -> dict[str, Tensor]:
        """Do the step; return its losses."""
        return train_step(self.method, self.trained, self.views, 0, self.optimiser, precision=self.precision)


def pretraining(config: MocoV2Config, device: torch.device, views: Views | None = None) -> Step:
    """Build the step of a pre-training in one process; its views are noise unless they are given."""
    setup = Setup(device=device, num_images=config.train.batch, steps_per_epoch=1)
    precision = precision_of(config.train, device)
    method = placed(method_of(config, setup), precision, compiled=config.train.compile)
    optim, size = config.optim, (config.augment.height, config.augment.width)
    optimiser = make_optimiser(
        optim.name, method.learning(), lr=0.01, momentum=optim.momentum, weight_decay=optim.weight_decay
    )
    views = views or noise_views(method.views(), config.train.batch, size, device)
    return Step(method, optimiser, views, precision)


def finetuning(config: FinetuneConfig, device: torch.device) -> Step:
    """Build the step of a fine-tuning in one process, on noise, with as many people as Market-1501 trains on."""
    start, _ = starting_point(config)
    cameras = range(1, CAMERAS + 1)
    method = supervised.build(
        config, start, cameras=cameras, num_people=PEOPLE, trained_on="noise", steps_per_epoch=1, world=ALONE
    )
    precision = precision_of(config.train, device)
    method = placed(method, precision, compiled=config.train.compile)
    optim, identities, images = config.optim, config.train.identities, config.train.images
    optimiser = make_optimiser(optim.name, method.learning(), lr=optim.lr, weight_decay=optim.weight_decay)
    count = identities * images
    views = {
        "images": torch.randn(count, 3, start.preprocess.height, start.preprocess.width, device=device),
        "people": torch.arange(identities, device=device).repeat_interleave(images),
        "cameras": torch.arange(count) % CAMERAS + 1,
    }
    return Step(method, optimiser, views, precision)


def noise_views(requests: Mapping[str, ViewRequest], batch: int, size: tuple[int, int], device: torch.device) -> Views:
    """Make noise in the shapes of the views that a method asks for."""
    views: Views = {}
    for name, request in requests.items():
        shape: tuple[int, ...] = 3, *size
        if isinstance(request, TrackletNumber):
            numbers = torch.arange(batch, device=device)
            views[name] = numbers if request.images is None else request.images.of(numbers)
            continue
        if isinstance(request, StrongView):
            shape = 3, request.height or size[0], request.width or size[1]
        elif isinstance(request, PatchView):
            shape = request.grid.num_patches, 3, *request.grid.patch_size(*size)
        if isinstance(request, CropBox):  # half of the views are mirrored, and all overlap
            box = torch.tensor([[0.1, 0.0, 1.0, 0.9], [0.0, 1.0, 0.9, 0.1]], device=device)
            views[name] = box.repeat(batch // 2 + 1, 1)[:batch]
            continue
        noise = torch.randn(batch, *shape, device=device)
        views[name] = noise if request.images is None else request.images.of(noise)
    return views
