"""A memory of camera-aware proxies (CAP, https://arxiv.org/abs/2012.10674): a vector for each camera of each cluster."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from upreid.losses.camera_proxies import Proxies, inter_camera_contrast, intra_camera_contrast, split_by_camera
from upreid.losses.cluster import cluster_means
from upreid.methods.cluster_memory import ClusterMemory, Known


class CameraMemory(ClusterMemory):
    """One vector for each camera of each cluster, which is kept as the vector of a cluster is in the memory of Cluster-Contrast.

    A feature is compared with the proxies of its own camera, and with those of other cameras. The two losses have names of
    their own. There are no people of a source.
    """

    asks: ClassVar[tuple[str, ...]] = ("places",)
    own: Int64[Tensor, " images"]
    """The proxy of each image, -1 for one that is in no cluster."""
    clusters: Int64[Tensor, " proxies"]
    cameras: Int64[Tensor, " proxies"]

    def __init__(self, dim: int, *, negatives: int = 50, across_weight: float = 0.5, **how: Any) -> None:
        super().__init__(dim, **how)
        self.negatives, self.across_weight = negatives, across_weight
        for name in ("own", "clusters", "cameras"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.long))

    def fill(
        self,
        features: Float[Tensor, "images dim"],
        classes: Int64[Tensor, " images"],
        cameras: Int64[Tensor, " images"],
    ) -> None:
        """Split the clusters by camera, and take the mean direction of each proxy."""
        own, proxies = split_by_camera(classes, cameras)
        device = self.vectors.device
        self.vectors = cluster_means(F.normalize(features), own).to(device)
        self.own, self.clusters, self.cameras = own.to(device), proxies.clusters.to(device), proxies.cameras.to(device)

    def losses(self, name: str, features: Float[Tensor, "batch dim"], known: Known) -> dict[str, Float[Tensor, ""]]:
        """Compare each feature with the proxies of its own camera, and with those of the others."""
        del name
        given = features, self.own[known["places"]], self.vectors, Proxies(self.clusters, self.cameras)
        across = inter_camera_contrast(*given, negatives=self.negatives, temperature=self.temperature)
        return {"camera": intra_camera_contrast(*given, temperature=self.temperature), "across_cameras": across}

    def weights(self) -> Mapping[str, float]:
        """Return the weight of the loss across cameras."""
        return {"across_cameras": self.across_weight}

    def follow(self, features: Float[Tensor, "batch dim"], known: Known) -> None:
        """Let each proxy follow its features."""
        super().follow(features, {"classes": self.own[known["places"]]})

    def explanation(self) -> str:
        """Say how the proxies are kept, and what is compared with them."""
        return (
            f"{super().explanation()}; each cluster has a proxy for each of its cameras: a feature is compared with the proxies "
            f"of its own camera, and with weight {self.across_weight:g} those of its cluster in other cameras with the "
            f"{self.negatives} most similar ones of other clusters"
        )
