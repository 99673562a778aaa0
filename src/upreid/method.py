"""UP-ReID in one step: MoCo v2, global consistency and intrinsic contrast.

L = L_contrast(query, key, queue)                    instance contrast (MoCo v2, arXiv 2003.04297)
  + a * L_consistency(query | original)              I2, image: reading, see docs/paper.md
  + b * L_intrinsic(query patches, key patches)      I2, patch: reading, see docs/paper.md
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from upreid.losses import consistency
from upreid.losses.contrast import info_nce
from upreid.models.momentum import follow
from upreid.models.network import Network
from upreid.models.queue import Queue
from upreid.runtime.distributed import ALONE, World, gather
from upreid.runtime.schedule import ramp
from upreid.runtime.seed import permutation
from upreid.types import Views


@dataclass(frozen=True, kw_only=True)
class ConsistencyTerm:
    """Global consistency in one reading."""

    reading: consistency.Reading
    weight: float
    temperature: float
    teacher_temperature: float
    ramp_up: int
    """Steps over which the weight grows."""


@dataclass(frozen=True, kw_only=True)
class IntrinsicTerm:
    """Intrinsic contrast in one reading."""

    loss: Callable[..., Tensor]
    weight: float
    temperature: float
    hardest: int | None
    columns: int
    ramp_up: int
    """Steps over which the weight grows."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """What a step works with. A term that is None costs nothing: its views are not made, its forward is not run."""

    network: Network
    """The one that learns."""
    trained: nn.Module
    """`network`, as DistributedDataParallel wraps it: its forward is the one trained."""
    teacher: Network
    """The momentum copy of `network`."""
    keys: Queue
    """Past keys."""
    originals: Queue | None
    """Past originals, for the reading that asks for them."""
    consistency: ConsistencyTerm | None
    intrinsic: IntrinsicTerm | None
    temperature: float
    momentum: float
    accumulate: int
    seed: int
    shuffles: bool
    """Permute the whole batch before a key forward: no key meets the BatchNorm group of its query."""
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    world: World = ALONE


@dataclass(frozen=True)
class Targets:
    """What queries are compared with: the whole batch, all ranks together, without gradient."""

    keys: Float[Tensor, "images dim"]
    originals: Float[Tensor, "images dim"] | None
    patches: Float[Tensor, "images patches dim"] | None


def train_step(method: Method, views: Views, step: int, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Do optimiser step number `step`; return the named losses, unweighted and detached.

    Accumulation splits the forwards, never the comparison: all keys are made before the first query, so
    negatives, momentum encoder and queue are those of one large batch. Only the BatchNorm groups shrink, and running
    statistics move once in each part.
    """
    follow(method.teacher, method.network, method.momentum)
    with method.autocast():
        targets = encode_targets(method, views, step)
    sums: dict[str, Tensor] = {}
    parts = torch.arange(len(views.query), device=views.query.device).chunk(method.accumulate)
    for number, part in enumerate(parts):
        with gradients_travel(method.trained, yes=number == len(parts) - 1):
            losses = query_losses(method, views, targets, part)
            (weighted(method, losses, step) / len(parts)).backward()
        for name, loss in losses.items():
            sums[name] = sums.get(name, torch.zeros_like(loss)) + loss.detach() / len(parts)
    optimiser.step()
    optimiser.zero_grad()
    method.keys.push(targets.keys)  # after the losses: own keys are never negatives (moco@132aea9)
    if method.originals is not None and targets.originals is not None:
        method.originals.push(targets.originals)
    return sums


@torch.no_grad()
def encode_targets(method: Method, views: Views, step: int) -> Targets:
    """Keys, originals and key patches through the momentum encoder, each in a forward of its own."""
    keys = encode_shuffled(method, views.key, step)
    originals = None if views.original is None else encode_shuffled(method, views.original, step)
    patches = None
    if views.key_patches is not None:
        parts = views.key_patches.chunk(method.accumulate)
        patches = gather(torch.cat([method.teacher(None, part)[1] for part in parts]), method.world)
    return Targets(keys, originals, patches)


def encode_shuffled(
    method: Method, images: Float[Tensor, "batch 3 height width"], step: int
) -> Float[Tensor, "images dim"]:
    """Embed this rank's images with the momentum encoder; return the embeddings of all ranks' images.

    Shuffle-BN (MoCo, section 3.3): the ranks exchange images, each encodes a random share, and the
    embeddings go back to their places. In one process the shares are BatchNorm groups.
    """
    world = method.world
    if method.shuffles:
        images = gather(images, world)
        order = torch.from_numpy(permutation(method.seed, step, len(images), purpose="shuffle"))
        order = order.to(images.device, non_blocking=True)
        images = images[order[world.share(len(order))]]
        return gather(embed(method, images), world)[order.argsort()]
    return gather(embed(method, images), world)


def embed(method: Method, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
    """Run the momentum encoder in as many parts as the queries will be."""
    return torch.cat([method.teacher(part, None)[0] for part in images.chunk(method.accumulate)])


def query_losses(method: Method, views: Views, targets: Targets, part: Int64[Tensor, " part"]) -> dict[str, Tensor]:
    """Forward the queries numbered `part` and compare them with the targets; unweighted."""
    with method.autocast():
        patches = None if views.query_patches is None else views.query_patches[part]
        query, query_patches = method.trained(views.query[part], patches)
    own = part + method.world.share(len(targets.keys)).start  # their places in the whole batch
    queue = method.keys.keys
    losses = {"contrast": info_nce(query, targets.keys[own], queue, temperature=method.temperature)}
    if (term := method.consistency) is not None:
        assert targets.originals is not None
        losses["consistency"] = term.reading.loss(
            query,
            targets.originals[own],
            anchors(method, term.reading, targets),
            own,
            temperature=term.temperature,
            teacher_temperature=term.teacher_temperature,
        )
    if (term := method.intrinsic) is not None:
        losses["intrinsic"] = term.loss(
            query_patches,
            targets.patches,
            own,
            temperature=term.temperature,
            hardest=term.hardest,
            columns=term.columns,
        )
    return losses


def anchors(method: Method, reading: consistency.Reading, targets: Targets) -> Float[Tensor, "anchors dim"]:
    """Return what the reading compares similarities to: a queue, or the batch's originals."""
    if reading.anchors == "originals":
        assert method.originals is not None
        return method.originals.keys
    if reading.anchors == "batch":
        assert targets.originals is not None
        return targets.originals
    return method.keys.keys


def weighted(method: Method, losses: dict[str, Tensor], step: int) -> Tensor:
    """Sum the terms, each with its weight at this step."""
    total = losses["contrast"]
    for name, term in (("consistency", method.consistency), ("intrinsic", method.intrinsic)):
        if term is not None:
            total = total + term.weight * ramp(step, term.ramp_up) * losses[name]
    return total


def gradients_travel(trained: nn.Module, *, yes: bool) -> AbstractContextManager[object]:
    """Let DistributedDataParallel average gradients in the last backward of a step only."""
    return trained.no_sync() if isinstance(trained, DistributedDataParallel) and not yes else nullcontext()
