"""Identity classification: an encoder with its head, and a classifier of the training people for each part."""

from typing import Literal

from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.models.encoder import Encoder


class LinearClassifier(nn.Linear):
    """Scores of the training people, without a bias: its planes pass through the origin, as the neck's output does."""

    def __init__(self, features: int, people: int) -> None:
        super().__init__(features, people, bias=False)
        nn.init.normal_(self.weight, std=0.001)


class CosineClassifier(LinearClassifier):
    """Cosine similarities to one vector per person, in single precision or better."""

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch people"]:
        """Return the cosine of the angle to each person's vector."""
        exact = features if features.dtype.itemsize >= 4 else features.float()
        return F.normalize(exact) @ F.normalize(self.weight).T


CLASSIFIERS: dict[str, type[LinearClassifier]] = {"linear": LinearClassifier, "cosine": CosineClassifier}


class IdentityClassifier(nn.Module):
    """The network that supervised fine-tuning trains, in one forward, so that it can be wrapped as one."""

    def __init__(self, encoder: Encoder, people: int, *, classifier: str, compared: Literal["before", "after"]) -> None:
        super().__init__()
        assert encoder.head is not None
        self.encoder, self.compared = encoder, compared
        self.classifiers = nn.ModuleList(CLASSIFIERS[classifier](dim, people) for dim in encoder.head.part_dims)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], cameras: Int64[Tensor, " batch"] | None
    ) -> tuple[list[Float[Tensor, "batch people"]], list[Float[Tensor, "batch _"]]]:
        """Return the scores of each part, and the features of each part that triplet losses compare."""
        parts = self.encoder.parts(images, cameras)
        scores = [classify(part) for classify, part in zip(self.classifiers, parts.after, strict=True)]
        return scores, list(parts.before if self.compared == "before" else parts.after)

    def body(self) -> list[nn.Module]:
        """Return the backbone and the head's copies of it, which are frozen at the start."""
        assert self.encoder.head is not None
        return [self.encoder.backbone, *self.encoder.head.body()]
