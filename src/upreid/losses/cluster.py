"""Cluster contrast: a feature should find the memory of its own cluster among those of all clusters.

Cluster-Contrast (Dai et al., ACCV 2022, https://arxiv.org/abs/2103.11568). The memory holds one unit vector per cluster, which is
not learnt: after each step it follows the features of the batch. Here that is a function of its own, called after the step of the
optimiser, where the public code hides it in the backward of the loss.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


def cluster_contrast(
    features: Float[Tensor, "batch dim"],
    clusters: Int64[Tensor, " batch"],
    memory: Float[Tensor, "clusters dim"],
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of picking one's own cluster. Inputs are unit vectors; only `features` receive a gradient.

    for f, y in zip(features, clusters):
        loss += -log_softmax([f @ m / temperature for m in memory])[y] / batch
    """
    return F.cross_entropy(features @ memory.detach().T / temperature, clusters)


@torch.no_grad()
def follow_every(
    memory: Float[Tensor, "clusters dim"],
    features: Float[Tensor, "batch dim"],
    clusters: Int64[Tensor, " batch"],
    *,
    momentum: float,
) -> Float[Tensor, "clusters dim"]:
    """Return the memory after it has followed every feature in turn; the order within a cluster matters. All are unit vectors.

    for f, y in zip(features, clusters):
        memory[y] = normalise(momentum * memory[y] + (1 - momentum) * f)
    """
    memory = memory.clone()
    turn = (clusters[:, None] == clusters).tril(-1).sum(dim=1)  # how many of the same cluster come before
    for number in range(int(turn.max()) + 1):
        (now,) = torch.where(turn == number)
        own = clusters[now]
        memory[own] = F.normalize(momentum * memory[own] + (1 - momentum) * features[now])
    return memory


@torch.no_grad()
def follow_hardest(
    memory: Float[Tensor, "clusters dim"],
    features: Float[Tensor, "batch dim"],
    clusters: Int64[Tensor, " batch"],
    *,
    momentum: float,
) -> Float[Tensor, "clusters dim"]:
    """Return the memory after each cluster has followed the one feature of the batch that is least similar to it.

    Of equally similar features the first counts.

        for y in set(clusters):
            hardest = min((f for f, own in zip(features, clusters) if own == y), key=lambda f: f @ memory[y])
            memory[y] = normalise(momentum * memory[y] + (1 - momentum) * hardest)
    """
    similarity = (features * memory[clusters]).sum(dim=1)
    order = similarity.sort(stable=True).indices
    is_first = (clusters[order][:, None] == clusters[order]).tril(-1).sum(dim=1) == 0
    chosen = order[is_first]
    memory, own = memory.clone(), clusters[chosen]
    memory[own] = F.normalize(momentum * memory[own] + (1 - momentum) * features[chosen])
    return memory


UPDATES = {"every": follow_every, "hardest": follow_hardest}
"""Ways in which the memory follows the features of a batch, by their names in recipes."""


def cluster_means(
    features: Float[Tensor, "images dim"], clusters: Int64[Tensor, " images"]
) -> Float[Tensor, "clusters dim"]:
    """Return the mean direction of each cluster, from 0 to the largest; images of cluster -1 belong to none.

    for y in range(max(clusters) + 1):
        memory[y] = normalise(mean(f for f, own in zip(features, clusters) if own == y))
    """
    is_clustered = clusters >= 0
    count = int(clusters.max()) + 1 if len(clusters) else 0
    sums = features.new_zeros(max(count, 0), features.shape[1])
    return F.normalize(sums.index_add_(0, clusters[is_clustered], features[is_clustered]))
