"""SimSiam (https://arxiv.org/abs/2011.10566): two views, a predictor, a stopped gradient; no queue and no momentum copy.

The toy method of docs/new-method.md: one file, one configuration section, one recipe (simsiam.toml).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.config.pretrain import PretrainConfig
from upreid.data.augment import PRESETS, Augmentation, StrongView, ViewRequest
from upreid.methods.method import Method
from upreid.methods.pretraining import Setup, header_of, seeded_backbone
from upreid.models.backbone import num_features
from upreid.models.encoder import Encoder, EncoderHeader
from upreid.types import Views


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """The predictor of SimSiam."""

    hidden: int = 64
    """Width of the predictor's hidden layer."""


@dataclass(frozen=True, kw_only=True)
class SimSiamConfig(PretrainConfig):
    """Pre-train an encoder on unlabelled person crops with SimSiam."""

    method: str = "simsiam"
    predictor: Predictor = field(default_factory=Predictor)


class Student(nn.Module):
    """Backbone, projector and predictor: one forward for both views."""

    def __init__(self, backbone: nn.Module, dim: int, embed_dim: int, hidden: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, embed_dim))
        self.predictor = nn.Sequential(nn.Linear(embed_dim, hidden), nn.ReLU(), nn.Linear(hidden, embed_dim))

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """Project both views, and predict each from the other."""
        projections = [self.projector(self.backbone(view)) for view in (first, second)]
        return (*projections, *(self.predictor(one) for one in projections))


def stopped_cosine(prediction: Float[Tensor, "batch dim"], projection: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Negative cosine similarity; only `prediction` receives a gradient."""
    return -F.cosine_similarity(prediction, projection.detach()).mean()


class SimSiam(Method):
    """Each view predicts the other's projection."""

    def __init__(self, student: Student, header: EncoderHeader, view: Augmentation) -> None:
        super().__init__()
        self.student, self.header, self.view = student, header, view

    def views(self) -> Mapping[str, ViewRequest]:
        """Two strong views."""
        return {"first": StrongView(preset=self.view), "second": StrongView(preset=self.view)}

    def inputs(self, batch: Views, part: slice) -> tuple[Any, ...]:
        """Both views."""
        return batch["first"][part], batch["second"][part]

    def losses(self, outputs: Any, batch: Views, targets: Any, part: slice) -> dict[str, Float[Tensor, ""]]:
        """Compare each prediction with the other view's projection."""
        first, second, from_first, from_second = outputs
        return {"similarity": 0.5 * stopped_cosine(from_first, second) + 0.5 * stopped_cosine(from_second, first)}

    def encoder(self) -> Encoder:
        """The backbone."""
        return Encoder(self.student.backbone, self.header)


def build(config: SimSiamConfig, setup: Setup) -> SimSiam:
    """Make the method of a configuration, with the weights of `train.seed`."""
    backbone = seeded_backbone(config)
    student = Student(backbone, num_features(backbone), config.model.embed_dim, config.predictor.hidden)
    return SimSiam(student, header_of(config), PRESETS[config.augment.preset])
