"""What can be trained, one file a method (`method.py` is the interface), and what a configuration's method says of itself."""

from importlib import import_module
from types import ModuleType

from upreid.config.methods import METHODS
from upreid.config.training import TrainingConfig


def module_of(config: TrainingConfig) -> ModuleType:
    """Import the module that builds the method of a configuration."""
    return import_module(METHODS[config.method].module)


MOCO_STEP = 4.0
"""Cost of a step of MoCo v2 in forwards of its images, as `step_cost` counts."""


def step_cost(config: TrainingConfig) -> float:
    """Return the cost of a step in forwards of its images, a backward being two; where the method does not say, MoCo v2's."""
    cost = getattr(module_of(config), "step_cost", None)
    return MOCO_STEP if cost is None else float(cost(config))


def loss_names(config: TrainingConfig) -> dict[str, str]:
    """Return the losses of a method -> what a reader calls them; none where the method does not say."""
    return dict(getattr(module_of(config), "LOSSES", {}))
