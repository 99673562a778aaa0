"""One optimiser step of any method, and the optimisers; the only place in the project that calls `backward`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from upreid.methods.method import Method, batch_size, weighted_sum
from upreid.training.precision import Precision
from upreid.types import Views


def train_step(
    method: Method,
    trained: nn.Module,
    batch: Views,
    step: int,
    optimiser: torch.optim.Optimizer,
    *,
    precision: Precision,
    accumulate: int = 1,
) -> dict[str, Tensor]:
    """Do optimiser step number `step`; return the named losses of this rank, unweighted and detached.

    `trained` is the student as DistributedDataParallel wraps it. Accumulation splits the forwards, never the comparison: all
    targets are made before the first part, so negatives, momentum copy and queue are those of one large batch. Only the BatchNorm
    groups shrink, and running statistics move once in each part.
    """
    method.before_update(step)
    with precision.autocast():
        targets = method.targets(batch, step)
    weights = method.weights(step)
    sums: dict[str, Tensor] = {}
    parts = parts_of(batch_size(batch), accumulate)
    for number, part in enumerate(parts):
        with gradients_travel(trained, yes=number == len(parts) - 1):
            with precision.autocast():
                outputs = trained(*method.inputs(batch, part))
            losses = method.losses(outputs, batch, targets, part)
            (weighted_sum(losses, weights) / len(parts)).backward()
        for name, loss in losses.items():
            sums[name] = sums.get(name, torch.zeros_like(loss)) + loss.detach() / len(parts)
    optimiser.step()
    optimiser.zero_grad()
    method.after_update(targets)
    return sums


def parts_of(rows: int, accumulate: int) -> list[slice]:
    """Cut `rows` into `accumulate` parts of equal size, the last one smaller where they do not divide."""
    size = -(-rows // accumulate)
    return [slice(first, min(first + size, rows)) for first in range(0, rows, size)]


def gradients_travel(trained: nn.Module, *, yes: bool) -> AbstractContextManager[object]:
    """Let DistributedDataParallel average gradients in the last backward of a step only."""
    return trained.no_sync() if isinstance(trained, DistributedDataParallel) and not yes else nullcontext()


def make_optimiser(
    name: Literal["sgd", "adam", "adamw"],
    parameters: Sequence[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
) -> torch.optim.Optimizer:
    """SGD with momentum, Adam (weight decay as an L2 penalty) or AdamW (decoupled), fused into one kernel.

    Momentum begins at 0, which is where SGD begins: its kernel cannot take parameters that begin to learn later than others.
    """
    if name == "sgd":
        optimiser = torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
        for parameter in parameters if momentum else ():
            optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimiser
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(parameters, lr=lr, weight_decay=weight_decay, fused=True)
