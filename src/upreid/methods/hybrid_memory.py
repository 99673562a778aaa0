"""A memory of people, clusters, and single images: the hybrid memory of SpCL (Ge et al., https://arxiv.org/abs/2006.02713)."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from upreid.losses.cluster import cluster_means, follow_every
from upreid.losses.hybrid import Members, hybrid_contrast, members_of
from upreid.methods.cluster_memory import FeatureMemory, Known


class HybridMemory(FeatureMemory):
    """One vector for each person of the source and for each image of the target, which lasts over epochs.

    Vectors begin as mean directions of people and as features of images, once, before the first epoch; after that they only
    follow features. Each new clustering looks at them, and says anew which images are a class together. An epoch in which the
    target has no class at all (one that learns from the source alone) drops its images, and they are encoded for the next epoch.
    """

    asks: ClassVar[tuple[str, ...]] = ("places",)
    learns_singles: ClassVar[bool] = True
    vectors: Float[Tensor, "people_and_images dim"]
    rows: Int64[Tensor, " members"]
    sizes: Int64[Tensor, " classes"]

    def __init__(self, dim: int, *, num_people: int, momentum: float = 0.2, temperature: float = 0.05) -> None:
        super().__init__()
        self.num_people, self.momentum, self.temperature = num_people, momentum, temperature
        self.register_buffer("vectors", torch.zeros(0, dim))
        for name in Members._fields:
            self.register_buffer(name, torch.zeros(0, dtype=torch.long))

    def kept(self) -> Float[Tensor, "images dim"] | None:
        """Return the vectors of the target's images, or None before the first epoch."""
        images = self.vectors[self.num_people :]
        return images if len(images) else None

    def fill(
        self,
        features: Float[Tensor, "images dim"],
        classes: Int64[Tensor, " images"],
        cameras: Int64[Tensor, " images"],
    ) -> None:
        """Take the mean direction of each person, and the feature of each image of the target."""
        del cameras
        features, is_person = F.normalize(features), (classes >= 0) & (classes < self.num_people)
        people = cluster_means(features[is_person], classes[is_person])
        self.vectors = torch.cat([people, features[~is_person]]).to(self.vectors.device)
        self.regroup(classes)

    def regroup(self, classes: Int64[Tensor, " images"]) -> None:
        """Say anew which vectors are a class together."""
        of_target = classes[(classes < 0) | (classes >= self.num_people)]
        if (of_target < 0).all():
            self.vectors = self.vectors[: self.num_people]
            of_target = of_target[:0]
        members = members_of(torch.cat([torch.arange(self.num_people), of_target]))
        self.rows, self.sizes = (one.to(self.rows.device) for one in members)

    def losses(self, name: str, features: Float[Tensor, "batch dim"], known: Known) -> dict[str, Float[Tensor, ""]]:
        """Compare each feature with the means of all classes."""
        given = features, known["classes"], self.vectors, Members(self.rows, self.sizes)
        return {name: hybrid_contrast(*given, temperature=self.temperature)}

    def follow(self, features: Float[Tensor, "batch dim"], known: Known) -> None:
        """Let the vector of each image follow its feature, and that of a person each feature of the person."""
        is_person = known["classes"] < self.num_people
        rows = torch.where(is_person, known["classes"], self.num_people + known["places"])
        self.vectors = follow_every(self.vectors, features, rows, momentum=self.momentum)

    def explanation(self) -> str:
        """Say what is a class, and what is kept."""
        return (
            "hybrid memory of people, clusters and single images: a vector for each image follows its features, share of the "
            f"old {self.momentum:g}, temperature {self.temperature:g}"
        )
