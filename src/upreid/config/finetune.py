"""The knobs of fine-tuning."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from upreid.config.training import TrainConfig, TrainingConfig
from upreid.data.settings import TrainingImages
from upreid.retrieval.settings import Ranking


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
class Input:
    """What overrules the encoder's header, and the augmentation."""

    height: int | None = None
    """Input height in pixels; the header's where not given."""
    width: int | None = None
    """Input width in pixels; the header's where not given."""
    mean: tuple[float, float, float] | None = None
    """Channel means; the header's where not given."""
    std: tuple[float, float, float] | None = None
    """Channel standard deviations; the header's where not given."""
    interpolation: Literal["bilinear", "bicubic"] | None = None
    """How images are resized; the header's where not given."""
    last_stride: Literal[1, 2] | None = None
    """Stride of a ResNet's last stage; the header's where not given."""
    pad: int = 10
    """Pad by so many pixels, then crop the input size at random."""
    pad_colour: Literal["black", "mean"] = "black"
    """Padding: black is written before normalisation, mean after it."""
    flip_probability: float = 0.5
    """Mirror the image."""
    erase_probability: float = 0.5
    """Erase a rectangle."""
    erase_colour: Literal["black", "mean"] = "mean"
    """Erasing: black is written before normalisation, mean after it."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """What is put on the backbone."""

    name: Literal["bnneck", "mgn", "transreid"] = "bnneck"
    """One part (BoT), eight parts (MGN), or a ViT's class token (TransReID)."""
    pool: Literal["avg", "gem"] = "avg"
    """Of a ResNet's feature maps."""
    embed_dim: int = 256
    """MGN: width of each of the eight features."""
    extra_bn: bool = False
    """A BatchNorm on the feature map, for contrastively pre-trained ResNets (LUPerson)."""
    camera_weight: float = 0.0
    """TransReID: weight of the camera embedding; 0: none."""
    jigsaw: bool = False
    """TransReID: the branch of shuffled patches."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Identity loss after the neck, and batch-hard triplet loss."""

    identity: Literal["softmax", "circle"] = "softmax"
    """Cross-entropy over scores, or over the circle loss's logits."""
    smoothing: float = 0.1
    """Of the labels."""
    circle_scale: float = 64.0
    """Circle loss: scale of the logits."""
    circle_margin: float = 0.35
    """Circle loss: margin."""
    triplet: Literal["margin", "soft"] = "margin"
    """Hinge with a margin, or softplus."""
    margin: float = 0.3
    """Of the triplet loss `margin`."""
    triplet_on: Literal["before", "after"] = "before"
    """Features before or after the neck."""
    triplet_weight: float = 1.0
    """Against the identity loss's 1."""


@dataclass(frozen=True, kw_only=True)
class FinetuneOptimiser:
    """Warm-up, then steps or a cosine."""

    name: Literal["adam", "sgd"] = "adam"
    """Adam, or SGD with momentum 0.9."""
    lr: float = 3.5e-4
    """Learning rate."""
    weight_decay: float = 5e-4
    """L2, on every parameter."""
    warmup_epochs: float = 10.0
    """The rate grows linearly over so many epochs."""
    warmup_steps: int | None = None
    """The same in steps; overrules `warmup_epochs`."""
    warmup_start: float = 0.01
    """Factor that the warm-up begins with."""
    schedule: Literal["steps", "cosine"] = "steps"
    """What follows."""
    milestones: tuple[float, ...] = (40.0, 90.0)
    """Epochs after which the rate falls to a tenth (schedule `steps`)."""
    plateau_epochs: float = 0.0
    """Epoch at which the cosine begins, where that is after the warm-up."""
    final_lr: float = 0.0
    """Where the cosine ends."""


@dataclass(frozen=True, kw_only=True)
class FinetuneTrain(TrainConfig):
    """How long a fine-tuning takes, how it is saved, and how it computes."""

    identities: int = 16
    """Number of people in a batch (P), over all processes."""
    images: int = 4
    """Number of images of each person in a batch (K)."""
    epochs: float = 120.0
    """Number of passes over the images."""
    freeze_epochs: float = 0.0
    """Number of epochs during which the backbone is frozen, while head and classifier learn."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TrainingConfig):
    """Fine-tune an encoder on a labelled set, and evaluate it."""

    added_later: ClassVar[tuple[str, ...]] = (
        *TrainingConfig.added_later,
        "data.unreadable_share",
        "test.multi_query",
        "test.same_camera",
        "train.accumulate",
        "train.compile",
    )

    method: str = "supervised"
    """Name of the training method; the recipe chooses it."""
    init: str
    """An encoder file, a checkpoint of LUPerson's or MoCo's, a tag of timm's, or `random`."""
    data: TrainingImages
    input: Input = field(default_factory=Input)
    random: RandomStart = field(default_factory=RandomStart)
    head: Head = field(default_factory=Head)
    loss: Loss = field(default_factory=Loss)
    optim: FinetuneOptimiser = field(default_factory=FinetuneOptimiser)
    train: FinetuneTrain = field(default_factory=FinetuneTrain)
    test: Ranking = field(default_factory=Ranking)
