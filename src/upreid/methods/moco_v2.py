"""MoCo v2 (https://arxiv.org/abs/2003.04297) on images of persons, with or without UP-ReID's I2 terms beside it.

L = L_contrast(query, key, queue)                    instance contrast
  + a * L_consistency(query | original)              I2, image: reading, see docs/paper.md
  + b * L_intrinsic(query patches, key patches)      I2, patch: reading, see docs/paper.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.config.pretrain import MocoV2Config
from upreid.data.augment import PRESETS, Augmentation, OriginalView, StrongView, ViewRequest
from upreid.errors import InputError
from upreid.losses import intrinsic
from upreid.losses.contrast import info_nce
from upreid.methods.intra_identity import (
    IntraIdentity,
    IntraIdentityTargets,
    IntrinsicContrast,
    consistency_of,
    intrinsic_of,
)
from upreid.methods.method import Method, rows_of
from upreid.methods.pretraining import Setup, header_of, seeded_backbone
from upreid.models.backbone import feature_map, feature_size, map_size, num_features
from upreid.models.batchnorm import group_batch_norm, sync_batch_norm
from upreid.models.encoder import Encoder
from upreid.models.header import EncoderHeader
from upreid.models.keys import Queue, follow, momentum_copy
from upreid.models.network import Network, Projector
from upreid.runtime.distributed import ALONE, World, gather
from upreid.runtime.seed import permutation
from upreid.types import Views

LOSSES = {"contrast": "instance contrast", "consistency": "global consistency", "intrinsic": "intrinsic contrast"}
"""Name of a loss -> what a reader calls it."""


@dataclass(frozen=True)
class MocoTargets:
    """What queries are compared with: the whole batch, all ranks together, without gradient."""

    keys: Float[Tensor, "images dim"]
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
        self.keys = Queue(queue, embed_dim, seed=seed)
        self.intra_identity, self.probe = intra_identity, probe
        self.view, self.temperature, self.momentum = view, temperature, momentum
        self.seed, self.accumulate, self.shuffles = seed, accumulate, shuffles
        self.batch_norm, self.warning, self.world = batch_norm, warning, world

    def views(self) -> Mapping[str, ViewRequest]:
        """Two strong views, and what the I2 terms look at."""
        strong = StrongView(preset=self.view)
        return {"query": strong, "key": strong, **self.intra_identity.views(self.view.flip_probability)}

    def before_update(self, step: int) -> None:
        """Let the momentum copy follow."""
        del step
        follow(self.teacher, self.student, self.momentum)

    @torch.no_grad()
    def targets(self, batch: Views, step: int) -> MocoTargets:
        """Keys, originals and key patches through the momentum copy, each in a forward of its own."""
        keys = self.embed_shuffled(batch["key"], step)
        extra = self.intra_identity.targets(batch, lambda images: self.embed_shuffled(images, step), self.embed_patches)
        return MocoTargets(keys, extra)

    def embed_shuffled(self, images: Float[Tensor, "batch 3 height width"], step: int) -> Float[Tensor, "images dim"]:
        """Embed this rank's images with the momentum copy; return the embeddings of all ranks' images.

        Shuffle-BN (MoCo, section 3.3): the ranks exchange images, each encodes a random share, and the
        embeddings go back to their places. In one process the shares are BatchNorm groups.
        """
        if not self.shuffles:
            return gather(self.embed(images), self.world)
        images = gather(images, self.world)
        order = torch.from_numpy(permutation(self.seed, step, len(images), purpose="shuffle"))
        order = order.to(images.device, non_blocking=True)
        images = images[order[self.world.share(len(order))]]
        return gather(self.embed(images), self.world)[order.argsort()]

    def embed(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Run the momentum copy in as many parts as the queries will be."""
        return torch.cat([self.teacher(part, None)[0] for part in images.chunk(self.accumulate)])

    def embed_patches(
        self, patches: Float[Tensor, "batch patches 3 height width"]
    ) -> Float[Tensor, "images parts dim"]:
        """Embed this rank's patches with the momentum copy; return those of all ranks."""
        parts = patches.chunk(self.accumulate)
        return gather(torch.cat([self.teacher(None, part)[1] for part in parts]), self.world)

    def inputs(self, batch: Views, part: slice) -> tuple[Any, ...]:
        """Queries, and their patches where a term looks at them."""
        patches = batch["query_patches"][part] if self.intra_identity.intrinsic is not None else None
        return batch["query"][part], patches

    def losses(self, outputs: Any, batch: Views, targets: MocoTargets, part: slice) -> dict[str, Float[Tensor, ""]]:
        """Compare queries with their keys, and what the terms compare."""
        del batch
        query, query_patches = outputs
        own = rows_of(part, self.world.share(len(targets.keys)).start, query.device)
        past = self.keys.keys
        contrast = info_nce(query, targets.keys[own], past, temperature=self.temperature)
        extra = self.intra_identity.losses(query, query_patches, targets.intra_identity, own, past)
        return {"contrast": contrast, **extra}

    def weights(self, step: int) -> Mapping[str, float]:
        """The contrast has weight 1; each I2 term has its own."""
        return self.intra_identity.weights(step)

    def after_update(self, targets: MocoTargets) -> None:
        """Push the keys, after the losses: own keys are never negatives (moco@132aea9)."""
        self.keys.push(targets.keys)
        self.intra_identity.push(targets.intra_identity)

    def encoder(self) -> Encoder:
        """The backbone that learns."""
        return Encoder(self.student.backbone, self.header)

    def compile_student(self) -> None:
        """Compile the backbones of both networks: a graph for images, and one for patches."""
        for network in (self.student, self.teacher):
            network.backbone.compile(dynamic=False)
            network.map_of = torch.compile(feature_map, dynamic=False)

    def diagnosis_views(self) -> Mapping[str, ViewRequest]:
        """Two strong views, the original and patches, whatever the terms are."""
        self.student.regions = regions(self.header, self.probe, self.student.backbone)
        strong, patches = StrongView(preset=self.view), self.probe.views(self.view.flip_probability)
        return {"query": strong, "key": strong, "original": OriginalView(), **patches}

    def diagnosis_protocol(self) -> dict[str, Any]:
        """Say how patches are cut."""
        probe = self.probe
        return {
            "patches": [probe.grid.rows, probe.grid.columns],
            "patch_source": "map" if probe.of_map else "pixels",
            "patch_preset": probe.preset,
        }

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
        lines = [f"BatchNorm: {self.batch_norm}", f"terms: contrast, {self.intra_identity.explanation()}"]
        return [*lines, self.warning] if self.warning else lines


def step_cost(config: MocoV2Config) -> float:
    """Return the cost of a step in forwards of its images, a backward being two: MoCo 4, originals 1, patches 4 more."""
    return 4.0 + (config.consistency.weight > 0) + 4.0 * (config.intrinsic.weight > 0)


def check(config: MocoV2Config, setup: Setup) -> None:
    """Raise InputError for settings that contradict each other, the device, or the number of processes."""
    model, term = config.model, config.intrinsic
    if model.sync_bn and model.bn_groups > 1:
        raise InputError(
            f"--model.sync-bn shares statistics, --model.bn-groups {model.bn_groups} splits them; choose one"
        )
    if model.sync_bn and setup.device.type == "cpu":
        raise InputError(
            "--model.sync-bn works on GPUs only, and this run is on cpu; say --model.no-sync-bn (shuffle-BN is on)"
        )
    if term.weight > 0:
        count = intrinsic.READINGS[term.reading].num_negatives
        available = count(term.rows * term.columns, term.columns, config.train.batch)
        intrinsic.check_negatives(available, term.hardest)


def build(config: MocoV2Config, setup: Setup) -> MocoV2:
    """Make the method of a configuration, with the weights of `train.seed`."""
    check(config, setup)
    sizes = {"queue": config.contrast.queue, "embed_dim": config.model.embed_dim, "seed": config.train.seed + 1}
    image_term = consistency_of(config.consistency, setup.steps_per_epoch, **sizes)
    patch_term = intrinsic_of(config.intrinsic, setup.steps_per_epoch)
    shares = setup.world.size * config.model.bn_groups * config.train.accumulate
    return MocoV2(
        network(config, patch_term if config.intrinsic.weight else None),
        header_of(config),
        view=PRESETS[config.augment.preset],
        intra_identity=IntraIdentity(image_term, patch_term if config.intrinsic.weight else None),
        probe=patch_term,
        queue=config.contrast.queue,
        embed_dim=config.model.embed_dim,
        temperature=config.contrast.temperature,
        momentum=config.contrast.momentum,
        seed=config.train.seed,
        accumulate=config.train.accumulate,
        shuffles=not config.model.sync_bn and shares > 1,
        batch_norm=batch_norm_line(config, setup.world),
        warning=queue_warning(config.contrast.queue, setup.num_images),
        world=setup.world,
    )


def network(config: MocoV2Config, term: IntrinsicContrast | None) -> Network:
    """Make backbone and heads; a patch head and the cutting of the map only where there is a term for patches."""
    backbone = seeded_backbone(config)
    dim = num_features(backbone)
    heads = [Projector(dim, dim, config.model.embed_dim) for _ in range(2)]  # both drawn: a weight of 0 moves no seed
    if term is None:
        net = Network(backbone, heads[0], None)
    else:
        net = Network(backbone, heads[0], heads[1], regions(header_of(config), term, backbone))
    return sync_batch_norm(net) if config.model.sync_bn else group_batch_norm(net, config.model.bn_groups)


def regions(header: EncoderHeader, term: IntrinsicContrast, backbone: nn.Module) -> tuple[int, int] | None:
    """Return rows and columns that the feature map is cut in, or None where pixels are cut.

    Raises InputError where the backbone cannot take the patches, or the grid does not divide its map.
    """
    name, size = header.backbone, (header.height, header.width)
    if not term.of_map:
        feature_size(backbone, name, *term.grid.patch_size(*size))
        return None
    term.grid.patch_size(*map_size(backbone, name, *size), what="a feature map")
    return term.grid.rows, term.grid.columns


def queue_warning(queue: int, num_images: int) -> str:
    """Say where the queue is too long for the images; an empty text where it is not."""
    half = num_images // 2
    if queue <= half:
        return ""
    return (
        f"warning: the queue of {queue} keys holds more than half of the {num_images} images "
        f"({half}); an image then often meets its own older key as a negative (lower --contrast.queue)"
    )


def batch_norm_line(config: MocoV2Config, world: World) -> str:
    """Say which protection against the BatchNorm leak is on."""
    groups = config.model.bn_groups * config.train.accumulate
    if config.model.sync_bn:
        return f"statistics over all {world.size} processes (SyncBN), keys not shuffled"
    if world.size > 1:
        return f"shuffle-BN over {world.size} processes x {groups} groups"
    if groups > 1:
        return f"one process, {groups} groups with permuted keys"
    return "one process, one group: query and key share statistics (--model.bn-groups 4 avoids it)"
