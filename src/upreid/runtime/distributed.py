"""Ranks: torchrun starts them, this file joins them. One process is a world of one, with no group at all."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from upreid.errors import RunError, first_line
from upreid.runtime.faults import machine_faults
from upreid.runtime.launcher import check_launch, is_one_node, num_ranks, num_restarts

Result = TypeVar("Result")

SECONDS_TO_LET_GO = 0.5
"""Gloo's threads let go of a collective's tensors a moment after it is done, and DistributedDataParallel keeps the
threads alive past `destroy_process_group`. Python's end in that moment aborts the process (pytorch issue 190489)."""
LONGEST_WAIT = timedelta(hours=12)
"""How long a rank waits for another. Rank 0 ranks a gallery alone while the others wait, which takes hours where a large one is
re-ranked; torch's own limit, ten minutes with NCCL, would end the run. Ranks that are gone are noticed at once all the same."""


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


ALONE = World()


@contextmanager
def join(device: torch.device) -> Iterator[World]:
    """Join the group that torchrun announced in the environment, if any: gloo for tensors on the host, NCCL on GPUs."""
    check_launch()
    with machine_faults():
        if num_ranks() == 1:
            yield World()
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        store, rank, size = next(rendezvous("env://"))
        if is_one_node():  # torchrun keeps its store over restarts, with the addresses of processes that are gone
            store = dist.PrefixStore(f"restart {num_restarts()}", store)  # pyright: ignore[reportPrivateImportUsage]
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=LONGEST_WAIT)
        try:
            yield World(rank=rank, size=size)
        finally:
            dist.destroy_process_group()
            time.sleep(SECONDS_TO_LET_GO)


def gather(local: Tensor, world: World) -> Tensor:
    """Concatenate the ranks' tensors along the first axis, in rank order; carries no gradient."""
    if world.size == 1:
        return local.detach()
    parts = [torch.empty_like(local) for _ in range(world.size)]
    dist.all_gather(parts, local.detach().contiguous())
    return torch.cat(parts)


def gather_rows(local: Float[Tensor, "rows dim"], world: World) -> Float[Tensor, "all_rows dim"]:
    """`gather` for ranks with different numbers of rows; one without rows may not know `dim`, and gives 0."""
    if world.size == 1:
        return local
    shapes = gather(torch.tensor([local.shape], device=local.device), world)
    whole = local.new_zeros(tuple(shapes.amax(dim=0).tolist()))
    whole[: local.shape[0], : local.shape[1]] = local
    parts = gather(whole[None], world)
    return torch.cat([part[:rows] for part, rows in zip(parts, shapes[:, 0].tolist(), strict=True)])


def from_lead(make: Callable[[], Result], world: World) -> Result:
    """Let rank 0 make a value that pickles, and give it to all; what it raises instead ends every rank, not only rank 0.

    Rank 0 speaks: a refusal is one line of its own, a defect keeps its traceback. The others end with RunError.
    """
    if world.size == 1:
        return make()
    told: list[Any] = [None, None]
    failure: Exception | None = None
    if world.is_lead:
        try:
            told[0] = make()
        except Exception as error:
            failure, told[1] = error, first_line(error)
    dist.broadcast_object_list(told)
    if failure is not None:
        raise failure
    if told[1] is not None:
        raise RunError(f"rank 0 has ended: {told[1]}")
    return told[0]


def averaging(net: nn.Module, device: torch.device, world: World) -> nn.Module:
    """`net` as it is trained: where there are several ranks, with gradients averaged over them.

    Buffers are not broadcast. Each rank's BatchNorm keeps the running statistics of what it has seen, nothing waits for
    rank 0 at a forward, and what is exported carries the mean over the ranks (`build.state.exported`). In a step, a rank
    normalises by its own share of the batch: in fine-tuning as every published recipe does, in pre-training with shuffled
    keys, or with SyncBN on GPUs.
    """
    if world.size == 1:
        return net
    ids = [device.index] if device.type == "cuda" else None
    with warnings.catch_warnings():  # what is to replace this argument copies rank 0 to all at the start
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(net, device_ids=ids, broadcast_buffers=False)


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
