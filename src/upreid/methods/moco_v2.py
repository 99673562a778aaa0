"""MoCo v2 (https://arxiv.org/abs/2003.04297) on images of persons, with or without UP-ReID's I2 terms beside it.

L = L_contrast(query, key, queue)                    instance contrast
  + a * L_consistency(query | original)              I2, image: reading, see docs/paper.md
  + b * L_intrinsic(query patches, key patches)      I2, patch: reading, see docs/paper.md
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.config.pretrain import KeySource, Mates, MocoV2Config, ThirdView
from upreid.data.augment import PRESETS, Augmentation, OriginalView, StrongView, TrackletNumber, ViewRequest
from upreid.losses.contrast import info_nce, mean_nce
from upreid.methods.intra_identity import IntraIdentity, IntraIdentityTargets, IntrinsicContrast
from upreid.methods.method import Method
from upreid.methods.moco_parts import LOSSES as LOSSES
from upreid.methods.moco_parts import (
    batch_norm_line,
    check,
    consistency_of,
    intrinsic_of,
    network_of,
    occasion,
    queue_warning,
    regions,
)
from upreid.methods.moco_parts import step_cost as step_cost
from upreid.methods.momentum import MomentumForwards
from upreid.methods.pretraining import Setup, header_of
from upreid.methods.shares import BatchPart, Occasion
from upreid.models.backbone import feature_map, features_and_map
from upreid.models.encoder import Encoder
from upreid.models.header import EncoderHeader
from upreid.models.keys import Queue, follow, momentum_copy
from upreid.models.network import Network, groups_of
from upreid.runtime.distributed import ALONE, World, gather
from upreid.types import Views

ROLES = {"left-out": "left out", "positives": "as further positives"}
"""What older keys of the query's own tracklet are, where they are no negatives, in the words of the log."""


@dataclass(frozen=True)
class MocoTargets:
    """What queries are compared with: the whole batch, all ranks together, without gradient."""

    keys: Float[Tensor, "images dim"]
    third: Float[Tensor, "images dim"] | None
    """Second keys of the queries."""
    tracklets: Int64[Tensor, " images"] | None
    """Number of the tracklet of each key, where older keys of it are no negatives."""
    intra_identity: IntraIdentityTargets


class MocoV2(Method):
    """A query finds its key among past keys; a momentum copy of the network makes keys, originals and key patches.

    With `accumulate` above 1 the key forwards are split as the query forwards are; `shuffles` permutes the whole batch before a
    key forward, so that no key meets the BatchNorm group of its query. `probe` says how a diagnosis cuts patches, also where no
    term does.
    """

    student: Network

    def __init__(
        self,
        network: Network,
        header: EncoderHeader,
        *,
        view: Augmentation,
        intra_identity: IntraIdentity,
        probe: IntrinsicContrast,
        queue: int,
        embed_dim: int,
        key_source: KeySource = "view",
        third_view: ThirdView = "none",
        mates: Mates = "negatives",
        temperature: float,
        momentum: float,
        seed: int,
        accumulate: int = 1,
        shuffles: bool = False,
        batch_norm: str = "",
        warning: str = "",
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.student, self.teacher, self.header = network, momentum_copy(network), header
        self.keys = Queue(queue, embed_dim, seed=seed, numbered=mates != "negatives")
        self.intra_identity, self.probe = intra_identity, probe
        self.view, self.temperature, self.momentum = view, temperature, momentum
        self.key_source, self.third_view, self.mates = key_source, third_view, mates
        self.accumulate = accumulate
        self.forwards = MomentumForwards(seed=seed, accumulate=accumulate, shuffles=shuffles, world=world)
        self.batch_norm, self.warning, self.world = batch_norm, warning, world

    def views(self) -> Mapping[str, ViewRequest]:
        """Two strong views, or one and the original, and what the I2 terms look at.

        Where tracklets are known, the key is made of another crop of the query's. Where older keys of a tracklet are no
        negatives, the batch holds its number.
        """
        strong, extra = StrongView(preset=self.view), self.intra_identity.views(self.view)
        extra |= {"third": strong} if self.third_view != "none" else {}
        extra |= {"tracklets": TrackletNumber(of_mate=True)} if self.mates != "negatives" else {}
        if self.key_source == "view":
            return {"query": strong, "key": replace(strong, of_mate=True), **extra}
        extra = {
            name: view for name, view in extra.items() if name not in ("original", "key_box")
        }  # keys are originals
        return {"query": strong, "key": OriginalView(), **extra}

    def phase(self, step: int) -> bool:
        """Let the patch head learn in those steps only in which there are patches: several ranks must know what learns."""
        term, head = self.intra_identity.intrinsic, self.student.patch_head
        if term is None or head is None or term.when.steps is None:
            return False
        learns = step in term.when.steps
        changes = any(parameter.requires_grad != learns for parameter in head.parameters())
        head.requires_grad_(learns)
        return changes

    def before_update(self, step: int) -> None:
        """Let the momentum copy follow."""
        del step
        follow(self.teacher, self.student, self.momentum)

    @torch.no_grad()
    def targets(self, batch: Views, step: int) -> MocoTargets:
        """Keys, originals and key patches through the momentum copy, each in a forward of its own where there is none yet."""
        whole = self.part(slice(0, len(batch["key"]) // self.accumulate), len(batch["key"]))
        forwards, teacher = self.forwards, self.teacher

        def originals(images: Tensor) -> Tensor:
            return forwards.shuffled(teacher, images, step, groups=whole.norm_groups(len(images)))[0]

        def patches(pictures: Tensor) -> Tensor:
            return forwards.patches(teacher, pictures, whole.norm_groups(len(pictures)))

        overlap = self.intra_identity.overlap(batch)
        keys, regions = forwards.shuffled(teacher, batch["key"], step, boxes=overlap.in_key if overlap else None)
        there = {"originals": keys if self.key_source == "original" else None, "regions": regions}
        third = forwards.shuffled(teacher, batch["third"], step)[0] if self.third_view == "key" else None
        tracklets = gather(batch["tracklets"], self.world) if "tracklets" in batch else None
        return MocoTargets(
            keys, third, tracklets, self.intra_identity.targets(batch, originals, patches, self.world, **there)
        )

    def part(self, rows: slice, batch: int) -> BatchPart:
        """Say which part of this rank's batch some rows are."""
        return BatchPart(rows=rows, batch=batch, groups=groups_of(self.student.backbone), world=self.world)

    def inputs(self, batch: Views, part: slice) -> tuple[Any, ...]:
        """Queries, and the patches of their images where a term looks at them."""
        query, overlap = batch["query"][part], self.intra_identity.overlap(batch)
        boxes = overlap.in_query[part] if overlap else None
        third = batch["third"][part] if self.third_view == "query" else None
        if not self.intra_identity.has_patches(batch):
            return query, None, None, boxes, third
        patches, rows = batch["query_patches"], self.part(part, len(batch["query"]))
        return query, patches[rows.of_view(len(patches))], rows.norm_groups(len(patches)), boxes, third

    def losses(self, outputs: Any, batch: Views, targets: MocoTargets, part: slice) -> dict[str, Float[Tensor, ""]]:
        """Compare queries with their keys, and what the terms compare."""
        query, query_patches = outputs
        count = len(batch["query"])
        rows = self.part(part, count)
        own = rows.places(count, query.device)
        query, *others = query.split(part.stop - part.start)
        mates = self.keys.of_tracklets(None if targets.tracklets is None else targets.tracklets[own])
        losses = {"contrast": self.contrast(query, targets.keys[own], mates)}
        if targets.third is not None:
            losses["third_view"] = self.contrast(query, targets.third[own], mates)
        for third in others:
            losses["third_view"] = self.contrast(third, targets.keys[own], mates)
        counts = overlap.counts if (overlap := self.intra_identity.overlap(batch)) else None
        counts = None if counts is None else counts / gather(counts, self.world).mean().clamp(min=1e-6)
        return losses | self.intra_identity.losses(
            query, query_patches, targets.intra_identity, rows, self.keys, counts
        )

    def contrast(
        self, query: Float[Tensor, "part dim"], key: Float[Tensor, "part dim"], mates: Bool[Tensor, "part queue"] | None
    ) -> Float[Tensor, ""]:
        """Compare queries with their keys and all past ones, of which the `mates` come from the query's tracklet."""
        if self.mates == "positives" and mates is not None:
            return mean_nce(query, key, self.keys.keys, mates, temperature=self.temperature)
        return info_nce(query, key, self.keys.keys, temperature=self.temperature, left_out=mates)

    def weights(self, step: int) -> Mapping[str, float]:
        """The contrast has weight 1; each I2 term has its own."""
        return self.intra_identity.weights(step)

    def after_update(self, targets: MocoTargets) -> None:
        """Push the keys, after the losses: own keys are never negatives (moco@132aea9)."""
        self.keys.push(targets.keys, targets.tracklets)
        self.intra_identity.push(targets.intra_identity)

    def encoder(self) -> Encoder:
        """The backbone that learns."""
        return Encoder(self.student.backbone, self.header)

    def compile_student(self) -> None:
        """Compile the backbones of both networks: a graph for images, and one for patches."""
        for network in (self.student, self.teacher):
            network.backbone.compile(dynamic=False)
            network.map_of = torch.compile(feature_map, dynamic=False)
            network.both_of = torch.compile(features_and_map, dynamic=False)

    def diagnosis_views(self) -> Mapping[str, ViewRequest]:
        """The views of the losses, of all images, and also the original and patches where no term asks for them."""
        self.student.regions = regions(self.header, self.probe, self.student.backbone)
        patches = self.probe.patches(self.view.flip_probability, Occasion())
        views = {name: view for name, view in self.views().items() if not isinstance(view, TrackletNumber)}
        own = {name: replace(view, images=None, steps=None) for name, view in views.items()}
        return {**own, "original": OriginalView(), **patches}

    def diagnosis_protocol(self) -> dict[str, Any]:
        """Say how patches are cut."""
        probe = self.probe
        size = [probe.grid.rows, probe.grid.columns]
        return {"patches": size, "patch_source": probe.source, "patch_preset": probe.preset}

    @torch.no_grad()
    def embeddings(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Embed images with the network that learns, by its running statistics."""
        self.student.eval()
        return self.student(images, None)[0]

    @torch.no_grad()
    def patch_vectors(
        self, patches: Float[Tensor, "images patches 3 height width"]
    ) -> dict[str, Float[Tensor, "images parts dim"]]:
        """Return the backbone's features of patches, and under `head_` the patch head's embeddings, where there is one.

        Patches are normalised by the statistics of patches, as in training.
        """
        self.student.train()
        features = self.student.patch_features(patches)
        head = self.student.patch_head
        vectors = {"": F.normalize(features.float(), dim=-1)}
        return vectors if head is None else {**vectors, "head_": head(features)}

    def learning(self) -> list[nn.Parameter]:
        """Every parameter, as in MoCo and LUPerson."""
        return list(self.student.parameters())

    def explanations(self) -> list[str]:
        """BatchNorm's protection, and the terms."""
        base = "contrast" + (" with originals as keys" if self.key_source == "original" else "")
        base += f", a third view as {self.third_view}" if self.third_view != "none" else ""
        base += f", older keys of the own tracklet {ROLES[self.mates]}" if self.mates != "negatives" else ""
        lines = [f"BatchNorm: {self.batch_norm}", f"terms: {base}, {self.intra_identity.explanation()}"]
        return [*lines, self.warning] if self.warning else lines


def build(config: MocoV2Config, setup: Setup) -> MocoV2:
    """Make the method of a configuration, with the weights of `train.seed`."""
    check(config, setup)
    sizes = {"queue": config.contrast.queue, "embed_dim": config.model.embed_dim, "seed": config.train.seed + 1}
    occasions = [occasion(name, config, setup) for name in ("consistency", "intrinsic")]
    knows = {"knows_tracklets": config.contrast.mates != "negatives"}
    image_term = consistency_of(config.consistency, setup.steps_per_epoch, occasions[0], **sizes, **knows)
    patch_term = intrinsic_of(config.intrinsic, setup.steps_per_epoch, occasions[1])
    shares = setup.world.size * config.model.bn_groups * config.train.accumulate
    return MocoV2(
        network_of(config, patch_term if config.intrinsic.weight else None),
        header_of(config),
        view=PRESETS[config.augment.preset],
        intra_identity=IntraIdentity(image_term, patch_term if config.intrinsic.weight else None),
        probe=patch_term,
        queue=config.contrast.queue,
        embed_dim=config.model.embed_dim,
        key_source=config.contrast.key,
        third_view=config.contrast.third_view,
        mates=config.contrast.mates,
        temperature=config.contrast.temperature,
        momentum=config.contrast.momentum,
        seed=config.train.seed,
        accumulate=config.train.accumulate,
        shuffles=not config.model.sync_bn and shares > 1,
        batch_norm=batch_norm_line(config, setup.world),
        warning=queue_warning(config.contrast.queue, setup.num_images),
        world=setup.world,
    )
