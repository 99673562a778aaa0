"""Keys: the momentum encoder makes them, and the queue remembers them (MoCo, https://arxiv.org/abs/1911.05722, section 3)."""

from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.models.network import Network


def momentum_copy(network: Network) -> Network:
    """Copy a network; nothing in the copy learns by gradient."""
    teacher = deepcopy(network)
    teacher.requires_grad_(False)
    return teacher


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Set each parameter of the teacher to `momentum * teacher + (1 - momentum) * student` (MoCo, eq. 2).

    Buffers are left alone: the teacher's BatchNorm statistics come from its own forwards, as in MoCo.
    """
    ours: list[Tensor] = list(teacher.parameters())
    theirs: list[Tensor] = list(student.parameters())
    torch._foreach_lerp_(ours, theirs, 1.0 - momentum)  # pyright: ignore[reportPrivateImportUsage] - one kernel for all


class Queue(nn.Module):
    """A ring of `size` unit vectors, random at first, that serve as negatives or anchors; it takes batches of any size."""

    keys: Float[Tensor, "size dim"]
    pointer: Tensor

    def __init__(self, size: int, dim: int, *, seed: int) -> None:
        super().__init__()
        start = torch.randn(size, dim, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("keys", F.normalize(start, dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, keys: Float[Tensor, "batch dim"]) -> None:
        """Replace the oldest keys, without waiting for the device; of a batch larger than the ring the last `size` stay."""
        size = len(self.keys)
        kept = keys[-size:]
        start = self.pointer + (len(keys) - len(kept))
        places = (start + torch.arange(len(kept), device=self.keys.device)) % size
        self.keys[places] = kept.to(self.keys.dtype)
        self.pointer.add_(len(keys)).remainder_(size)
