"""The optimisers of the recipes, over every parameter that ever learns; the learning rate is set at every step."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn


def make_optimiser(
    name: Literal["sgd", "adam", "adamw"],
    parameters: Sequence[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
) -> torch.optim.Optimizer:
    """SGD with momentum, Adam (weight decay as an L2 penalty) or AdamW (decoupled), fused into one kernel."""
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(parameters, lr=lr, weight_decay=weight_decay, fused=True)
