"""The arms that were measured on real photographs cost what they cost there, and every arm of the new grids can be built."""

import pytest
import torch

from upreid.commands.pretrain import method_of
from upreid.config.command_line import parse_training
from upreid.config.grid import read_grid
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import flags, merged
from upreid.methods import step_cost
from upreid.methods.pretraining import Setup

COSTS = {
    "moco": 1670,
    "moco-long": 3758,
    "tracklets": 3758,
    "upreid": 3758,
    "g-key": 2088,
    "g-key-long": 3758,
    "upreid-quarter": 3758,
    "g-key-quarter": 3700,
    "views-i-a": 3600,
    "views-i-d": 3600,
}
"""In steps of MoCo v2."""


def configs(name: str) -> dict[str, MocoV2Config]:
    grid = read_grid(name)
    where = ["--data.root", "images", "--out", "run", "--train.device", "cpu"]
    found = {}
    for arm, one in grid.arms.items():
        if one.recipe is not None:
            config = parse_training("pretrain", [one.recipe, *where, *flags(merged(grid.flags, one.flags))])
            assert isinstance(config, MocoV2Config)
            found[arm] = config
    return found


def test_each_arm_costs_what_it_cost_on_real_photographs() -> None:
    costs = {
        arm: step_cost(config) / 4 * (config.train.steps or 0) for arm, config in configs("prediction-laptop").items()
    }
    assert costs == pytest.approx(COSTS, rel=0.01)


@pytest.mark.parametrize("name", ["prediction-laptop", pytest.param("readings2-laptop", marks=pytest.mark.slow)])
def test_every_arm_can_be_built_and_no_two_are_the_same(name: str) -> None:
    setup = Setup(device=torch.device("cpu"), num_images=20_000, steps_per_epoch=312)
    arms = configs(name)
    built = {arm: method_of(config, setup).explanations() for arm, config in arms.items()}
    assert all(lines for lines in built.values())
    settings = [
        (config.data, config.contrast, config.consistency, config.intrinsic, config.augment, config.train)
        for config in arms.values()
    ]
    assert len(set(map(str, settings))) == len(settings)
