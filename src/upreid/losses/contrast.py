"""Instance contrast: a view of an image should find the other view of it among many other images.

MoCo, eq. 1 (https://arxiv.org/abs/1911.05722), with the head and temperature of MoCo v2 (https://arxiv.org/abs/2003.04297).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def info_nce(
    query: Float[Tensor, "batch dim"],
    key: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "queue dim"],
    *,
    temperature: float,
    left_out: Bool[Tensor, "batch queue"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of picking the own key out of 1 + queue candidates, averaged over the batch.

    All inputs are unit vectors. Only `query` receives a gradient. A collapsed encoder gives ln(1 + queue). `left_out` marks
    vectors of the queue that are no negatives of an image, such as those of its own tracklet; by default all are.

        for i, (q, k) in enumerate(zip(query, key)):
            scores = [q @ k] + [q @ n for j, n in enumerate(negatives) if not left_out[i, j]]
            loss -= log_softmax(scores / temperature)[0] / batch
    """
    logits = candidates(query, key, negatives, temperature)
    if left_out is not None:
        logits = logits.masked_fill(F.pad(left_out, (1, 0)), -torch.inf)  # the own key stays
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


def mean_nce(
    query: Float[Tensor, "batch dim"],
    key: Float[Tensor, "batch dim"],
    others: Float[Tensor, "queue dim"],
    positives: Bool[Tensor, "batch queue"],
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of picking each positive out of 1 + queue candidates, averaged over an image's positives, then the batch.

    The own key is a positive, and so are the `positives` among the others. This is label-guided contrast as PNL has it for the
    crops of a tracklet (LUPerson-NL, PNL/ at 6b9298e). Without positives in the queue it is `info_nce`.

        for i, (q, k) in enumerate(zip(query, key)):
            scores = log_softmax(([q @ k] + [q @ n for n in others]) / temperature)
            loss -= mean([scores[0]] + [scores[1 + j] for j in range(queue) if positives[i, j]]) / batch
    """
    scores = candidates(query, key, others, temperature).log_softmax(dim=1)
    chosen = F.pad(positives, (1, 0), value=True)
    return -((scores * chosen).sum(dim=1) / chosen.sum(dim=1)).mean()


def candidates(
    query: Float[Tensor, "batch dim"],
    key: Float[Tensor, "batch dim"],
    others: Float[Tensor, "queue dim"],
    temperature: float,
) -> Float[Tensor, "batch candidates"]:
    """Return the similarities of queries to their own keys, in the first column, and to all others."""
    positive = torch.einsum("bd,bd->b", query, key.detach())[:, None]  # [batch, 1]
    return torch.cat([positive, query @ others.detach().T], dim=1) / temperature
