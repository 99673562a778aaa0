"""Intrinsic contrast: the local patches of an image should differ from each other, because identity is in the details.

UP-ReID (https://arxiv.org/abs/2112.00317) puts a contrastive constraint among local patches of each image (sourced,
abstract); its equation is not public. Every function here is a *reading* of it, listed by name in `READINGS`. All share one
signature, and so do the controls in `CONTROLS`:

- `query` holds the patches by the online encoder, [batch, patches, dim]. It is the only argument that receives a gradient.
- `key` holds the other version of the patches by the momentum encoder, [images, patches, dim], of the whole batch, of all ranks
  together.
- `own` is the place of each query image among the `images`, [batch].
- `hardest` is the number of most similar negatives that each patch keeps; None keeps all.
- `columns` is the number of columns of the patch grid, whose patches are numbered along the rows.
- `weights` are factors on the losses of the images, of mean 1 over the whole batch; by default all count alike.

All vectors have unit length.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from upreid.errors import InputError


def i_a(
    query: Float[Tensor, "batch patches dim"],
    key: Float[Tensor, "images patches dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    hardest: int | None,
    columns: int,
    weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Find the same patch in the other version, among the patches of the same image.

    This is the most literal reading: the contrast happens inside one image. Body position alone can solve it. A collapsed
    encoder gives ln(1 + hardest). `columns` is not used.

        for i, m: negatives = hardest of [query[i, m] @ key[own[i], n] for n != m]
            loss -= log_softmax([query[i, m] @ key[own[i], m]] + negatives)[0] / (batch * patches)
    """
    del columns
    similarity = within(query, key, own)
    patches = similarity.shape[1]
    is_negative = ~torch.eye(patches, dtype=torch.bool, device=similarity.device)
    return contrast(similarity, is_negative, patches - 1, temperature, hardest, weights)


def i_b(
    query: Float[Tensor, "batch patches dim"],
    key: Float[Tensor, "images patches dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    hardest: int | None,
    columns: int,
    weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Keep the patches of an image together: the least similar of them against the most similar patch of every other image.

    This is a reading that takes "intra-identity" as one image, one identity, with mining as in the batch-hard triplet. A
    collapsed encoder gives ln(images). `hardest` is a number of other images here. `columns` is not used.

        for i, m: negatives = [max(query[i, m] @ key[j, n] for n) for j != own[i]]
            loss -= log_softmax([min(query[i, m] @ key[own[i], n] for n)] + negatives)[0] / (batch * patches)
    """
    del columns
    # max keeps indices for its backward pass; amax would keep all (batch patches) x (images patches) similarities
    nearest = torch.einsum("bmd,jnd->bmjn", query, key.detach()).max(dim=3).values  # [batch, patches, images]
    is_own = own[:, None] == torch.arange(len(key), device=own.device)  # [batch, images]
    positive = within(query, key, own).amin(dim=2, keepdim=True)
    others = nearest.masked_fill(is_own[:, None], -torch.inf)
    return rank_first(positive, mined(others, len(key) - 1, hardest), temperature, weights)


def i_c(
    query: Float[Tensor, "batch patches dim"],
    key: Float[Tensor, "images patches dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    hardest: int | None,
    columns: int,
    weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """I-A without the patches of the same row among the negatives.

    This is a reading: bodies are symmetric, so the left sleeve is a false negative for the right one. With one column it is
    I-A.

        for i, m: candidates are the n with n // columns != m // columns; the rest as in i_a
    """
    similarity = within(query, key, own)
    patches = similarity.shape[1]
    level = torch.arange(patches, device=similarity.device) // columns
    return contrast(similarity, level[:, None] != level, patches - columns, temperature, hardest, weights)


def i_d(
    query: Float[Tensor, "batch patches dim"],
    key: Float[Tensor, "images patches dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    hardest: int | None,
    columns: int,
    weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """I-A with the same position of every other image as negatives too.

    This is our variant, not claimed for the paper: it closes the shortcut of I-A, because position no longer tells the positive.
    A collapsed encoder gives ln(images + patches - 1). `hardest` counts negatives of both kinds together. `columns` is not
    used.

        for i, m: negatives = [query[i, m] @ key[own[i], n] for n != m] + [query[i, m] @ key[j, m] for j != own[i]]
            loss -= log_softmax([query[i, m] @ key[own[i], m]] + negatives)[0] / (batch * patches)
    """
    del columns
    inside = within(query, key, own)  # [batch, patches, patches]
    across = torch.einsum("bmd,jmd->bmj", query, key.detach())  # [batch, patches, images]
    positive = inside.diagonal(dim1=1, dim2=2)[:, :, None]
    is_self = torch.eye(inside.shape[1], dtype=torch.bool, device=inside.device)
    is_own = own[:, None] == torch.arange(len(key), device=own.device)
    others = [inside.masked_fill(is_self, -torch.inf), across.masked_fill(is_own[:, None], -torch.inf)]
    available = inside.shape[1] - 1 + len(key) - 1
    return rank_first(positive, mined(torch.cat(others, dim=2), available, hardest), temperature, weights)


def within(
    query: Float[Tensor, "batch patches dim"], key: Float[Tensor, "images patches dim"], own: Int64[Tensor, " batch"]
) -> Float[Tensor, "batch patches patches"]:
    """Return the similarity of each patch to each key patch of the same image."""
    return query @ key.detach()[own].transpose(1, 2)


def contrast(
    similarity: Float[Tensor, "batch patches patches"],
    is_negative: Bool[Tensor, "patches patches"],
    available: int,
    temperature: float,
    hardest: int | None,
    weights: Float[Tensor, " batch"] | None,
) -> Float[Tensor, ""]:
    """Contrast the diagonal with the `available` negatives of each row."""
    others = similarity.masked_fill(~is_negative, -torch.inf)
    positive = similarity.diagonal(dim1=1, dim2=2)[:, :, None]
    return rank_first(positive, mined(others, available, hardest), temperature, weights)


def mined(
    others: Float[Tensor, "batch patches candidates"], available: int, hardest: int | None
) -> Float[Tensor, "batch patches kept"]:
    """Keep the `hardest` most similar candidates; those that are no negatives stand at minus infinity."""
    check_negatives(available, hardest)
    return others if hardest is None else others.topk(hardest, dim=2).values


def check_negatives(available: int, hardest: int | None) -> None:
    """Raise InputError where a patch has no negatives, so that the loss would always be 0, or has fewer than `hardest`."""
    if available < 1:
        raise InputError(
            "a patch has no negatives to be told from, 1 or more are needed; "
            "use more patch rows, or for readings i-b and i-d a batch of 2 or more"
        )
    if hardest is not None and not 1 <= hardest <= available:
        raise InputError(
            f"hard mining of {hardest} negatives out of {available}; use 1 to {available}, or None for all"
        )


def rank_first(
    positive: Float[Tensor, "batch patches 1"],
    others: Float[Tensor, "batch patches kept"],
    temperature: float,
    weights: Float[Tensor, " batch"] | None,
) -> Float[Tensor, ""]:
    """Cross-entropy of ranking the positive above the others, averaged over patches."""
    logits = (torch.cat([positive, others], dim=2) / temperature).flatten(0, 1)
    return averaged(logits, logits.new_zeros(len(logits), dtype=torch.long), weights)


def averaged(
    logits: Float[Tensor, "rows classes"], classes: Int64[Tensor, " rows"], weights: Float[Tensor, " batch"] | None
) -> Float[Tensor, ""]:
    """Cross-entropy, averaged over the patches of each image, then, times their weights, over images."""
    if weights is None:
        return F.cross_entropy(logits, classes)
    losses = F.cross_entropy(logits, classes, reduction="none").view(len(weights), -1).mean(dim=1)
    return (weights * losses).mean()


def position(
    query: Float[Tensor, "batch patches dim"],
    key: Float[Tensor, "images patches dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    hardest: int | None,
    columns: int,
    weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Classify the position of each patch, without looking at any other patch.

    This is a control and no reading: body position alone can solve I-A, and where this loss gains as much, position is what I-A
    teaches. The first entries of a patch's embedding are the scores of the positions, so the patch head is the classifier. `key`,
    `own`, `hardest` and `columns` are not used.

        for i, m: loss -= log_softmax(query[i, m, :patches] / temperature)[m] / (batch * patches)
    """
    del key, own, hardest, columns
    batch, patches, _ = query.shape
    scores = (query[:, :, :patches] / temperature).flatten(0, 1)
    return averaged(scores, torch.arange(patches, device=query.device).repeat(batch), weights)


@dataclass(frozen=True)
class IntrinsicLoss:
    """A reading: its loss, whether it compares patches of different images, and how many negatives a patch has."""

    loss: Callable[..., Float[Tensor, ""]]
    crosses_images: bool
    num_negatives: Callable[[int, int, int], int]
    """Function of the numbers of patches, of patch columns, and of images."""
    needs_keys: bool = True
    """Whether it compares the patches with those of the momentum encoder."""


READINGS: dict[str, IntrinsicLoss] = {
    "i-a": IntrinsicLoss(i_a, crosses_images=False, num_negatives=lambda patches, _, __: patches - 1),
    "i-b": IntrinsicLoss(i_b, crosses_images=True, num_negatives=lambda _, __, images: images - 1),
    "i-c": IntrinsicLoss(i_c, crosses_images=False, num_negatives=lambda patches, columns, _: patches - columns),
    "i-d": IntrinsicLoss(i_d, crosses_images=True, num_negatives=lambda patches, _, images: patches - 1 + images - 1),
}

CONTROLS: dict[str, IntrinsicLoss] = {
    "position": IntrinsicLoss(
        position, crosses_images=False, num_negatives=lambda patches, _, __: patches - 1, needs_keys=False
    ),
}
"""What could explain the gain of a reading without its idea; chosen as readings are."""
LOSSES = READINGS | CONTROLS
"""All that can be chosen."""
