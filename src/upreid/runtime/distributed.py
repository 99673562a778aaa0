"""Ranks: torchrun starts them, this file joins them. One process is a world of one, with no group at all."""

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

SECONDS_TO_LET_GO = 0.5
"""Gloo's threads let go of a collective's tensors a moment after it is done, and DistributedDataParallel keeps the
threads alive past `destroy_process_group`. Python's end in that moment aborts the process (pytorch issue 190489)."""


@dataclass(frozen=True)
class World:
    """This process among its peers."""

    rank: int = 0
    size: int = 1

    @property
    def is_lead(self) -> bool:
        """Rank 0 writes; the others only work."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Return this rank's contiguous part of `count` items (a multiple of the size)."""
        part = count // self.size
        return slice(self.rank * part, (self.rank + 1) * part)


@contextmanager
def join(device: torch.device) -> Iterator[World]:
    """Join the group that torchrun announced in the environment, if any: NCCL on GPUs, gloo on CPUs."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(rank=dist.get_rank(), size=dist.get_world_size())
    finally:
        dist.destroy_process_group()
        if device.type == "cpu":
            time.sleep(SECONDS_TO_LET_GO)


def average_gradients(net: nn.Module, device: torch.device, world: World) -> nn.Module:
    """Wrap `net` so that its backward averages the gradients over the ranks; alone, it is `net` itself.

    Buffers are not broadcast (`broadcast_buffers=False`, as MoCo's and LUPerson's programs do): each rank keeps the
    running statistics of its own images, and what is exported or saved averages them.
    """
    if world.size == 1:
        return net
    ids = [device.index] if device.type == "cuda" else None
    with warnings.catch_warnings():  # torch 2.15 deprecates broadcast_buffers, and older ones lack its new name
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(net, device_ids=ids, broadcast_buffers=False)


def gather(local: Tensor, world: World) -> Tensor:
    """Concatenate the ranks' tensors along the first axis, in rank order; carries no gradient."""
    if world.size == 1:
        return local.detach()
    parts = [torch.empty_like(local) for _ in range(world.size)]
    dist.all_gather(parts, local.detach().contiguous())
    return torch.cat(parts)


class GatherWithGradient(torch.autograd.Function):
    """`gather`, through which every rank's gradient flows back to the rank that the rows came from."""

    @staticmethod
    def forward(context: Any, local: Tensor, world: World) -> Tensor:  # noqa: D102
        context.world, context.rows = world, len(local)
        return gather(local, world)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[context.world.rank * context.rows :][: context.rows], None


def gather_with_gradient(local: Tensor, world: World) -> Tensor:
    """Concatenate the ranks' tensors; a loss over all rows, averaged over the ranks by DDP, has the gradient of one process."""
    return local if world.size == 1 else GatherWithGradient.apply(local, world)  # pyright: ignore[reportReturnType]


def average(local: Tensor, world: World) -> Tensor:
    """Average a tensor over the ranks."""
    if world.size == 1:
        return local.detach().clone()
    total = local.detach().clone()
    dist.all_reduce(total)
    return total / world.size


def agree(flag: bool, device: torch.device, world: World) -> bool:
    """Whether any rank says yes: all must stop at the same step."""
    if world.size == 1:
        return flag
    votes = torch.tensor(float(flag), device=device)
    dist.all_reduce(votes)
    return bool(votes.item())
