"""Supervised fine-tuning: an identity loss after the neck and batch-hard triplets, for any head (BoT, MGN, TransReID)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from upreid.config.finetune import FinetuneConfig
from upreid.losses.circle import circle_logits
from upreid.losses.identity import smoothed_cross_entropy
from upreid.losses.triplet import batch_hard_triplet
from upreid.methods.method import Method
from upreid.models.classifier import IdentityClassifier
from upreid.models.encoder import Encoder
from upreid.models.heads import HeadSettings, create_head
from upreid.runtime.distributed import ALONE, World, gather, gather_with_gradient
from upreid.runtime.seed import stream_key
from upreid.types import Views


class Supervised(Method):
    """Images of known people, P of them with K images each in a batch; views `images`, `people` (numbered from 0) and `cameras`.

    Triplets are mined over the whole batch of all ranks, or, with gradient accumulation, over each part of it.
    """

    student: IdentityClassifier

    def __init__(
        self,
        student: IdentityClassifier,
        *,
        identity: Literal["softmax", "circle"] = "softmax",
        smoothing: float = 0.1,
        circle_scale: float = 64.0,
        circle_margin: float = 0.35,
        margin: float | None = 0.3,
        triplet_weight: float = 1.0,
        frozen_steps: int = 0,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.student = student
        self.identity, self.smoothing = identity, smoothing
        self.circle_scale, self.circle_margin = circle_scale, circle_margin
        self.margin, self.triplet_weight = margin, triplet_weight
        self.frozen_steps, self.world = frozen_steps, world
        self.is_frozen: bool | None = None

    def phase(self, step: int) -> bool:
        """Freeze the backbone and the head's copies of it, BatchNorm's statistics too, for the first `frozen_steps`."""
        is_frozen = step < self.frozen_steps
        if is_frozen == self.is_frozen:
            return False
        self.is_frozen = is_frozen
        self.student.train()
        for module in self.student.body():
            module.train(not is_frozen)
            for parameter in module.parameters():
                parameter.requires_grad_(not is_frozen)
        return True

    def inputs(self, batch: Views, part: slice) -> tuple[Any, ...]:
        """Images, and the camera of each."""
        return batch["images"][part], batch["cameras"][part]

    def losses(self, outputs: Any, batch: Views, targets: Any, part: slice) -> dict[str, Float[Tensor, ""]]:
        """Classify every part of the body, and compare what the head compares."""
        del targets
        scores, compared = outputs
        people = batch["people"][part]
        return {"identity": self.identity_loss(scores, people), "triplet": self.triplet_loss(compared, people)}

    def identity_loss(self, scores: Sequence[Tensor], people: Int64[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Sum the classification of every part, weighted as the head says."""
        total = torch.zeros((), device=people.device)
        assert self.student.encoder.head is not None
        for part, weight in zip(scores, self.student.encoder.head.identity_weights, strict=True):
            logits = part.float()
            if self.identity == "circle":
                logits = circle_logits(logits, people, scale=self.circle_scale, margin=self.circle_margin)
            total = total + weight * smoothed_cross_entropy(logits, people, smoothing=self.smoothing)
        return total

    def triplet_loss(self, compared: Sequence[Tensor], people: Int64[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Sum batch-hard triplets over all ranks, for the groups of parts that the head names."""
        everybody = gather(people, self.world)
        total = torch.zeros((), device=people.device)
        assert self.student.encoder.head is not None
        for group, weight in self.student.encoder.head.triplets:
            features = torch.cat([compared[part].float() for part in group], dim=1)
            loss = batch_hard_triplet(gather_with_gradient(features, self.world), everybody, margin=self.margin)
            total = total + weight * loss
        return total

    def weights(self, step: int) -> Mapping[str, float]:
        """The identity loss has weight 1."""
        del step
        return {"triplet": self.triplet_weight}

    def encoder(self) -> Encoder:
        """The backbone with its head; the classifiers of the training people stay behind."""
        return self.student.encoder


LOSSES = {"identity": "identity loss", "triplet": "triplet loss"}
"""Name of a loss -> what a reader calls it."""


def step_cost(config: FinetuneConfig) -> float:
    """Return the cost of a step in forwards of its images, a backward being two."""
    del config
    return 3.0


def build(
    config: FinetuneConfig,
    start: Encoder,
    *,
    cameras: Sequence[int],
    num_people: int,
    trained_on: str,
    steps_per_epoch: int,
    world: World,
) -> Supervised:
    """Put head and classifiers on an encoder, with weights of `train.seed`; `cameras` are those of the training images."""
    torch.manual_seed(stream_key(config.train.seed, 0, "head"))
    settings = HeadSettings(**vars(config.head), cameras=tuple(cameras) if config.head.camera_weight else ())
    origin = {"recipe": config.recipe, "init": config.init, "seed": config.train.seed, "trained_on": trained_on}
    header = replace(start.header, head=settings, neck=config.test.neck, **origin)
    encoder = Encoder(start.backbone, header, create_head(start.backbone, settings))
    loss = config.loss
    classifier = "cosine" if loss.identity == "circle" else "linear"
    return Supervised(
        IdentityClassifier(encoder, num_people, classifier=classifier, compared=loss.triplet_on),
        identity=loss.identity,
        smoothing=loss.smoothing,
        circle_scale=loss.circle_scale,
        circle_margin=loss.circle_margin,
        margin=loss.margin if loss.triplet == "margin" else None,
        triplet_weight=loss.triplet_weight,
        frozen_steps=round(config.train.freeze_epochs * steps_per_epoch),
        world=world,
    )
