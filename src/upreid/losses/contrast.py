"""Instance contrast: a view of an image should find the other view of it among many other images.

MoCo, eq. 1 (https://arxiv.org/abs/1911.05722), with the head and temperature of MoCo v2 (https://arxiv.org/abs/2003.04297).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def info_nce(
    query: Float[Tensor, "batch dim"],
    key: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "queue dim"],
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of picking the own key out of 1 + queue candidates, averaged over the batch.

    All inputs are unit vectors. Only `query` receives a gradient. A collapsed encoder gives ln(1 + queue).

        for q, k in zip(query, key):
            scores = [q @ k] + [q @ n for n in negatives]
            loss -= log_softmax(scores / temperature)[0] / batch
    """
    positive = torch.einsum("bd,bd->b", query, key.detach())[:, None]  # [batch, 1]
    others = query @ negatives.detach().T  # [batch, queue]
    logits = torch.cat([positive, others], dim=1) / temperature
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
