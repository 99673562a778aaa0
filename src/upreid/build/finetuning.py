"""The parts of a fine-tuning run."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import Dataset

from upreid.config.finetune import FinetuneConfig
from upreid.data.augment.downstream import DownstreamAugment, black
from upreid.data.dataset import LabelledImages
from upreid.data.loading import make_loader
from upreid.data.pk_batches import PKBatches
from upreid.data.records import Record, cameras, people
from upreid.errors import InputError
from upreid.models.encoder import Encoder
from upreid.models.heads import HeadSettings, create_head
from upreid.models.trainee import Trainee
from upreid.runtime.compute import Compute
from upreid.runtime.distributed import World
from upreid.runtime.schedule import cosine, staircase, warm_up
from upreid.runtime.seed import stream_key
from upreid.types import Preprocess

CACHE_BYTES = 2_000_000_000
"""A training set whose input tensors are smaller than this is decoded once and kept."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One rank's part of a step."""

    images: Float[Tensor, "batch 3 height width"]
    people: Int64[Tensor, " batch"]
    """Numbered from 0."""
    cameras: Int64[Tensor, " batch"]


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Labelled images in batches of P people with K images each."""

    images: Dataset[Tensor]
    people: Int64[Tensor, " images"]
    """Numbered from 0."""
    cameras: Int64[Tensor, " images"]
    batches: PKBatches
    compute: Compute
    world: World

    @property
    def num_people(self) -> int:
        """Classes of the identity loss."""
        return int(self.people.max()) + 1

    def steps(self, first: int, total: int) -> Iterator[Batch]:
        """Yield this rank's part of the steps from `first` to `total`: P / ranks people."""
        whole = [places for _, places in self.batches.steps(total)][first:]
        order = [places[self.world.share(len(places))] for places in whole]
        if isinstance(self.images, Cached):
            images = (self.images.tensor[places] for places in order)
        else:
            images = make_loader(self.images, batch_sampler=order, workers=self.compute.workers)
        for tensor, places in zip(images, order, strict=True):
            yield Batch(images=tensor, people=self.people[places], cameras=self.cameras[places])


class Cached(Dataset[Tensor]):
    """Images decoded once."""

    def __init__(self, images: LabelledImages, compute: Compute) -> None:
        loader = make_loader(images, batch_size=64, workers=compute.workers)
        self.tensor: Float[Tensor, "images 3 height width"] = torch.cat(list(loader))

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: int) -> Tensor:
        """One image."""
        return self.tensor[index]


def pk_batches(config: FinetuneConfig, records: Sequence[Record], world: World) -> PKBatches:
    """The order of the images; InputError where P x K is impossible for them, or for so many processes."""
    wanted = config.train
    if wanted.identities % world.size:
        raise InputError(
            f"batches of {wanted.identities} people do not divide over {world.size} processes; "
            f"use --train.identities {-(-wanted.identities // world.size) * world.size}"
        )
    return PKBatches(
        people(records), people_per_batch=wanted.identities, images_per_person=wanted.images, seed=wanted.seed
    )


def training_set(
    config: FinetuneConfig, records: Sequence[Record], preprocess: Preprocess, compute: Compute, world: World
) -> TrainingSet:
    """Number the people, and keep the images in memory where they are few."""
    batches = pk_batches(config, records, world)  # first: it refuses before minutes are spent on decoding
    number = {person: place for place, person in enumerate(sorted(set(people(records))))}
    images = LabelledImages(records, preprocess)
    is_small = len(records) * 3 * preprocess.height * preprocess.width * 4 < CACHE_BYTES
    return TrainingSet(
        images=Cached(images, compute) if is_small else images,
        people=torch.tensor([number[person] for person in people(records)]),
        cameras=torch.tensor(cameras(records)),
        batches=batches,
        compute=compute,
        world=world,
    )


def trainee(config: FinetuneConfig, start: Encoder, data: TrainingSet, trained_on: str) -> Trainee:
    """Put head and classifiers on the encoder, with weights of `train.seed`."""
    torch.manual_seed(stream_key(config.train.seed, 0, "head"))
    wanted = asdict(config.head)
    seen = tuple(sorted(set(data.cameras.tolist()))) if config.head.camera_weight else ()
    settings = HeadSettings(**wanted, cameras=seen)
    origin = {"recipe": config.recipe, "init": config.init, "seed": config.train.seed, "trained_on": trained_on}
    header = replace(start.header, head=settings, **origin)
    encoder = Encoder(start.backbone, header, create_head(start.backbone, settings))
    classifier = "cosine" if config.loss.identity == "circle" else "linear"
    net = Trainee(encoder, data.num_people, classifier=classifier, compared=config.loss.triplet_on)
    net = net.to(data.compute.device)
    return net.to(memory_format=torch.channels_last) if config.train.channels_last else net  # pyright: ignore


def set_frozen(net: Trainee, *, frozen: bool) -> None:
    """Let the backbone and the head's copies of it stand still, BatchNorm's statistics too, or learn."""
    net.train()
    for module in net.body():
        module.train(not frozen)
        for parameter in module.parameters():
            parameter.requires_grad_(not frozen)


def optimiser(config: FinetuneConfig, net: Trainee) -> torch.optim.Optimizer:
    """Adam or SGD over everything that ever learns; the rate is set at every step."""
    wanted, learning = config.optim, [parameter for parameter in net.parameters() if parameter.requires_grad]
    if wanted.name == "sgd":
        return torch.optim.SGD(learning, lr=wanted.lr, momentum=0.9, weight_decay=wanted.weight_decay, fused=True)
    return torch.optim.Adam(learning, lr=wanted.lr, weight_decay=wanted.weight_decay, fused=True)


def augmentation(config: FinetuneConfig, preprocess: Preprocess) -> DownstreamAugment:
    """Pad and crop, mirror, erase."""
    wanted = config.input
    colours = {"mean": (0.0, 0.0, 0.0), "black": black(preprocess.mean, preprocess.std)}
    return DownstreamAugment(
        seed=config.train.seed,
        pad=wanted.pad,
        flip_probability=wanted.flip_probability,
        erase_probability=wanted.erase_probability,
        pad_colour=colours[wanted.pad_colour],
        erase_colour=colours[wanted.erase_colour],
    )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Steps of a run, and the learning rate at each."""

    config: FinetuneConfig
    steps: int
    steps_per_epoch: int

    @property
    def frozen_steps(self) -> int:
        """So long the backbone stands still."""
        return round(self.config.train.freeze_epochs * self.steps_per_epoch)

    def lr_at(self, step: int) -> float:
        """Learning rate of a step."""
        optim = self.config.optim
        length = optim.warmup_steps
        if length is None:
            length = min(round(optim.warmup_epochs * self.steps_per_epoch), self.steps)
        begin = optim.lr * warm_up(step, length=length, start=optim.warmup_start)
        if optim.schedule == "cosine":
            first = max(length, round(optim.plateau_epochs * self.steps_per_epoch))
            return begin * cosine(step, first=first, total=self.steps, last=optim.final_lr / optim.lr)
        milestones = tuple(round(epoch * self.steps_per_epoch) for epoch in optim.milestones)
        return begin * staircase(step, milestones=milestones)


def schedule(config: FinetuneConfig, batches: PKBatches) -> Schedule:
    """Turn epochs into steps."""
    per_epoch = len(batches.epoch(0))
    steps = config.train.steps if config.train.steps is not None else max(round(config.train.epochs * per_epoch), 1)
    return Schedule(config=config, steps=steps, steps_per_epoch=per_epoch)
