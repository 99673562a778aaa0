"""The knobs of adaptation to images without labels; a sentence under each."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from upreid.config.downstream import DownstreamConfig, DownstreamOptimiser
from upreid.config.training import TrainConfig, TrainingConfig
from upreid.data.settings import UNLABELLED, LabelledSet, Tolerance
from upreid.models.settings import HeadOptions
from upreid.ranges import Count, CountOrZero, Epochs, EpochsOrZero, Positive, Range, ShareOrZero
from upreid.retrieval.settings import ClusterOptions

AtLeastTwo = Annotated[int, Range(least=2)]


@dataclass(frozen=True, kw_only=True)
class AdaptationData(LabelledSet, Tolerance):
    """Images to adapt to, whose labels are not looked at."""

    name: str = UNLABELLED
    """Layout of the labelled set whose training images are adapted to; or the word unlabelled, for any source of images."""


@dataclass(frozen=True, kw_only=True)
class SourceSet:
    """Labelled set that is learnt from beside the images without labels: domain adaptation. Without one there is none."""

    name: str | None = None
    """Layout of the labelled source set, such as personx; its training images are learnt from with their labels."""
    root: Path | None = None
    """Folder of the labelled source set, or the one above it."""
    alone_epochs: CountOrZero = 0
    """Number of first epochs that learn from the source alone where the clusters are too poor; in later ones that is an error."""


@dataclass(frozen=True, kw_only=True)
class AdaptClusters(ClusterOptions):
    """Clustering of features by DBSCAN on their Jaccard distances, and which clusters count."""

    reliability_gap: ShareOrZero = 0.0
    """Difference of eps of a looser and a tighter clustering that must confirm a cluster (0.02 in SpCL); 0 takes all clusters."""

    @property
    def plain(self) -> ClusterOptions:
        """What a single clustering needs."""
        return ClusterOptions(**{one.name: getattr(self, one.name) for one in fields(ClusterOptions)})


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """Memory of the clusters, and of the people of a source, that features are compared with."""

    kind: Literal["clusters", "hybrid", "camera-proxies"] = "clusters"
    """Contents of the memory: a vector for each cluster, each image (hybrid), or each camera of each cluster (camera-proxies)."""
    update: Literal["every", "hardest"] = "every"
    """Features that a cluster's memory follows: every one of the batch in turn, or the one least similar to it."""
    momentum: ShareOrZero = 0.1
    """Share of a cluster's old memory that stays at an update."""
    temperature: Positive = 0.05
    """Temperature of the similarities to the memory."""
    cameras: Literal["sampler", "ignored"] = "sampler"
    """Use of camera labels: the images of a cluster in a batch come from different cameras where possible, or at random."""
    negatives: Count = 50
    """Number of proxies of other clusters, the most similar ones, in the loss across cameras of camera-proxies."""
    across_weight: Positive = 0.5
    """Weight of the loss across cameras of camera-proxies, beside the loss within cameras."""


@dataclass(frozen=True, kw_only=True)
class GemHead(HeadOptions):
    """Head on the backbone: its parts, its pooling, and what only some heads have."""

    pool: Literal["avg", "gem"] = "gem"
    """Pooling of a ResNet's last feature map: average or GeM."""


@dataclass(frozen=True, kw_only=True)
class AdaptOptimiser(DownstreamOptimiser):
    """Optimiser and learning rate: a warm-up, then steps or a cosine."""

    warmup_epochs: EpochsOrZero = 0.0
    """Number of epochs over which the learning rate grows linearly."""
    milestones: tuple[EpochsOrZero, ...] = (20.0, 40.0)
    """Epochs after which the learning rate falls to a tenth, with the schedule of steps."""


@dataclass(frozen=True, kw_only=True)
class AdaptTrain(TrainConfig):
    """Length of an adaptation, its saved states, and how it computes."""

    identities: AtLeastTwo = 16
    """Number of clusters in a batch (P), over all processes; with a source as many of its people stand beside them."""
    images: AtLeastTwo = 16
    """Number of images of each cluster in a batch (K), and of each of the people of a source."""
    iterations: Count = 400
    """Number of steps of an epoch, each of which begins with a new clustering."""
    epochs: Epochs = 50.0
    """Number of epochs, each with a clustering of its own."""
    bn_groups: Count = 4
    """Number of BatchNorm groups of a batch, over all processes: 4 normalise as the four GPUs of the published recipes do."""


@dataclass(frozen=True, kw_only=True)
class AdaptConfig(DownstreamConfig):
    """Adapt an encoder to images without labels by clustering them, and evaluate it where labels exist."""

    without_effect: ClassVar[tuple[str, ...]] = (*TrainingConfig.without_effect, "source.root")
    added_later: ClassVar[tuple[str, ...]] = (
        *TrainingConfig.added_later,
        "source",
        "choose",
        "trial_epochs",
        "memory.kind",
        "memory.negatives",
        "memory.across_weight",
        "cluster.reliability_gap",
    )
    method: str = "cluster-contrast"
    """Name of the training method; the recipe chooses it."""
    data: AdaptationData
    source: SourceSet = field(default_factory=SourceSet)
    head: GemHead = field(default_factory=GemHead)
    cluster: AdaptClusters = field(default_factory=AdaptClusters)
    memory: MemoryOptions = field(default_factory=MemoryOptions)
    optim: AdaptOptimiser = field(default_factory=AdaptOptimiser)
    train: AdaptTrain = field(default_factory=AdaptTrain)
    choose: tuple[str, ...] = ()
    """Setting and values to try in short runs, such as eps 0.4 0.5 0.6; a score without labels chooses the one to train with."""
    trial_epochs: Epochs = 3.0
    """Number of epochs of each trial of --choose, at most those of the training."""
