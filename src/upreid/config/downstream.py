"""The knobs that fine-tuning and adaptation have in common; a sentence under each."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from upreid.config.training import TrainingConfig
from upreid.models.settings import HeadOptions
from upreid.ranges import (
    CountOrZero,
    Deviation,
    EpochsOrZero,
    Interpolation,
    Mean,
    NotNegative,
    Pixels,
    Positive,
    Range,
    ShareOrZero,
)
from upreid.retrieval.settings import Ranking


@dataclass(frozen=True, kw_only=True)
class RandomStart:
    """Network of `--init random`; an encoder file brings its own."""

    backbone: str = "resnet50"
    """Name of the backbone of a random start: any timm model."""
    channels: Pixels | None = None
    """Base width of a narrow ResNet (the usual one has 64), for a random start."""
    height: Pixels = 256
    """Input height in pixels of a random start."""
    width: Pixels = 128
    """Input width in pixels of a random start."""
    mean: tuple[Mean, Mean, Mean] = (0.485, 0.456, 0.406)
    """Channel means of a random start (by default ImageNet's)."""
    std: tuple[Deviation, Deviation, Deviation] = (0.229, 0.224, 0.225)
    """Channel standard deviations of a random start (by default ImageNet's)."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """Input size and normalisation, which overrule the encoder's header, and augmentation."""

    height: Pixels | None = None
    """Input height in pixels; by default that of the encoder's header."""
    width: Pixels | None = None
    """Input width in pixels; by default that of the encoder's header."""
    mean: tuple[Mean, Mean, Mean] | None = None
    """Channel means of the input; by default those of the encoder's header."""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """Channel standard deviations of the input; by default those of the encoder's header."""
    interpolation: Interpolation | None = None
    """Interpolation with which images are resized (bilinear-aliased as trackers do); by default that of the encoder's header."""
    last_stride: Literal[1, 2] | None = None
    """Stride of a ResNet's last stage; by default that of the encoder's header."""
    pad: Annotated[int, Range(least=0, most=4096)] = 10
    """Number of pixels that are added on each side before the input size is cropped at random."""
    pad_colour: Literal["black", "mean"] = "black"
    """Colour of the padding: black is written before normalisation, mean after it."""
    flip_probability: ShareOrZero = 0.5
    """Probability of mirroring an image."""
    erase_probability: ShareOrZero = 0.5
    """Probability of erasing a rectangle of an image."""
    erase_colour: Literal["black", "mean"] = "mean"
    """Colour of erased rectangles: black is written before normalisation, mean after it."""


@dataclass(frozen=True, kw_only=True)
class DownstreamOptimiser:
    """Optimiser and learning rate: a warm-up, then steps or a cosine."""

    name: Literal["adam", "sgd"] = "adam"
    """Optimiser: Adam, or SGD with momentum 0.9."""
    lr: Positive = 3.5e-4
    """Learning rate after the warm-up."""
    weight_decay: NotNegative = 5e-4
    """Weight decay (L2) of every parameter."""
    warmup_epochs: EpochsOrZero = 10.0
    """Number of epochs over which the learning rate grows linearly."""
    warmup_steps: CountOrZero | None = None
    """Number of steps over which the learning rate grows linearly; overrules the number of epochs."""
    warmup_start: ShareOrZero = 0.01
    """Share of the learning rate that the warm-up begins with."""
    schedule: Literal["steps", "cosine"] = "steps"
    """Schedule after the warm-up: falls to a tenth at milestones, or a cosine."""
    milestones: tuple[EpochsOrZero, ...] = (40.0, 90.0)
    """Epochs after which the learning rate falls to a tenth, with the schedule of steps."""
    plateau_epochs: EpochsOrZero = 0.0
    """Epoch at which the cosine begins, if that is after the warm-up."""
    final_lr: NotNegative = 0.0
    """Learning rate that the cosine ends with."""


@dataclass(frozen=True, kw_only=True)
class DownstreamConfig(TrainingConfig):
    """Train an encoder for retrieval on one set of images, and evaluate it."""

    init: str
    """Initial weights: an encoder file, a checkpoint of LUPerson's or MoCo's, a tag of timm's, or the word `random`."""
    input: Input = field(default_factory=Input)
    random: RandomStart = field(default_factory=RandomStart)
    head: HeadOptions = field(default_factory=HeadOptions)
    optim: DownstreamOptimiser = field(default_factory=DownstreamOptimiser)
    test: Ranking = field(default_factory=Ranking)
