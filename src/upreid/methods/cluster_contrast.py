"""Cluster-Contrast: learn from clusters of unlabelled images (Dai et al., https://arxiv.org/abs/2103.11568).

Each epoch begins with a clustering of the images by the encoder as it is (`training/feeds/clustered.py`); outliers are left out.
The memory holds the mean direction of each cluster. Features are compared with it, and it follows them.

With a labelled source (domain adaptation as SpCL trains it, Ge et al., https://arxiv.org/abs/2006.02713) the memory holds the
source's people before the clusters, and a step has as many images of the source as of the target. Each set has a BatchNorm of
its own. With SpCL's hybrid memory (`hybrid_memory.py`) each image that is in no cluster is learnt from too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.config.adapt import AdaptConfig, MemoryOptions
from upreid.errors import InputError
from upreid.methods.camera_memory import CameraMemory
from upreid.methods.cluster_memory import ClusterMemory, FeatureMemory
from upreid.methods.hybrid_memory import HybridMemory
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

    With a source there are as many images of its people: views `source_images` and `people`. People and clusters are classes of
    the memory, the people first. What the memory asks for beside is a view of that name, of the source with `source_` before it.
    A batch without `clusters` learns from the source alone: its other images move the target's running statistics, and the affine
    parameters of the target follow those of the source.
    """

    student: UnitFeatures
    memory: FeatureMemory

    def __init__(self, student: UnitFeatures, memory: FeatureMemory, *, world: World = ALONE) -> None:
        super().__init__()
        self.student, self.memory, self.world = student, memory, world

    def named_buffers(self, *given: Any, **settings: Any) -> Iterator[tuple[str, Tensor]]:
        """Name the vectors of a cluster memory `memory`, as in states that were saved before there were other memories."""
        for name, buffer in super().named_buffers(*given, **settings):
            yield VECTORS_IN_STATES if name == VECTORS else name, buffer

    def make_room(self, shapes: Mapping[str, torch.Size]) -> None:
        """Give the memory the sizes that a state has it in."""
        known = {VECTORS if name == VECTORS_IN_STATES else name: shape for name, shape in shapes.items()}
        self.memory.make_room({name.removeprefix("memory."): shape for name, shape in known.items()})

    def begin_epoch(
        self,
        features: Float[Tensor, "images dim"],
        classes: Int64[Tensor, " images"],
        cameras: Int64[Tensor, " images"],
    ) -> None:
        """Fill the memory with the features of all images; class -1 stands for images that belong to none."""
        self.memory.fill(features, classes, cameras)

    def inputs(self, batch: Views, part: slice) -> tuple[Any, ...]:
        """Images, and those of the source where there is one."""
        return tuple(batch[name][part] for name in ("images", "source_images") if name in batch)

    def targets(self, batch: Views, step: int) -> dict[str, Any]:
        """Return room for the features of the step and what is known of them, which the memory is to follow."""
        del step
        return {"seen": {name: list[Tensors]() for name in LOSSES}, "is_alone": "clusters" not in batch}

    def losses(self, outputs: Any, batch: Views, targets: Any, part: slice) -> dict[str, Float[Tensor, ""]]:
        """Compare each feature with the memory of all people and clusters; a loss is a mean over the images of one set."""
        found: dict[str, Float[Tensor, ""]] = {}
        for (name, labels, prefix), features in zip(SETS, outputs.split(part.stop - part.start), strict=False):
            if labels in batch:
                known = {"classes": labels} | {asked: prefix + asked for asked in self.memory.asks}
                known = {what: batch[view][part] for what, view in known.items()}
                targets["seen"][name].append({"features": features.detach(), **known})
                found |= self.memory.losses(name, features, known)
        if targets["is_alone"]:  # DistributedDataParallel waits for a gradient of every parameter
            found["source"] = found["source"] + 0.0 * outputs.sum()
        return found

    def weights(self, step: int) -> Mapping[str, float]:
        """Return what the memory says."""
        del step
        return self.memory.weights()

    @torch.no_grad()
    def after_update(self, targets: Any) -> None:
        """Let the memory follow the features of all ranks, in the order of the batch."""
        for parts in targets["seen"].values():
            if parts:
                seen = {what: gather(torch.cat([part[what] for part in parts]), self.world) for what in parts[0]}
                self.memory.follow(seen.pop("features"), seen)
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
        domains = (
            "source and target each have a BatchNorm of their own; the target's is in the encoder that is exported"
        )
        return [self.memory.explanation(), *([] if self.student.source is None else [domains])]


Tensors = dict[str, Tensor]
VECTORS, VECTORS_IN_STATES = "memory.vectors", "memory"
LOSSES = {"cluster": "cluster contrast", "source": "source contrast"} | {
    "camera": "contrast within cameras",
    "across_cameras": "contrast across cameras",
}
"""Name of a loss -> what a reader calls it."""
SETS = (("cluster", "clusters", ""), ("source", "people", "source_"))
"""Loss of each set of images, the view that holds their classes, and what its other views begin with: the target, the source."""


def step_cost(config: AdaptConfig) -> float:
    """Return the cost of a step in forwards of its images, a backward being two."""
    del config
    return 3.0


def build(
    config: AdaptConfig, start: Encoder, *, trained_on: str, world: World, num_people: int = 0
) -> ClusterContrast:
    """Put a head on an encoder, with weights of `train.seed`; the head of an earlier fine-tuning is left behind.

    `num_people`: number of people of the source.
    """
    torch.manual_seed(stream_key(config.train.seed, 0, "head"))
    settings = HeadSettings(**vars(config.head))
    head = create_head(start.backbone, settings)
    origin = {"recipe": config.recipe, "init": config.init, "seed": config.train.seed, "trained_on": trained_on}
    header = replace(start.header, head=settings, neck=config.test.neck, **origin)
    encoder = group_batch_norm(Encoder(start.backbone, header, head), norm_groups(config, world))
    return ClusterContrast(
        UnitFeatures(encoder, with_own_norms(encoder) if config.source.name else None),
        create_memory(config.memory, sum(head.part_dims), num_people),
        world=world,
    )


def create_memory(settings: MemoryOptions, dim: int, num_people: int) -> FeatureMemory:
    """Make the memory of a configuration, empty."""
    if settings.kind == "hybrid":
        return HybridMemory(dim, num_people=num_people, momentum=settings.momentum, temperature=settings.temperature)
    how = {"update": settings.update, "momentum": settings.momentum, "temperature": settings.temperature}
    if settings.kind == "camera-proxies":
        return CameraMemory(dim, negatives=settings.negatives, across_weight=settings.across_weight, **how)
    return ClusterMemory(dim, **how)


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
