"""Measures of embeddings as a whole: their spread, the pull of cameras, and how patches are told from each other."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

ROWS_AT_A_TIME = 1024
"""Number of images that are compared with all others at once, so that there is never a matrix of all pairs."""


def alignment(first: Float[Tensor, "pairs dim"], second: Float[Tensor, "pairs dim"]) -> float:
    """Return the mean squared distance of pairs that belong together; 0 is perfect. Inputs are unit vectors.

    Wang and Isola, eq. for alpha = 2 (https://arxiv.org/abs/2005.10242).

        mean of |a - b| ** 2 for a, b in zip(first, second)
    """
    return (first - second).square().sum(dim=1).mean().item()


def uniformity(points: Float[Tensor, "points dim"]) -> float:
    """Return how evenly unit vectors cover the sphere: 0 where all are equal, lower where they lie more evenly.

    Wang and Isola, for t = 2 (https://arxiv.org/abs/2005.10242).

        log(mean of exp(-2 * |a - b| ** 2) for every pair of two different points)
    """
    sums: list[Tensor] = []
    for first, rows in enumerate(points.split(ROWS_AT_A_TIME)):
        exponents = -2.0 * torch.cdist(rows, points, compute_mode="donot_use_mm_for_euclid_dist").square()
        itself = torch.arange(len(rows), device=points.device)
        exponents[itself, itself + first * ROWS_AT_A_TIME] = -torch.inf
        sums.append(exponents.double().logsumexp(dim=1))
    return (torch.cat(sums).logsumexp(dim=0) - math.log(len(points) * (len(points) - 1))).item()


@dataclass(frozen=True, kw_only=True)
class CameraBias:
    """Share of images whose nearest stranger comes from the same camera, and the share for a random stranger."""

    share: float
    chance: float


def camera_bias(
    features: Float[Tensor, "images dim"], people: Int64[Tensor, " images"], cameras: Int64[Tensor, " images"]
) -> CameraBias:
    """Look at the nearest image of another person (cosine) for every image; without bias both shares are equal.

    for i: strangers = [j for j if people[j] != people[i]]
        share += cameras[argmax over strangers of features[i] @ features[j]] == cameras[i]
        chance += fraction of strangers with cameras[j] == cameras[i]
    """
    features = torch.nn.functional.normalize(features)
    is_same, chances = [], []
    for some in torch.arange(len(features), device=features.device).split(ROWS_AT_A_TIME):
        is_stranger = people[some, None] != people
        same_camera = cameras[some, None] == cameras
        nearest = (features[some] @ features.T).masked_fill(~is_stranger, -torch.inf).argmax(dim=1)
        is_same.append(cameras[nearest] == cameras[some])
        chances.append((same_camera & is_stranger).sum(dim=1) / is_stranger.sum(dim=1))
    return CameraBias(share=share(torch.cat(is_same)), chance=torch.cat(chances).double().mean().item())


@dataclass(frozen=True, kw_only=True)
class PatchDiscrimination:
    """Share of patches that find their partner, and what they would find it by."""

    within: float
    """Among the patches of its own image: by position and content."""
    by_position: float
    """Among the patches of another image, its own position taken for right: by position alone."""
    across: float
    """Among the same position of all images: by content alone."""
    chance_within: float
    chance_across: float

    @property
    def position_share(self) -> float:
        """Part of `within` that position alone explains, both above chance: 1 is a shortcut, 0 none. NaN without such a part."""
        above = self.within - self.chance_within
        return (self.by_position - self.chance_within) / above if above > 0 else math.nan


def patch_discrimination(
    query: Float[Tensor, "images patches dim"], key: Float[Tensor, "images patches dim"]
) -> PatchDiscrimination:
    """Pick the most similar key for every query patch. Inputs are unit vectors; the other image is the next one.

    for i, m:
        within += argmax over n of query[i, m] @ key[i, n] == m
        by_position += argmax over n of query[i, m] @ key[(i + 1) % images, n] == m
        across += argmax over j of query[i, m] @ key[j, m] == i
    """
    images, patches, _ = query.shape
    position = torch.arange(patches, device=query.device)
    others = key.roll(-1, dims=0)
    content = torch.einsum("imd,jmd->mij", query, key).argmax(dim=2)  # [patches, images]
    return PatchDiscrimination(
        within=share((query @ key.transpose(1, 2)).argmax(dim=2) == position),
        by_position=share((query @ others.transpose(1, 2)).argmax(dim=2) == position),
        across=share(content == torch.arange(images, device=query.device)),
        chance_within=1 / patches,
        chance_across=1 / images,
    )


def share(is_right: Tensor) -> float:
    """Return the fraction of values that are true."""
    return is_right.double().mean().item()
