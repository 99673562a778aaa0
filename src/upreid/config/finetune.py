"""The knobs of fine-tuning; a sentence under each."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from upreid.config.downstream import DownstreamConfig
from upreid.config.training import TrainConfig
from upreid.data.settings import TrainingData
from upreid.ranges import Epochs, EpochsOrZero, NotNegative, Positive, Range, ShareOrZero

AtLeastTwo = Annotated[int, Range(least=2)]
"""Batch-hard mining needs somebody else, and another image of the same person."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Identity loss after the neck, and batch-hard triplet loss."""

    identity: Literal["softmax", "circle"] = "softmax"
    """Identity loss: cross-entropy over scores, or over the logits of the circle loss."""
    smoothing: ShareOrZero = 0.1
    """Label smoothing: probability mass given to the other classes."""
    circle_scale: Positive = 64.0
    """Scale of the logits of the circle loss."""
    circle_margin: ShareOrZero = 0.35
    """Margin of the circle loss."""
    triplet: Literal["margin", "soft"] = "margin"
    """Triplet loss: hinge with a margin, or softplus without one."""
    margin: NotNegative = 0.3
    """Margin of the triplet loss with a hinge."""
    triplet_on: Literal["before", "after"] = "before"
    """Features that the triplet loss compares: those before or after the neck."""
    triplet_weight: NotNegative = 1.0
    """Weight of the triplet loss; that of the identity loss is 1."""


@dataclass(frozen=True, kw_only=True)
class FinetuneTrain(TrainConfig):
    """Length of a fine-tuning, its saved states, and how it computes."""

    identities: AtLeastTwo = 16
    """Number of people in a batch (P), over all processes."""
    images: AtLeastTwo = 4
    """Number of images of each person in a batch (K)."""
    epochs: Epochs = 120.0
    """Number of passes over the images."""
    freeze_epochs: EpochsOrZero = 0.0
    """Number of epochs during which the backbone is frozen, while head and classifier learn."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(DownstreamConfig):
    """Fine-tune an encoder on a labelled set, and evaluate it."""

    added_later: ClassVar[tuple[str, ...]] = (
        *DownstreamConfig.added_later,
        "data.unreadable_share",
        "test.multi_query",
        "test.rerank_variant",
        "test.same_camera",
        "train.accumulate",
        "train.compile",
    )

    method: str = "supervised"
    """Name of the training method; the recipe chooses it."""
    data: TrainingData
    loss: Loss = field(default_factory=Loss)
    train: FinetuneTrain = field(default_factory=FinetuneTrain)
