"""What the tests of methods share: small methods, views of noise, and short trainings."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from upreid.cli import main
from upreid.commands.pretrain import method_of
from upreid.config.command_line import parse
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.methods.moco_v2 import MocoV2
from upreid.methods.pretraining import Setup
from upreid.types import Views

SETUP = Setup(device=torch.device("cpu"), num_images=1000, steps_per_epoch=10)
NARROW = ["--model.channels", "4", "--model.embed-dim", "16", "--contrast.queue", "32"]


def small_config(*flags: str) -> MocoV2Config:
    recipe = "both-terms-laptop"
    words = ["--recipe", recipe, *read_recipe(recipe, "pretrain"), "--data.root", "images", "--out", "run"]
    return parse(MocoV2Config, [*words, *NARROW, *flags], program="pretrain")


def small_method(*flags: str, setup: Setup = SETUP) -> MocoV2:
    method = method_of(small_config(*flags), setup)
    assert isinstance(method, MocoV2)
    return method


def views_of_noise(method: MocoV2, batch: int) -> Views:
    numbers = torch.Generator().manual_seed(3)
    views: Views = {name: torch.randn(batch, 3, 64, 32, generator=numbers) for name in ("query", "key", "original")}
    views |= {name: torch.randn(batch, 1, 3, 64, 32, generator=numbers) for name in ("query_patches", "key_patches")}
    return {name: view.images.of(views[name]) if view.images else views[name] for name, view in method.views().items()}


SETTLED = ["--train.threads", "1", "--train.workers", "0", "--train.device", "cpu", "--train.steps", "12"]
SHORT = [
    *SETTLED,
    "--train.batch",
    "8",
    "--model.bn-groups",
    "2",
    "--train.save-every",
    "2",
    "--train.keep-states",
    "9",
]


def short_training(pictures: Path, out: Path, *flags: str) -> int:
    where = ["--data.root", str(pictures), "--out", str(out)]
    return main(["pretrain", "both-terms-laptop", *where, *NARROW, *SHORT, *flags])


@pytest.fixture
def config() -> Callable[..., MocoV2Config]:
    """Return a function that reads the recipe `laptop`, narrow, with flags over it."""
    return small_config


@pytest.fixture
def made() -> Callable[..., MocoV2]:
    """Return a function that makes the method of such a configuration."""
    return small_method


@pytest.fixture
def noise() -> Callable[[MocoV2, int], Views]:
    """Return a function that makes views of noise, of those images that the method asks for."""
    return views_of_noise


@pytest.fixture
def train() -> Callable[..., int]:
    """Return a function that trains for twelve steps in this process."""
    return short_training


@pytest.fixture
def short() -> list[str]:
    """Return the flags of such a training."""
    return [*NARROW, *SHORT]
