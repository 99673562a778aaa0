"""The knobs of pre-training; a sentence under each."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from upreid.config.training import TrainConfig, TrainingConfig
from upreid.data.settings import UnlabelledSet

ConsistencyReading = Literal["g-queue", "g-batch", "g-cos", "g-pos", "g-key", "g-rel"]
IntrinsicReading = Literal["i-a", "i-b", "i-c", "i-d"]
PatchSource = Literal["pixels", "map"]
PatchPreset = Literal["mild", "jitter"]
AugmentPreset = Literal["luperson", "luperson-jitter", "person", "person-jitter"]


@dataclass(frozen=True, kw_only=True)
class Images(UnlabelledSet):
    """Where unlabelled images come from."""

    root: Path
    """Folder of images (any nesting), a packed set, an lmdb, or tar archives; recognised (docs/sources.md)."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How originals become views."""

    preset: AugmentPreset = "luperson"
    """Which strong augmentation makes the two views."""
    height: int = 256
    """Input height in pixels."""
    width: int = 128
    """Input width in pixels."""
    mean: tuple[float, float, float] = (0.3525, 0.3106, 0.3140)
    """Channel means of the training images (LUPerson's)."""
    std: tuple[float, float, float] = (0.2660, 0.2522, 0.2505)
    """Channel standard deviations of the training images (LUPerson's)."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """The network."""

    backbone: str = "resnet50"
    """Any timm model."""
    channels: int | None = None
    """Base width of a narrow ResNet (the usual one has 64)."""
    last_stride: Literal[1, 2] | None = None
    """Stride of a ResNet's last stage; the model's own where not given."""
    embed_dim: int = 128
    """Size of the embeddings that the losses compare."""
    bn_groups: int = 1
    """Per process: split the batch in so many groups, each with its own BatchNorm statistics."""
    sync_bn: bool = False
    """Share BatchNorm statistics over all GPUs instead of shuffling keys."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Instance contrast: MoCo v2."""

    temperature: float = 0.1
    """LUPerson's; MoCo v2 on ImageNet used 0.2."""
    queue: int = 65536
    """Past keys that serve as negatives."""
    momentum: float = 0.999
    """How slowly the momentum encoder follows."""


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """Global consistency: an augmented view stays consistent with its original."""

    reading: ConsistencyReading = "g-key"
    """Which reading of the constraint (docs/paper.md)."""
    weight: float = 1.0
    """0 leaves the term out: its views are not made and its forward is not run."""
    temperature: float = 0.2
    """Of the view's similarities. 0.2 was chosen for g-key; the readings over distributions were tried at 0.1."""
    teacher_temperature: float = 0.1
    """Of the original's similarities, in the readings over distributions; lower is sharper."""
    ramp_up_epochs: float = 0.0
    """The weight grows linearly from 0 over so many epochs."""


@dataclass(frozen=True, kw_only=True)
class Intrinsic:
    """Intrinsic contrast: patches of one image against each other."""

    reading: IntrinsicReading = "i-a"
    """Which reading of the constraint (docs/paper.md)."""
    weight: float = 3.0
    """0 leaves the term out: its views are not made and their forward is not run."""
    temperature: float = 0.2
    """Of the patch similarities."""
    hardest: int | None = None
    """Hard mining: keep so many of the most similar negatives; all where not given."""
    source: PatchSource = "map"
    """What patches are cut from: the picture, each encoded by itself, or the last feature map of the whole picture."""
    rows: int = 4
    """Patch rows of the grid on what `source` names."""
    columns: int = 2
    """Patch columns of the grid on what `source` names."""
    preset: PatchPreset = "jitter"
    """Which augmentation makes the two versions of a patch."""
    ramp_up_epochs: float = 0.0
    """The weight grows linearly from 0 over so many epochs."""


@dataclass(frozen=True, kw_only=True)
class PretrainOptimiser:
    """What moves the weights: warm-up and a cosine in every case."""

    name: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum for ResNets, AdamW for ViTs."""
    lr: float = 0.03
    """Learning rate for a batch of `lr_batch` images; scaled linearly with the batch."""
    lr_batch: int = 256
    """The batch that `lr` is meant for."""
    momentum: float = 0.9
    """SGD's; AdamW takes its usual betas."""
    weight_decay: float = 1e-4
    """On every parameter, as in MoCo and LUPerson."""
    warmup_epochs: float = 0.0
    """The rate grows linearly from 0 over so many epochs."""


@dataclass(frozen=True, kw_only=True)
class PretrainTrain(TrainConfig):
    """How long a pre-training takes, how it is saved, and how it computes."""

    batch: int = 256
    """Number of images in an optimiser step, over all processes."""
    epochs: float = 200.0
    """Number of passes over the images."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingConfig):
    """Pre-train an encoder on unlabelled person crops; every method of `upreid pretrain` has these sections."""

    data: Images
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: Model = field(default_factory=Model)
    optim: PretrainOptimiser = field(default_factory=PretrainOptimiser)
    train: PretrainTrain = field(default_factory=PretrainTrain)


@dataclass(frozen=True, kw_only=True)
class MocoV2Config(PretrainConfig):
    """Pre-train an encoder on unlabelled person crops: MoCo v2 with intra-identity regularisation."""

    method: str = "moco-v2"
    """Name of the training method; the recipe chooses it."""
    contrast: Contrast = field(default_factory=Contrast)
    consistency: Consistency = field(default_factory=Consistency)
    intrinsic: Intrinsic = field(default_factory=Intrinsic)
