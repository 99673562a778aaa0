"""The queue of past embeddings that serve as negatives or anchors (MoCo, arXiv 1911.05722, section 3.1)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Queue(nn.Module):
    """A ring of `size` unit vectors, random at first; takes any batch and wraps where it must."""

    keys: Float[Tensor, "size dim"]
    pointer: Tensor

    def __init__(self, size: int, dim: int, *, seed: int) -> None:
        super().__init__()
        start = torch.randn(size, dim, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("keys", F.normalize(start, dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, keys: Float[Tensor, "batch dim"]) -> None:
        """Replace the oldest; of a batch larger than the ring the last `size` stay. Never waits for the device."""
        size = len(self.keys)
        kept = keys[-size:]
        start = self.pointer + (len(keys) - len(kept))
        places = (start + torch.arange(len(kept), device=self.keys.device)) % size
        self.keys[places] = kept.to(self.keys.dtype)
        self.pointer.add_(len(keys)).remainder_(size)
