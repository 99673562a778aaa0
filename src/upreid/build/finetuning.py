"""The parts of a fine-tuning run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from upreid.config.downstream import FinetuneConfig
from upreid.data.dataset import LabelledImages
from upreid.data.pk_batches import PKBatches
from upreid.errors import InputError
from upreid.models.backbone import create_backbone, feature_size, require_resnet, set_last_stride
from upreid.models.encoder import Encoder, EncoderHeader, load_encoder
from upreid.runtime.compute import Compute
from upreid.runtime.schedule import warmup_cosine, warmup_steps
from upreid.types import Preprocess, Record

CACHE_BYTES = 2_000_000_000
"""A training set whose input tensors are smaller than this is decoded once and kept."""


def starting_point(config: FinetuneConfig) -> tuple[Encoder, list[str]]:
    """The encoder to begin with, flags applied over its header, and sentences on which of the two decided what."""
    encoder = random_start(config) if config.init == "random" else load_encoder(existing(config.init))
    source = "[random] of the recipe" if config.init == "random" else "the encoder's header"
    wanted = config.input
    given = {
        name: value
        for name in ("height", "width", "mean", "std", "last_stride")
        if (value := getattr(wanted, name)) is not None and value != getattr(encoder.header, name)
    }
    header = replace(encoder.header, **given)
    sentences = [f"backbone {header.backbone} from {source}"]
    for name in ("height", "width", "mean", "std", "last_stride"):
        flag = f"--input.{name.replace('_', '-')} (recipe or command line)"
        sentences.append(f"{name} {getattr(header, name)} from {flag if name in given else source}")
    if "last_stride" in given:
        set_last_stride(require_resnet(encoder.backbone, header.backbone, "--input.last-stride"), given["last_stride"])
    if isinstance(encoder.backbone, VisionTransformer) and not {"height", "width"}.isdisjoint(given):
        encoder.backbone.set_input_size(img_size=(header.height, header.width))  # resamples the position embedding
    feature_size(encoder.backbone, header.backbone, header.height, header.width)
    return Encoder(encoder.backbone, header), sentences


def existing(init: str) -> Path:
    """Return the path of an encoder file, or say what `--init` takes."""
    if not Path(init).is_file():
        raise InputError(f"--init {init}: no such file; give an encoder.safetensors of upreid, or the word random")
    return Path(init)


def random_start(config: FinetuneConfig) -> Encoder:
    """An untrained encoder, with weights of `train.seed`."""
    wanted = config.random
    torch.manual_seed(config.train.seed)
    backbone = create_backbone(
        wanted.backbone, height=wanted.height, width=wanted.width, channels=wanted.channels, last_stride=None
    )
    header = EncoderHeader(
        backbone=wanted.backbone,
        channels=wanted.channels,
        last_stride=None,
        height=wanted.height,
        width=wanted.width,
        mean=wanted.mean,
        std=wanted.std,
    )
    return Encoder(backbone, header)


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Labelled images, people numbered from 0, in batches of P people with K images each."""

    images: Dataset[Tensor]
    people: Int64[Tensor, " images"]
    batches: PKBatches
    compute: Compute

    @property
    def num_people(self) -> int:
        """Classes of the identity loss."""
        return int(self.people.max()) + 1

    def steps(self, total: int) -> Iterator[tuple[Float[Tensor, "batch 3 height width"], Int64[Tensor, " batch"]]]:
        """Yield images and people of each step."""
        order = [places for _, places in self.batches.steps(total)]
        if isinstance(self.images, Cached):
            for places in order:
                yield self.images.tensor[places], self.people[places]
        else:
            loader = DataLoader(self.images, batch_sampler=order, num_workers=self.compute.workers)
            yield from ((images, self.people[places]) for images, places in zip(loader, order, strict=True))


class Cached(Dataset[Tensor]):
    """Images decoded once."""

    def __init__(self, images: LabelledImages, compute: Compute) -> None:
        loader = DataLoader(images, batch_size=64, num_workers=compute.workers)
        self.tensor: Float[Tensor, "images 3 height width"] = torch.cat(list(loader))

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: int) -> Tensor:
        """One image."""
        return self.tensor[index]


def training_set(
    config: FinetuneConfig, records: Sequence[Record], preprocess: Preprocess, compute: Compute
) -> TrainingSet:
    """Number the people, and keep the images in memory where they are few."""
    people = sorted({record.person for record in records if record.person is not None})
    number = {person: place for place, person in enumerate(people)}
    labels = [number[record.person] for record in records if record.person is not None]
    batches = PKBatches(  # first: it refuses impossible P x K before minutes are spent on decoding
        labels,
        people_per_batch=config.train.identities,
        images_per_person=config.train.images,
        seed=config.train.seed,
    )
    images = LabelledImages(records, preprocess)
    is_small = len(records) * 3 * preprocess.height * preprocess.width * 4 < CACHE_BYTES
    return TrainingSet(
        images=Cached(images, compute) if is_small else images,
        people=torch.tensor(labels),
        batches=batches,
        compute=compute,
    )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Steps of a run, and the learning rate at each."""

    config: FinetuneConfig
    steps: int
    steps_per_epoch: int

    def lr_at(self, step: int) -> float:
        """Learning rate of a step."""
        optim = self.config.optim
        warmup = min(round(optim.warmup_epochs * self.steps_per_epoch), self.steps)
        if optim.schedule == "cosine":
            return optim.lr * warmup_cosine(step, total=self.steps, warmup=warmup)
        milestones = tuple(round(epoch * self.steps_per_epoch) for epoch in optim.milestones)
        return optim.lr * warmup_steps(step, warmup=warmup, start=0.01, milestones=milestones)


def schedule(config: FinetuneConfig, data: TrainingSet) -> Schedule:
    """Turn epochs into steps."""
    per_epoch = len(data.batches.epoch(0))
    steps = config.train.steps if config.train.steps is not None else max(round(config.train.epochs * per_epoch), 1)
    return Schedule(config=config, steps=steps, steps_per_epoch=per_epoch)
