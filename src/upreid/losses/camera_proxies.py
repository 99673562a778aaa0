"""Camera-aware proxies: each cluster is split by camera, and a feature is compared within its camera and across cameras.

CAP (Wang et al., AAAI 2021, https://arxiv.org/abs/2012.10674). Crops of one camera look alike, so that the mean of a cluster may
be far from all of its images; a proxy is the mean of those of one camera. Proxies are means and follow features as clusters do
(`losses/cluster.py`). The paper sums the first loss over the cameras of a batch; here both are means over its images, so that
processes with equal shares of a batch compute what one would.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


class Proxies(NamedTuple):
    """The cluster and the camera of each proxy, in the order of clusters, then of cameras."""

    clusters: Int64[Tensor, " proxies"]
    cameras: Int64[Tensor, " proxies"]


def split_by_camera(
    clusters: Int64[Tensor, " images"], cameras: Int64[Tensor, " images"]
) -> tuple[Int64[Tensor, " images"], Proxies]:
    """Return the proxy of each image, and what the proxies are; images of cluster -1 have proxy -1.

    pairs = sorted({(y, c) for y, c in zip(clusters, cameras) if y >= 0})
    own = [pairs.index((y, c)) if y >= 0 else -1 for y, c in zip(clusters, cameras)]
    """
    is_clustered, own = clusters >= 0, torch.full_like(clusters, -1)
    known = torch.stack([clusters, cameras], dim=1)[is_clustered]
    pairs, own[is_clustered] = torch.unique(known, dim=0, return_inverse=True)  # pyright: ignore
    return own, Proxies(pairs[:, 0], pairs[:, 1])


def intra_camera_contrast(
    features: Float[Tensor, "batch dim"],
    own: Int64[Tensor, " batch"],
    memory: Float[Tensor, "proxies dim"],
    proxies: Proxies,
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of picking one's own proxy among those of one's camera. Only `features` receive a gradient.

    for f, o in zip(features, own):
        rivals = [p for p in range(len(memory)) if camera[p] == camera[o]]
        loss += -log_softmax([f @ memory[p] / temperature for p in rivals])[rivals.index(o)] / batch
    """
    is_rival = proxies.cameras == proxies.cameras[own][:, None]
    similarity = features @ memory.detach().T / temperature
    return F.cross_entropy(similarity.masked_fill(~is_rival, -torch.inf), own)


def inter_camera_contrast(
    features: Float[Tensor, "batch dim"],
    own: Int64[Tensor, " batch"],
    memory: Float[Tensor, "proxies dim"],
    proxies: Proxies,
    *,
    negatives: int,
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of picking the own cluster's proxies of other cameras among these and the most similar of other clusters.

    `negatives` is the number of proxies of other clusters, of any camera; where there are fewer, all of them are taken. An image
    whose cluster is seen by one camera only adds nothing. Only `features` receive a gradient.

        for f, o in zip(features, own):
            positives = [p for p in range(len(memory)) if cluster[p] == cluster[o] and camera[p] != camera[o]]
            hardest = sorted((f @ m for m, y in zip(memory, cluster) if y != cluster[o]), reverse=True)[:negatives]
            chances = log_softmax([f @ memory[p] / temperature for p in positives] + [s / temperature for s in hardest])
            loss += -mean(chances[: len(positives)]) / batch if positives else 0
    """
    is_same = proxies.clusters == proxies.clusters[own][:, None]
    is_positive = is_same & (proxies.cameras != proxies.cameras[own][:, None])
    similarity = features @ memory.detach().T / temperature
    hardest = similarity.masked_fill(is_same, -torch.inf).topk(min(negatives, len(memory)), dim=1).values
    chosen = torch.cat([similarity.masked_fill(~is_positive, -torch.inf), hardest], dim=1)
    count = is_positive.sum(dim=1)
    # A row without positives has no loss, and may have no number in `chosen`: zeros in its place keep the gradient a number.
    total = chosen.masked_fill(count[:, None] == 0, 0.0).logsumexp(dim=1)
    mean = similarity.masked_fill(~is_positive, 0.0).sum(dim=1) / count.clamp(min=1)
    return (total - mean).masked_fill(count == 0, 0.0).mean()
