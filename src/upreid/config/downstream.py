"""The knobs of fine-tuning and evaluation."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """A labelled benchmark on disk."""

    name: str
    """Its layout."""
    root: Path
    """Its folder, or the one above."""


@dataclass(frozen=True, kw_only=True)
class TrainingSet(LabelledSet):
    """A labelled benchmark, and how much of its training part is used."""

    identity_share: float = 1.0
    """Small-scale setting: train on so large a share of the identities, with all their images."""
    split_seed: int = 1
    """Which identities those are."""


@dataclass(frozen=True, kw_only=True)
class RandomStart:
    """The network of `--init random`; an encoder file brings its own."""

    backbone: str = "resnet50"
    """Any timm model."""
    channels: int | None = None
    """Base width of a narrow ResNet."""
    height: int = 256
    """Input height in pixels."""
    width: int = 128
    """Input width in pixels."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Channel means (ImageNet's)."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Channel standard deviations (ImageNet's)."""


@dataclass(frozen=True, kw_only=True)
class FinetuneInput:
    """What overrules the encoder's header, and the augmentation."""

    height: int | None = None
    """Input height in pixels; the header's where not given."""
    width: int | None = None
    """Input width in pixels; the header's where not given."""
    mean: tuple[float, float, float] | None = None
    """Channel means; the header's where not given."""
    std: tuple[float, float, float] | None = None
    """Channel standard deviations; the header's where not given."""
    last_stride: Literal[1, 2] | None = None
    """Stride of a ResNet's last stage; the header's where not given."""
    pad: int = 10
    """Pad by so many pixels, then crop the input size at random."""
    flip_probability: float = 0.5
    """Mirror the image."""
    erase_probability: float = 0.5
    """Erase a rectangle (to the mean colour, after normalisation)."""


@dataclass(frozen=True, kw_only=True)
class FinetuneLoss:
    """Bag of Tricks: label-smoothed cross-entropy and batch-hard triplet."""

    smoothing: float = 0.1
    """Of the labels."""
    margin: float = 0.3
    """Of the triplet loss."""
    triplet_weight: float = 1.0
    """Against the cross-entropy's 1."""


@dataclass(frozen=True, kw_only=True)
class FinetuneOptimiser:
    """Adam, warm-up, then steps or a cosine."""

    lr: float = 3.5e-4
    """Learning rate."""
    weight_decay: float = 5e-4
    """Adam's, on every parameter."""
    warmup_epochs: float = 10.0
    """The rate grows linearly from a hundredth over so many epochs."""
    schedule: Literal["steps", "cosine"] = "steps"
    """What follows the warm-up."""
    milestones: tuple[float, ...] = (40.0, 90.0)
    """Epochs after which the rate falls to a tenth (schedule `steps`)."""


@dataclass(frozen=True, kw_only=True)
class FinetuneTrain:
    """The loop."""

    identities: int = 16
    """People per batch (P)."""
    images: int = 4
    """Images of each (K)."""
    epochs: float = 120.0
    """Passes over the images."""
    steps: int | None = None
    """Optimiser steps; overrules `epochs`."""
    seed: int = 1
    """Of head, order and augmentation."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Auto takes a GPU where there is one."""
    threads: int | None = None
    """CPU threads; by default the cores that the workers leave."""
    workers: int | None = None
    """Processes that read images."""
    bf16: bool = False
    """Forward in bfloat16 (autocast)."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tune an encoder on a labelled set, and evaluate it."""

    recipe: str
    """Name of a shipped recipe, or a path to one."""
    init: str
    """An encoder file, or `random`."""
    data: TrainingSet
    out: Path
    """Folder of the run; new, or empty."""
    input: FinetuneInput = field(default_factory=FinetuneInput)
    random: RandomStart = field(default_factory=RandomStart)
    loss: FinetuneLoss = field(default_factory=FinetuneLoss)
    optim: FinetuneOptimiser = field(default_factory=FinetuneOptimiser)
    train: FinetuneTrain = field(default_factory=FinetuneTrain)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Retrieval with an encoder on a labelled set."""

    encoder: Path
    """File written by pretrain or finetune."""
    data: LabelledSet
    out: Path | None = None
    """JSON file for the numbers and the protocol."""
    height: int | None = None
    """Input height; the header's where not given."""
    width: int | None = None
    """Input width; the header's where not given."""
    neck: Literal["after", "before"] = "after"
    """Features after or before the BNNeck, where the encoder has one."""
    flip: bool = False
    """Average the features of an image and its mirror image."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """Distance between features."""
    batch: int = 128
    """Images per forward."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Auto takes a GPU where there is one."""
    threads: int | None = None
    """CPU threads; by default the cores that the workers leave."""
    workers: int | None = None
    """Processes that read images."""
