"""The parts of a pre-training run."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import nn

from upreid.config.pretrain import MocoV2Config
from upreid.data.augment import PATCH_PRESETS, PRESETS, Augment, PatchGrid
from upreid.data.dataset import OriginalImages, Sample, collate
from upreid.data.loading import make_loader
from upreid.data.order import StepBatches
from upreid.data.sources.source import Source
from upreid.errors import InputError
from upreid.losses import consistency, intrinsic
from upreid.method import ConsistencyTerm, IntrinsicTerm, Method
from upreid.models.backbone import create_backbone, feature_map, feature_size, map_size, num_features
from upreid.models.batchnorm import group_batch_norm, sync_batch_norm
from upreid.models.momentum import momentum_copy
from upreid.models.network import Network, Projector
from upreid.models.queue import Queue
from upreid.runtime.compute import Compute
from upreid.runtime.distributed import World, averaging
from upreid.types import ImageBatch, Preprocess, Views


def preprocess(config: MocoV2Config) -> Preprocess:
    """Input size and normalisation of a pre-training run."""
    wanted = config.augment
    return Preprocess(height=wanted.height, width=wanted.width, mean=wanted.mean, std=wanted.std)


def augmentation(config: MocoV2Config) -> Augment:
    """What turns originals into views; views that no term needs are not made."""
    return Augment(
        PRESETS[config.augment.preset],
        preprocess=preprocess(config),
        seed=config.train.seed,
        original=config.consistency.weight > 0,
        patches=patch_grid(config) if config.intrinsic.weight > 0 else None,
        patch_preset=PATCH_PRESETS[config.intrinsic.preset],
    )


def grid(config: MocoV2Config) -> PatchGrid:
    """The grid that a picture, or its feature map, is cut on."""
    return PatchGrid(rows=config.intrinsic.rows, columns=config.intrinsic.columns)


def patch_grid(config: MocoV2Config) -> PatchGrid:
    """The grid of what the network gets: a picture in one piece, where the network cuts the map."""
    return PatchGrid(rows=1, columns=1) if config.intrinsic.source == "map" else grid(config)


Loaded = tuple[ImageBatch | Views, tuple[tuple[int, str], ...]]
"""What a loader gives: originals, or views where workers make them; and the files skipped for them, with reasons."""


class Prepare:
    """A loader's last act: stack decoded originals; on a CPU also make the views, in the worker."""

    def __init__(self, augment: Callable[[ImageBatch], Views] | None) -> None:
        self.augment = augment

    def __call__(self, samples: Sequence[Sample]) -> Loaded:
        """Return the batch and the files that had to be skipped for it."""
        batch = collate(samples)
        return (self.augment(batch) if self.augment else batch), batch.skipped


def loader(
    config: MocoV2Config,
    source: Source,
    augment: Augment,
    compute: Compute,
    world: World,
    first: int,
    last: int,
) -> Iterable[Loaded]:
    """This rank's batches for the steps from `first` to `last`, keyed by (seed, epoch, image)."""
    order = StepBatches(len(source), config.train.batch, seed=config.train.seed, first=first, last=last, world=world)
    size = config.augment
    images = OriginalImages(source, height=size.height, width=size.width, limit=config.data.unreadable_share)
    on_cpu = compute.device.type == "cpu"
    return make_loader(
        images,
        batch_sampler=order,
        collate=Prepare(augment if on_cpu else None),
        workers=compute.workers,
        pin=not on_cpu,
        prefetch=4,
    )


def network(config: MocoV2Config) -> Network:
    """Backbone and heads, with the weights of `train.seed`."""
    torch.manual_seed(config.train.seed)
    wanted = config.model
    backbone = create_backbone(
        wanted.backbone,
        height=config.augment.height,
        width=config.augment.width,
        channels=wanted.channels,
        last_stride=wanted.last_stride,
    )
    dim = num_features(backbone)
    heads = [Projector(dim, dim, wanted.embed_dim) for _ in range(2)]  # both drawn, so that a weight of 0 moves no seed
    if config.intrinsic.weight > 0:
        net = Network(backbone, heads[0], heads[1], regions(config, backbone))
    else:
        net = Network(backbone, heads[0], None)
    return sync_batch_norm(net) if wanted.sync_bn else group_batch_norm(net, wanted.bn_groups)


def regions(config: MocoV2Config, backbone: nn.Module) -> tuple[int, int] | None:
    """Rows and columns that the feature map is cut in; None where pixels are cut. InputError where the backbone cannot do it."""
    name, size = config.model.backbone, (config.augment.height, config.augment.width)
    feature_size(backbone, name, *patch_grid(config).patch_size(*size))
    if config.intrinsic.source == "pixels":
        return None
    grid(config).patch_size(*map_size(backbone, name, *size), what="a feature map")
    return config.intrinsic.rows, config.intrinsic.columns


def method(config: MocoV2Config, compute: Compute, world: World, steps_per_epoch: int) -> Method:
    """Network, momentum copy, queues and terms."""
    if config.model.sync_bn and compute.device.type == "cpu":
        raise InputError("--model.sync-bn works on GPUs only, and this run is on cpu; leave it out (shuffle-BN is on)")
    net = network(config).to(compute.device)
    if config.train.channels_last:
        net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    teacher = momentum_copy(net)
    if config.train.compile:
        for part in (net, teacher):
            part.backbone.compile(dynamic=False)  # in place: names in files stay; a graph for images, one for patches
            part.map_of = torch.compile(feature_map, dynamic=False)
    terms = consistency_term(config, steps_per_epoch), intrinsic_term(config, steps_per_epoch)
    dim, seed = config.model.embed_dim, config.train.seed
    keys = Queue(config.contrast.queue, dim, seed=seed).to(compute.device)
    wants_originals = terms[0] is not None and terms[0].reading.anchors == "originals"
    originals = Queue(config.contrast.queue, dim, seed=seed + 1).to(compute.device) if wants_originals else None
    kind = compute.device.type
    return Method(
        network=net,
        trained=averaging(net, compute.device, world),
        teacher=teacher,
        keys=keys,
        originals=originals,
        consistency=terms[0],
        intrinsic=terms[1],
        temperature=config.contrast.temperature,
        momentum=config.contrast.momentum,
        accumulate=config.train.accumulate,
        seed=seed,
        shuffles=not config.model.sync_bn and bn_shares(config, world) > 1,
        autocast=partial(torch.autocast, kind, dtype=torch.bfloat16, enabled=config.train.bf16),
        world=world,
    )


def bn_shares(config: MocoV2Config, world: World) -> int:
    """In how many parts BatchNorm sees the batch of a step."""
    return world.size * config.model.bn_groups * config.train.accumulate


def consistency_term(config: MocoV2Config, steps_per_epoch: int) -> ConsistencyTerm | None:
    """The global consistency term, or None at weight 0."""
    wanted = config.consistency
    if wanted.weight == 0:
        return None
    return ConsistencyTerm(
        reading=consistency.READINGS[wanted.reading],
        weight=wanted.weight,
        temperature=wanted.temperature,
        teacher_temperature=wanted.teacher_temperature,
        ramp_up=round(wanted.ramp_up_epochs * steps_per_epoch),
    )


def intrinsic_term(config: MocoV2Config, steps_per_epoch: int) -> IntrinsicTerm | None:
    """The intrinsic contrast term, or None at weight 0."""
    wanted = config.intrinsic
    if wanted.weight == 0:
        return None
    return IntrinsicTerm(
        loss=intrinsic.READINGS[wanted.reading].loss,
        weight=wanted.weight,
        temperature=wanted.temperature,
        hardest=wanted.hardest,
        columns=wanted.columns,
        ramp_up=round(wanted.ramp_up_epochs * steps_per_epoch),
    )
