"""The momentum encoder: a slow copy that makes keys (MoCo, arXiv 1911.05722, eq. 2)."""

from copy import deepcopy

import torch
from torch import Tensor, nn

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
    ours: list[Tensor] = list(teacher.parameters())
    theirs: list[Tensor] = list(student.parameters())
    torch._foreach_lerp_(ours, theirs, 1.0 - momentum)  # pyright: ignore[reportPrivateImportUsage] - one kernel for all
