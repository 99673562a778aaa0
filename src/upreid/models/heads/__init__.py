"""Heads: from a backbone to the features of a person, one or several parts."""

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
    """Make a head for a backbone; what it copies of the backbone has the backbone's weights of now."""
    if settings.name not in HEADS:
        raise InputError(f"unknown head '{settings.name}'{nearest(settings.name, list(HEADS))}")
    return HEADS[settings.name](backbone, settings)
