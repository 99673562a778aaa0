"""BNNeck: metric learning before, classification after a BatchNorm (Bag of Tricks, https://arxiv.org/abs/1903.07071)."""

from jaxtyping import Float
from torch import Tensor, nn


class BNNeck(nn.Module):
    """Features for the triplet loss come in; logits for the identity loss come out, through a BatchNorm without shift.

    A shift would move the origin that cosine distances are measured from; the classifier has none either, so that its
    planes pass through the same origin. `neck` stays with the encoder, `classifier` ends with the training.
    """

    def __init__(self, features: int, people: int) -> None:
        super().__init__()
        self.neck = nn.BatchNorm1d(features)
        self.neck.bias.requires_grad_(False)
        self.classifier = nn.Linear(features, people, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch people"]:
        """Classify."""
        return self.classifier(self.neck(features))
