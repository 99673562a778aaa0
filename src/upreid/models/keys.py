"""Keys: the momentum encoder makes them, and the queue remembers them (MoCo, https://arxiv.org/abs/1911.05722, section 3)."""

from copy import deepcopy

import torch
from jaxtyping import Bool, Float, Int64
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
    """A ring of `size` unit vectors, random at first, that serve as negatives or anchors; it takes batches of any size.

    Where it is `numbered`, each has the number of a tracklet beside it, -1 at first.
    """

    keys: Float[Tensor, "size dim"]
    pointer: Tensor
    tracklets: Int64[Tensor, " size"] | None

    def __init__(self, size: int, dim: int, *, seed: int, numbered: bool = False) -> None:
        super().__init__()
        start = torch.randn(size, dim, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("keys", F.normalize(start, dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.register_buffer("tracklets", torch.full((size,), -1) if numbered else None)

    def of_tracklets(self, numbers: Int64[Tensor, " batch"] | None) -> Bool[Tensor, "batch size"] | None:
        """Tell which vectors come from the tracklet of each image; None where that is not known."""
        return None if numbers is None or self.tracklets is None else numbers[:, None] == self.tracklets

    @torch.no_grad()
    def push(self, keys: Float[Tensor, "batch dim"], tracklets: Int64[Tensor, " batch"] | None = None) -> None:
        """Replace the oldest keys, without waiting for the device; of a batch larger than the ring the last `size` stay."""
        size = len(self.keys)
        kept = keys[-size:]
        start = self.pointer + (len(keys) - len(kept))
        places = (start + torch.arange(len(kept), device=self.keys.device)) % size
        self.keys[places] = kept.to(self.keys.dtype)
        if self.tracklets is not None and tracklets is not None:
            self.tracklets[places] = tracklets[-size:]
        self.pointer.add_(len(keys)).remainder_(size)
