"""Cluster-Contrast: learn from clusters of unlabelled images (Dai et al., https://arxiv.org/abs/2103.11568).

Each epoch begins with a clustering of the images by the encoder as it is (`training/feeds/clustered.py`); outliers are left out.
The memory holds the mean direction of each cluster. Features are compared with it, and it follows them.

With a labelled source (domain adaptation as SpCL trains it, Ge et al., https://arxiv.org/abs/2006.02713) the memory holds the
source's people before the clusters, and a step has as many images of the source as of the target. Each set has a BatchNorm of
its own. SpCL's memory also holds each image that is in no cluster; here these are left out, as in Cluster-Contrast.
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
from upreid.models.batchnorm import affine_parameters, group_batch_norm, with_own_norms
from upreid.models.encoder import Encoder
from upreid.models.heads import HeadSettings, create_head
from upreid.models.network import deinterleave, interleave, interleaved_groups
from upreid.runtime.distributed import ALONE, World, gather
from upreid.runtime.seed import stream_key
from upreid.types import Views


class UnitFeatures(nn.Module):
    """An encoder whose features after the neck have unit length; a BatchNorm group is a contiguous part of the images.

    Images of a source go through `source`, a twin of the encoder that differs from it in BatchNorm only.
    """

    def __init__(self, encoder: Encoder, source: Encoder | None = None) -> None:
        super().__init__()
        self.encoder, self.source = encoder, source

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        of_source: Float[Tensor, "batch 3 height width"] | None = None,
    ) -> Float[Tensor, "rows dim"]:
        """Return features in single precision or better, also under autocast; those of the source come last."""
        features = unit_features(self.encoder, images)
        if of_source is None:
            return features
        assert self.source is not None
        return torch.cat([features, unit_features(self.source, of_source)])


def unit_features(encoder: Encoder, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
    """Encode images and scale the features to unit length."""
    groups = interleaved_groups(encoder)
    features = encoder.after_neck(interleave(images[:, None], groups))
    exact = features if features.dtype.itemsize >= 4 else features.float()
    return F.normalize(deinterleave(exact, groups, 1)[:, 0])


class ClusterContrast(Method):
    """Images of clusters, P of them with K images each in a batch; views `images` and `clusters`.

    With a source there are as many images of its people: views `source_images` and `people`. People and clusters are rows of the
    memory, the people first. A batch without `clusters` learns from the source alone: its other images move the target's running
    statistics, and the affine parameters of the target follow those of the source.
    """

    student: UnitFeatures
    memory: Float[Tensor, "classes dim"]

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

    def begin_epoch(self, features: Float[Tensor, "images dim"], classes: Int64[Tensor, " images"]) -> None:
        """Fill the memory with the mean directions of people and new clusters; -1 stands for images that belong to none."""
        self.memory = cluster_means(F.normalize(features), classes).to(self.memory.device)

    def inputs(self, batch: Views, part: slice) -> tuple[Any, ...]:
        """Images, and those of the source where there is one."""
        return tuple(batch[name][part] for name in ("images", "source_images") if name in batch)

    def targets(self, batch: Views, step: int) -> dict[str, Any]:
        """Return room for the features of the step and their classes, which the memory is to follow."""
        del step
        return {"features": list[Tensor](), "classes": list[Tensor](), "is_alone": "clusters" not in batch}

    def losses(self, outputs: Any, batch: Views, targets: Any, part: slice) -> dict[str, Float[Tensor, ""]]:
        """Compare each feature with the memory of all people and clusters; a loss is a mean over the images of one set."""
        found: dict[str, Float[Tensor, ""]] = {}
        for (name, labels), features in zip(SETS, outputs.split(part.stop - part.start), strict=False):
            if labels in batch:
                classes = batch[labels][part]
                targets["features"].append(features.detach())
                targets["classes"].append(classes)
                found[name] = cluster_contrast(features, classes, self.memory, temperature=self.temperature)
        if targets["is_alone"]:  # DistributedDataParallel waits for a gradient of every parameter
            found["source"] = found["source"] + 0.0 * outputs.sum()
        return found

    @torch.no_grad()
    def after_update(self, targets: Any) -> None:
        """Let the memory follow the features of all ranks, in the order of the batch."""
        features, classes = (gather(torch.cat(targets[name]), self.world) for name in ("features", "classes"))
        self.memory = UPDATES[self.update](self.memory, features, classes, momentum=self.momentum)
        if targets["is_alone"]:
            assert self.student.source is not None
            known = affine_parameters(self.student.source)
            for own, of_source in zip(affine_parameters(self.student.encoder), known, strict=True):
                own.copy_(of_source)

    def encoder(self) -> Encoder:
        """The backbone with its head."""
        return self.student.encoder

    def source_encoder(self) -> Encoder | None:
        """Return the encoder with the BatchNorm of the source, which nothing exports."""
        return self.student.source

    def explanations(self) -> list[str]:
        """Say how the memory is kept, and how a source is normalised."""
        follows = {"every": "every feature in turn", "hardest": "the least similar feature of each cluster"}
        domains = (
            "source and target each have a BatchNorm of their own; the target's is in the encoder that is exported"
        )
        return [
            f"cluster memory follows {follows[self.update]}, share of the old {self.momentum:g}, "
            f"temperature {self.temperature:g}",
            *([] if self.student.source is None else [domains]),
        ]


LOSSES = {"cluster": "cluster contrast", "source": "source contrast"}
"""Name of a loss -> what a reader calls it."""
SETS = (("cluster", "clusters"), ("source", "people"))
"""Loss of each set of images, and the view that holds their classes: the target, then the source."""


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
        UnitFeatures(encoder, with_own_norms(encoder) if config.source.name else None),
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
