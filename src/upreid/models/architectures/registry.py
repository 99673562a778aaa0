"""Registration with timm, which makes a network known to `timm.is_model` and `timm.create_model` for the whole process."""

from collections.abc import Callable
from typing import Any

import timm
from timm.models import register_model
from torch import nn

UNUSED = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""Arguments that timm gives to every maker of networks; there are no published weights under these names in its hub."""


def register(name: str, make: Callable[..., nn.Module]) -> None:
    """Register a function that makes a network without a classifier; a second registration of a name changes nothing."""
    if timm.is_model(name):
        return

    def entry(**options: Any) -> nn.Module:
        given = {key: value for key, value in options.items() if key not in (*UNUSED, "num_classes")}
        return make(**given)

    entry.__name__ = name
    register_model(entry)
