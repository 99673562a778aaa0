"""The memory that features of clustered images are compared with, as an interface, and as one vector for each cluster.

All arithmetic stands in `losses/`; a memory holds the tensors. They are buffers, so that they are part of a run's state.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.losses.cluster import UPDATES, cluster_contrast, cluster_means

Known = Mapping[str, Int64[Tensor, " batch"]]
"""What is known of the images of a batch: their `classes`, and what the memory asks for."""


class FeatureMemory(nn.Module):
    """What features are compared with. It is filled when an epoch begins, and follows the features after each step.

    Classes are the people of a source from 0 on, where there is one, then the clusters of the target. A loss and a step of
    following look at the images of one set: the target's or the source's.
    """

    asks: ClassVar[tuple[str, ...]] = ()
    """What it needs to know of an image beside its class: `places` in the list of all images, `cameras` (-1 is unknown)."""
    learns_singles: ClassVar[bool] = False
    """Whether an image of the target that is in no cluster is a class of its own."""

    def kept(self) -> Float[Tensor, "images dim"] | None:
        """Return vectors of the target's images that last over epochs and are clustered in place of features, if any."""

    def fill(
        self,
        features: Float[Tensor, "images dim"],
        classes: Int64[Tensor, " images"],
        cameras: Int64[Tensor, " images"],
    ) -> None:
        """Begin an epoch with the features of all images, the target's before the source's; class -1 stands for none."""
        raise NotImplementedError

    def regroup(self, classes: Int64[Tensor, " images"]) -> None:
        """Begin an epoch with new classes of the vectors that are `kept`."""
        raise NotImplementedError

    def losses(self, name: str, features: Float[Tensor, "batch dim"], known: Known) -> dict[str, Float[Tensor, ""]]:
        """Compare unit vectors with the memory; they alone receive a gradient. A memory of several losses names them itself."""
        raise NotImplementedError

    def weights(self) -> Mapping[str, float]:
        """Return the weight of each loss; a name that is missing has weight 1."""
        return {}

    def follow(self, features: Float[Tensor, "batch dim"], known: Known) -> None:
        """Follow the features of a step, of all ranks and in the order of the batch; called without gradient."""
        raise NotImplementedError

    def make_room(self, shapes: Mapping[str, torch.Size]) -> None:
        """Give every buffer the shape that it has in a saved state, where the state has it."""
        for name, buffer in list(self.named_buffers()):
            setattr(self, name, buffer.new_zeros(shapes.get(name, buffer.shape)))

    def explanation(self) -> str:
        """Say in a sentence for the log how the memory is kept."""
        raise NotImplementedError


class ClusterMemory(FeatureMemory):
    """One vector for each class, which begins an epoch as the mean direction of its images: the memory of Cluster-Contrast."""

    vectors: Float[Tensor, "classes dim"]

    def __init__(self, dim: int, *, update: str = "every", momentum: float = 0.1, temperature: float = 0.05) -> None:
        super().__init__()
        self.update, self.momentum, self.temperature = update, momentum, temperature
        self.register_buffer("vectors", torch.zeros(0, dim))

    def fill(
        self,
        features: Float[Tensor, "images dim"],
        classes: Int64[Tensor, " images"],
        cameras: Int64[Tensor, " images"],
    ) -> None:
        """Take the mean direction of the images of each class."""
        del cameras
        self.vectors = cluster_means(F.normalize(features), classes).to(self.vectors.device)

    def losses(self, name: str, features: Float[Tensor, "batch dim"], known: Known) -> dict[str, Float[Tensor, ""]]:
        """Compare each feature with the vectors of all classes."""
        return {name: cluster_contrast(features, known["classes"], self.vectors, temperature=self.temperature)}

    def follow(self, features: Float[Tensor, "batch dim"], known: Known) -> None:
        """Let the vector of each class follow its features."""
        self.vectors = UPDATES[self.update](self.vectors, features, known["classes"], momentum=self.momentum)

    def explanation(self) -> str:
        """Say which features are followed."""
        follows = {"every": "every feature in turn", "hardest": "the least similar feature of each cluster"}
        return (
            f"cluster memory follows {follows[self.update]}, share of the old {self.momentum:g}, "
            f"temperature {self.temperature:g}"
        )
