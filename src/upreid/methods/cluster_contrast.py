"""Cluster-Contrast: learn from clusters of unlabelled images (Dai et al., https://arxiv.org/abs/2103.11568).

Each epoch begins with a clustering of the images by the encoder as it is (`training/feeds/clustered.py`); outliers are left out.
The memory holds the mean direction of each cluster. Features are compared with it, and it follows them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.config.adapt import AdaptConfig
from upreid.errors import InputError
from upreid.losses.cluster import UPDATES, cluster_contrast, cluster_means
from upreid.methods.method import Method
from upreid.models.batchnorm import group_batch_norm
from upreid.models.encoder import Encoder
from upreid.models.heads import HeadSettings, create_head
from upreid.models.network import deinterleave, interleave, interleaved_groups
from upreid.runtime.distributed import ALONE, World, gather
from upreid.runtime.seed import stream_key
from upreid.types import Views


class UnitFeatures(nn.Module):
    """An encoder whose features after the neck have unit length; a BatchNorm group is a contiguous part of the images."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Return features in single precision or better, also under autocast."""
        groups = interleaved_groups(self.encoder)
        features = self.encoder.after_neck(interleave(images[:, None], groups))
        exact = features if features.dtype.itemsize >= 4 else features.float()
        return F.normalize(deinterleave(exact, groups, 1)[:, 0])


class ClusterContrast(Method):
    """Images of clusters, P of them with K images each in a batch; views `images` and `clusters`."""

    student: UnitFeatures
    memory: Float[Tensor, "clusters dim"]

    def __init__(
        self,
        student: UnitFeatures,
        *,
        dim: int,
        update: str = "every",
        momentum: float = 0.1,
        temperature: float = 0.05,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.student = student
        self.update, self.momentum, self.temperature, self.world = update, momentum, temperature, world
        self.register_buffer("memory", torch.zeros(0, dim))

    def make_room(self, shapes: Mapping[str, torch.Size]) -> None:
        """Give the memory the size that a state has it in."""
        self.memory = self.memory.new_zeros(shapes.get("memory", self.memory.shape))

    def begin_epoch(self, features: Float[Tensor, "images dim"], clusters: Int64[Tensor, " images"]) -> None:
        """Fill the memory with the mean directions of new clusters; -1 stands for images that belong to none."""
        self.memory = cluster_means(F.normalize(features), clusters).to(self.memory.device)

    def inputs(self, batch: Views, part: slice) -> tuple[Any, ...]:
        """Images."""
        return (batch["images"][part],)

    def targets(self, batch: Views, step: int) -> dict[str, Any]:
        """Return the clusters of the images; the losses leave the features beside them, for the memory."""
        del step
        return {"clusters": batch["clusters"], "features": list[Tensor]()}

    def losses(self, outputs: Any, batch: Views, targets: Any, part: slice) -> dict[str, Float[Tensor, ""]]:
        """Compare each feature with the memory of all clusters."""
        targets["features"].append(outputs.detach())
        clusters = batch["clusters"][part]
        return {"cluster": cluster_contrast(outputs, clusters, self.memory, temperature=self.temperature)}

    def after_update(self, targets: Any) -> None:
        """Let the memory follow the features of all ranks, in the order of the batch."""
        features = gather(torch.cat(targets["features"]), self.world)
        clusters = gather(targets["clusters"], self.world)
        self.memory = UPDATES[self.update](self.memory, features, clusters, momentum=self.momentum)

    def encoder(self) -> Encoder:
        """The backbone with its head."""
        return self.student.encoder

    def explanations(self) -> list[str]:
        """Say how the memory is kept."""
        follows = {"every": "every feature in turn", "hardest": "the least similar feature of each cluster"}
        return [
            f"cluster memory follows {follows[self.update]}, share of the old {self.momentum:g}, "
            f"temperature {self.temperature:g}"
        ]


LOSSES = {"cluster": "cluster contrast"}
"""Name of a loss -> what a reader calls it."""


def step_cost(config: AdaptConfig) -> float:
    """Return the cost of a step in forwards of its images, a backward being two."""
    del config
    return 3.0


def build(config: AdaptConfig, start: Encoder, *, trained_on: str, world: World) -> ClusterContrast:
    """Put a head on an encoder, with weights of `train.seed`; the head of an earlier fine-tuning is left behind."""
    torch.manual_seed(stream_key(config.train.seed, 0, "head"))
    settings = HeadSettings(**vars(config.head))
    head = create_head(start.backbone, settings)
    origin = {"recipe": config.recipe, "init": config.init, "seed": config.train.seed, "trained_on": trained_on}
    header = replace(start.header, head=settings, neck=config.test.neck, **origin)
    encoder = group_batch_norm(Encoder(start.backbone, header, head), norm_groups(config, world))
    memory = config.memory
    return ClusterContrast(
        UnitFeatures(encoder),
        dim=sum(head.part_dims),
        update=memory.update,
        momentum=memory.momentum,
        temperature=memory.temperature,
        world=world,
    )


def norm_groups(config: AdaptConfig, world: World) -> int:
    """Return the number of BatchNorm groups of one forward; InputError where clusters would be cut."""
    train = config.train
    forwards = world.size * train.accumulate
    if train.bn_groups % forwards or train.identities % max(train.bn_groups, forwards):
        raise InputError(
            f"batches of {train.identities} clusters in {train.bn_groups} BatchNorm groups do not divide over {world.size} "
            f"processes x {train.accumulate} backward passes; let --train.bn-groups be a multiple of {forwards} that divides "
            f"--train.identities"
        )
    return train.bn_groups // forwards
