"""Heads: each turns the output of a backbone into the features of a person, in one or several parts."""

from collections.abc import Callable
from typing import Any

from torch import nn

from upreid.errors import InputError, nearest
from upreid.models.heads.bnneck import BNNeck
from upreid.models.heads.mgn import MGN
from upreid.models.heads.parts import Parts
from upreid.models.heads.transreid import TransReID
from upreid.models.settings import HeadSettings

__all__ = ["HEADS", "HeadSettings", "Parts", "create_head"]

HEADS: dict[str, Callable[[nn.Module, HeadSettings], Any]] = {"bnneck": BNNeck, "mgn": MGN, "transreid": TransReID}


def create_head(backbone: nn.Module, settings: HeadSettings) -> Any:
    """Make a head for a backbone; where it copies a piece of the backbone, it copies the present weights too."""
    if settings.name not in HEADS:
        raise InputError(f"unknown head '{settings.name}'{nearest(settings.name, list(HEADS))}")
    return HEADS[settings.name](backbone, settings)
