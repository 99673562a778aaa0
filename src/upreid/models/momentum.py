"""The momentum encoder: a slow copy that makes keys (MoCo, arXiv 1911.05722, eq. 2)."""

from copy import deepcopy

import torch
from torch import nn

from upreid.models.network import Network


def momentum_copy(network: Network) -> Network:
    """Copy a network; nothing in the copy learns by gradient."""
    teacher = deepcopy(network)
    teacher.requires_grad_(False)
    return teacher


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """`teacher <- momentum * teacher + (1 - momentum) * student`, for parameters.

    Buffers are left: the teacher's BatchNorm statistics come from its own forwards, as in MoCo.
    """
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1.0 - momentum)
