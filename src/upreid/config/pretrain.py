"""The knobs of pre-training; a sentence under each."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from upreid.config.training import TrainConfig, TrainingConfig
from upreid.data.settings import UnlabelledSet
from upreid.ranges import (
    Count,
    Deviation,
    Epochs,
    EpochsOrZero,
    Mean,
    NotNegative,
    Pixels,
    Positive,
    Share,
    ShareOrZero,
)

ConsistencyReading = Literal["g-queue", "g-batch", "g-cos", "g-pos", "g-key", "g-rel"]
IntrinsicReading = Literal["i-a", "i-b", "i-c", "i-d", "position"]
PatchSource = Literal["pixels", "map", "views"]
KeySource = Literal["view", "original"]
ThirdView = Literal["none", "key", "query"]
Mates = Literal["negatives", "left-out", "positives"]
OriginalOf = Literal["query", "key"]
PatchPreset = Literal["mild", "jitter"]
AugmentPreset = Literal["luperson", "luperson-jitter", "person", "person-jitter"]


@dataclass(frozen=True, kw_only=True)
class PretrainImages(UnlabelledSet):
    """Source of the unlabelled images, and how much of it must be readable."""

    root: Path
    """Folder of images (any nesting), a packed set, an lmdb, or tar archives; recognised (docs/sources.md)."""
    tracklets: Path | None = None
    """List of the tracklets of the images, or the word own, folders or names: keys come from another crop (docs/sources.md)."""
    tracklet_gap: Count = 1
    """Number of frames that query and key are apart, at least; places in the tracklet, where the list knows no frames."""
    tracklet_share: Share = 1.0
    """Share of the images, drawn anew in each epoch, whose key comes from another crop."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation that turns original images into views."""

    preset: AugmentPreset = "luperson"
    """Name of the strong augmentation that makes the two views."""
    height: Pixels = 256
    """Input height of the network in pixels."""
    width: Pixels = 128
    """Input width of the network in pixels."""
    mean: tuple[Mean, Mean, Mean] = (0.3525, 0.3106, 0.3140)
    """Channel means of the training images (by default LUPerson's)."""
    std: tuple[Deviation, Deviation, Deviation] = (0.2660, 0.2522, 0.2505)
    """Channel standard deviations of the training images (by default LUPerson's)."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """Network that is trained: backbone, embeddings, BatchNorm."""

    backbone: str = "resnet50"
    """Name of the backbone: any timm model."""
    channels: Pixels | None = None
    """Base width of a narrow ResNet (the usual one has 64)."""
    last_stride: Literal[1, 2] | None = None
    """Stride of a ResNet's last stage; by default the model's own."""
    embed_dim: Pixels = 128
    """Size of the embeddings that the losses compare."""
    bn_groups: Count = 1
    """Number of groups that a process splits its batch into, each with its own BatchNorm statistics."""
    sync_bn: bool = False
    """BatchNorm statistics shared over all GPUs; keys are then not shuffled."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Instance contrast of MoCo v2: a view finds its twin among many strangers."""

    temperature: Positive = 0.1
    """Temperature of the similarities in instance contrast; MoCo v2 on ImageNet used 0.2."""
    queue: Count = 65536
    """Number of past keys that serve as negatives."""
    momentum: ShareOrZero = 0.999
    """Share of its own weights that the momentum encoder keeps at every step."""
    key: KeySource = "view"
    """Image that a query finds: the second augmented view, or the original, which then serves the consistency term too."""
    third_view: ThirdView = "none"
    """Role of a third augmented view, a control for the terms: a second key of the query, or a second query; none has no role."""
    mates: Mates = "negatives"
    """Role of older keys of the query's own tracklet: negatives as all others, left out, or further positives (as in PNL)."""


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """Global consistency: an augmented view stays consistent with its original."""

    reading: ConsistencyReading = "g-key"
    """Reading of the consistency constraint (docs/paper.md)."""
    original: OriginalOf = "query"
    """Crop whose original the consistency term compares the query with: its own, or with --data.tracklets the key's."""
    weight: NotNegative = 1.0
    """Weight of the consistency term; 0 leaves it out: its views are not made and its forward is not run."""
    temperature: Positive = 0.2
    """Temperature of the view's similarities: 0.2 was chosen for g-key, readings over distributions were tried at 0.1."""
    teacher_temperature: Positive = 0.1
    """Temperature of the original's similarities in the readings over distributions; lower is sharper."""
    ramp_up_epochs: EpochsOrZero = 0.0
    """Number of epochs over which the weight of the consistency term grows linearly from 0."""
    share: Share = 1.0
    """Share of the batch that the consistency term looks at: the first images of each BatchNorm group."""
    begin: ShareOrZero = 0.0
    """Fraction of the training after which the consistency term is on; before, it costs nothing."""
    end: Share = 1.0
    """Fraction of the training after which the consistency term is off again and costs nothing."""


@dataclass(frozen=True, kw_only=True)
class Intrinsic:
    """Intrinsic contrast: patches of one image are contrasted with each other."""

    reading: IntrinsicReading = "i-a"
    """Reading of the intrinsic contrast (docs/paper.md), or `position`, a control: a classifier of the patch's position."""
    weight: NotNegative = 0.0
    """Weight of the intrinsic term; 0 leaves it out: its views are not made and their forward is not run."""
    temperature: Positive = 0.2
    """Temperature of the similarities of patches."""
    hardest: Count | None = None
    """Number of most similar negatives that hard mining keeps; by default all are kept."""
    source: PatchSource = "map"
    """Source of the patches: pixels of the picture, its feature map, or the maps of the two views where their crops overlap."""
    rows: Count = 4
    """Number of rows of the grid that the source is cut on."""
    columns: Count = 2
    """Number of columns of the grid that the source is cut on."""
    preset: PatchPreset = "jitter"
    """Name of the augmentation that makes the two versions of a patch."""
    ramp_up_epochs: EpochsOrZero = 0.0
    """Number of epochs over which the weight of the intrinsic term grows linearly from 0."""
    share: Share = 1.0
    """Share of the batch that the intrinsic term looks at: the first images of each BatchNorm group."""
    begin: ShareOrZero = 0.0
    """Fraction of the training after which the intrinsic term is on; before, it costs nothing."""
    end: Share = 1.0
    """Fraction of the training after which the intrinsic term is off again and costs nothing."""


@dataclass(frozen=True, kw_only=True)
class PretrainOptimiser:
    """Optimiser and learning rate: a linear warm-up, then half a cosine to 0."""

    name: Literal["sgd", "adamw"] = "sgd"
    """Optimiser: SGD with momentum for ResNets, AdamW for ViTs."""
    lr: Positive = 0.03
    """Learning rate for a batch of `--optim.lr-batch` images; it is scaled linearly with the batch."""
    lr_batch: Count = 256
    """Batch size that the learning rate is meant for."""
    momentum: ShareOrZero = 0.9
    """Momentum of SGD; AdamW takes its usual betas."""
    weight_decay: NotNegative = 1e-4
    """Weight decay of every parameter, as in MoCo and LUPerson."""
    warmup_epochs: EpochsOrZero = 0.0
    """Number of epochs over which the learning rate grows linearly from 0."""


@dataclass(frozen=True, kw_only=True)
class PretrainTrain(TrainConfig):
    """Length of a pre-training, its saved states, and how it computes."""

    batch: Count = 256
    """Number of images in an optimiser step, over all processes."""
    epochs: Epochs = 200.0
    """Number of passes over the images."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingConfig):
    """Pre-train an encoder on unlabelled person crops; every method of `upreid pretrain` has these sections."""

    without_effect: ClassVar[tuple[str, ...]] = (*TrainingConfig.without_effect, "data.tracklets")
    added_later: ClassVar[tuple[str, ...]] = (*TrainingConfig.added_later, "data.tracklet_gap", "data.tracklet_share")
    data: PretrainImages
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: Model = field(default_factory=Model)
    optim: PretrainOptimiser = field(default_factory=PretrainOptimiser)
    train: PretrainTrain = field(default_factory=PretrainTrain)


@dataclass(frozen=True, kw_only=True)
class MocoV2Config(PretrainConfig):
    """Pre-train an encoder on unlabelled person crops: MoCo v2 with intra-identity regularisation."""

    added_later: ClassVar[tuple[str, ...]] = (
        *PretrainConfig.added_later,
        "contrast.key",
        "contrast.third_view",
        "contrast.mates",
        "consistency.original",
        *(f"{term}.{name}" for term in ("consistency", "intrinsic") for name in ("share", "begin", "end")),
    )
    method: str = "moco-v2"
    """Name of the training method; the recipe chooses it."""
    contrast: Contrast = field(default_factory=Contrast)
    consistency: Consistency = field(default_factory=Consistency)
    intrinsic: Intrinsic = field(default_factory=Intrinsic)
