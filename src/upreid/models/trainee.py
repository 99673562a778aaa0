"""What fine-tuning trains: an encoder with its head, and a classifier of the training people for each part."""

from typing import Literal

from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.models.encoder import Encoder


class LinearClassifier(nn.Linear):
    """Scores of the training people; no bias, so that its planes pass through the origin as the neck's output does."""

    def __init__(self, features: int, people: int) -> None:
        super().__init__(features, people, bias=False)
        nn.init.normal_(self.weight, std=0.001)


class CosineClassifier(LinearClassifier):
    """Cosine similarities to a vector per person, in single precision at least."""

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch people"]:
        """Compare."""
        exact = features if features.dtype.itemsize >= 4 else features.float()
        return F.normalize(exact) @ F.normalize(self.weight).T


CLASSIFIERS: dict[str, type[LinearClassifier]] = {"linear": LinearClassifier, "cosine": CosineClassifier}


class Trainee(nn.Module):
    """One forward for everything that is trained, so that it can be wrapped as one."""

    def __init__(self, encoder: Encoder, people: int, *, classifier: str, compared: Literal["before", "after"]) -> None:
        super().__init__()
        assert encoder.head is not None
        self.encoder, self.compared = encoder, compared
        self.classifiers = nn.ModuleList(CLASSIFIERS[classifier](dim, people) for dim in encoder.head.part_dims)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], cameras: Int64[Tensor, " batch"] | None
    ) -> tuple[list[Float[Tensor, "batch people"]], list[Float[Tensor, "batch _"]]]:
        """Scores of each part, and the features of each part that triplet losses compare."""
        parts = self.encoder.parts(images, cameras)
        scores = [classify(part) for classify, part in zip(self.classifiers, parts.after, strict=True)]
        return scores, list(parts.before if self.compared == "before" else parts.after)

    def body(self) -> list[nn.Module]:
        """The backbone and the head's copies of it: what is frozen at the start."""
        assert self.encoder.head is not None
        return [self.encoder.backbone, *self.encoder.head.body()]
