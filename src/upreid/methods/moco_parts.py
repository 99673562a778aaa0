"""From a configuration to the parts of MoCo v2: its checks, when each term is on, its network, and what the log says."""

from torch import nn

from upreid.config.pretrain import Consistency, Intrinsic, MocoV2Config
from upreid.data.augment import PATCH_PRESETS
from upreid.errors import InputError
from upreid.losses import intrinsic
from upreid.methods.intra_identity import GlobalConsistency, IntrinsicContrast
from upreid.methods.pretraining import Setup, header_of, num_steps, seeded_backbone
from upreid.methods.schedule import window
from upreid.methods.shares import Occasion, first_images
from upreid.models.backbone import feature_size, map_size, num_features
from upreid.models.batchnorm import group_batch_norm, sync_batch_norm
from upreid.models.header import EncoderHeader
from upreid.models.network import Network, Projector
from upreid.runtime.distributed import World

LOSSES = {
    "contrast": "instance contrast",
    "third_view": "contrast of a third view",
    "consistency": "global consistency",
    "intrinsic": "intrinsic contrast",
}
"""Name of a loss -> what a reader calls it."""


def step_cost(config: MocoV2Config) -> float:
    """Return the mean cost of a step in forwards of its images, a backward being two.

    MoCo costs 4: queries 3, keys 1. Originals cost 1 more, patches 4 (3 where no key patches are needed), and a third view 1 as a
    key and 3 as a query. A term counts with its share of the batch and of the training, and not where its forwards are there
    already.
    """
    image, patch, contrast = config.consistency, config.intrinsic, config.contrast
    originals = float(image.weight > 0 and contrast.key != "original")
    patches = (4.0 if patch.reading in intrinsic.READINGS else 3.0) * (patch.weight > 0 and patch.source != "views")
    third = {"none": 0.0, "key": 1.0, "query": 3.0}[contrast.third_view]
    terms = [(originals, image), (patches, patch)]
    return 4.0 + third + sum(cost * term.share * (term.end - term.begin) for cost, term in terms)


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
        count = intrinsic.LOSSES[term.reading].num_negatives
        images = round(term.share * config.train.batch)
        available = count(term.rows * term.columns, term.columns, images)
        intrinsic.check_negatives(available, term.hardest)
        if term.reading == "position" and (term.hardest is not None or term.rows * term.columns > model.embed_dim):
            raise InputError(
                f"--intrinsic.reading position tells {term.rows * term.columns} positions apart by --model.embed-dim "
                f"{model.embed_dim} numbers and mines no negatives; use a smaller grid, and leave --intrinsic.hardest out"
            )


def occasion(name: str, config: MocoV2Config, setup: Setup) -> Occasion:
    """Return the images and the steps of a term; raise InputError where it has none, although it has a weight."""
    term: Consistency | Intrinsic = getattr(config, name)
    if term.weight == 0 or (term.share, term.begin, term.end) == (1.0, 0.0, 1.0):
        return Occasion()
    if term.share < 1 and isinstance(term, Intrinsic) and term.source == "views":
        raise InputError(
            f"--intrinsic.share {term.share:g} saves nothing with --intrinsic.source views, whose forwards are there anyway; "
            "leave it out"
        )
    if isinstance(term, Consistency) and config.contrast.key == "original":
        raise InputError(
            "--consistency.share, --consistency.begin and --consistency.end save nothing with --contrast.key original, whose "
            "forwards are there anyway; leave them out"
        )
    model, accumulate, total = config.model, config.train.accumulate, num_steps(config, setup.steps_per_epoch)
    size = config.train.batch // (setup.world.size * accumulate * model.bn_groups)
    images = first_images(name, term.share, size=size, groups=model.bn_groups, accumulate=accumulate)
    steps = window(term.begin, term.end, total)
    if not steps:
        raise InputError(
            f"--{name}.begin {term.begin:g} and --{name}.end {term.end:g} leave none of the {total} steps to the term; "
            f"give fractions of the training of which the first is smaller, or --{name}.weight 0"
        )
    return Occasion(images=images, steps=steps if len(steps) < total else None)


def consistency_of(
    wanted: Consistency,
    steps_per_epoch: int,
    when: Occasion,
    *,
    queue: int,
    embed_dim: int,
    seed: int,
    knows_tracklets: bool,
) -> GlobalConsistency | None:
    """Make the image term of a configuration, or None at weight 0."""
    if wanted.weight == 0:
        return None
    return GlobalConsistency(
        wanted.reading,
        when=when,
        of=wanted.original,
        knows_tracklets=knows_tracklets,
        weight=wanted.weight,
        temperature=wanted.temperature,
        teacher_temperature=wanted.teacher_temperature,
        ramp_up=round(wanted.ramp_up_epochs * steps_per_epoch),
        queue=queue,
        embed_dim=embed_dim,
        seed=seed,
    )


def intrinsic_of(wanted: Intrinsic, steps_per_epoch: int, when: Occasion) -> IntrinsicContrast:
    """Make the patch term of a configuration, whatever its weight."""
    return IntrinsicContrast(
        wanted.reading,
        weight=wanted.weight,
        temperature=wanted.temperature,
        hardest=wanted.hardest,
        rows=wanted.rows,
        columns=wanted.columns,
        source=wanted.source,
        preset=wanted.preset,
        augmentation=PATCH_PRESETS[wanted.preset],
        when=when,
        ramp_up=round(wanted.ramp_up_epochs * steps_per_epoch),
    )


def network_of(config: MocoV2Config, term: IntrinsicContrast | None) -> Network:
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
    if term.source == "pixels":
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
