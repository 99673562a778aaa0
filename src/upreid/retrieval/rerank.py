"""Re-ranking with k-reciprocal encoding, sparse and exact.

Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017
(https://arxiv.org/abs/1701.08398). Two images are near if their neighbourhoods are alike: each image is encoded by its
k-reciprocal neighbours, and the Jaccard distance of two encodings is blended with the distance of the features.

What is computed is what the public implementations compute, which settle what the paper leaves open, and differ from it in
the three places marked *public code* in retrieval/jaccard.py, where encodings are made. They hold several matrices of images x
images (35 GB each at MSMT17's 93,820); here encodings are sparse, and of the original distances only neighbours and each row's
maximum are kept. With N images of `dim` features and neighbourhoods of n images (tens), memory is 2 N dim + 1,024 N + O(N n)
single-precision numbers.

Published numbers come from three algorithms, here called variants:

- *classic* is the public implementation that the paper's authors point to, and the default;
- *fast-reid* is what fast-reid computes since 2021 (fastreid/utils/compute_dist.py at 10a7c01, after OpenUnReID): `k1` counts the
  image itself, weights are a softmax of the squared distances as they are, and the original distance that is blended in is the
  cosine distance, or the squared Euclidean one, without each row's scale;
- *luperson* is what LUPerson's fork of fast-reid (of 2020) computes: the classic, given cosine distances where it expects roots,
  so that squared distances are squared once more.

Order of images: queries first, then gallery; of equal distances the lower index comes first, as in a stable sort.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csc_array
from torch import Tensor

from upreid.retrieval.inputs import as_feature_pair
from upreid.retrieval.jaccard import encode, expand_queries, neighbourhoods, shared_weights
from upreid.retrieval.neighbours import TILE, images_of, neighbours
from upreid.retrieval.settings import check_reranking
from upreid.runtime.console import progress


def rerank(
    query_features: ArrayLike | Tensor,
    gallery_features: ArrayLike | Tensor,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    *,
    metric: str = "cosine",
    variant: str = "classic",
    quiet: bool = False,
) -> NDArray[np.float32]:
    """Return re-ranked distances [queries, gallery] of features [queries, dim] and [gallery, dim]; arrays, lists or tensors.

    `k1`: size of the reciprocal neighbourhoods; `k2`: neighbours over which encodings are averaged (1: none);
    `lambda_value`: share of the original distance, from 0 (Jaccard distance alone) to 1. `variant`: the algorithm, classic,
    fast-reid or luperson. Results of the classic and of luperson lie in 0 to 1, but for rounding.

    `metric`: squared Euclidean distances of the features as they are (euclidean), or of the features scaled to unit length
    (cosine), which are twice the cosine distances; each row's scale cancels.

    Raises InputError for settings out of range, shapes that do not fit, and features that are not finite.
    """
    check_reranking(k1, k2, lambda_value, variant, metric=metric)
    query, gallery = as_feature_pair(query_features, gallery_features, metric)
    distances = np.empty((len(query), len(gallery)), dtype=np.float32)
    how = {"k1": k1, "k2": k2, "lambda_value": lambda_value, "metric": metric, "variant": variant}
    rows = reranked_rows(query, gallery, **how, quiet=quiet)
    for first, chunk in zip(range(0, len(query), TILE), rows, strict=True):
        distances[first : first + TILE] = chunk
    return distances


def reranked_chunks(
    query_features: ArrayLike | Tensor,
    gallery_features: ArrayLike | Tensor,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    metric: str = "cosine",
    variant: str = "classic",
    quiet: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Return the rows of `rerank`, some queries at a time, for `evaluate_distances`; the input is checked at once."""
    check_reranking(k1, k2, lambda_value, variant, metric=metric)
    query, gallery = as_feature_pair(query_features, gallery_features, metric)
    how = {"k1": k1, "k2": k2, "lambda_value": lambda_value, "metric": metric, "variant": variant}
    return reranked_rows(query, gallery, **how, quiet=quiet)


def reranked_rows(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    *,
    k1: int,
    k2: int,
    lambda_value: float,
    metric: str,
    variant: str,
    quiet: bool,
) -> Iterator[NDArray[np.float32]]:
    """Blend (section 3.5): (1 - lambda) Jaccard distance + lambda original distance, for `TILE` queries at a time."""
    images = images_of(query, gallery, metric=metric)
    is_fast_reid, is_luperson = variant == "fast-reid", variant == "luperson"
    ranked, scale = neighbours(images, k1 if is_fast_reid else k1 + 1, quiet=quiet)
    scale[scale == 0] = 1  # all images are copies of one
    weight_scale = np.ones_like(scale) if is_fast_reid else scale
    encodings = encode(neighbourhoods(ranked, k1), images, weight_scale, squared=is_luperson)
    encodings = expand_queries(encodings, ranked[:, :k2])
    if is_fast_reid:
        scale[:] = 2 if metric == "cosine" else 1  # 1 - cosine is half the squared distance of directions
    inverted = csc_array(encodings[len(query) :])
    with progress("re-ranking", len(query), "queries", quiet=quiet) as meter:
        for first in range(0, len(query), TILE):
            chunk = encodings[first : min(first + TILE, len(query))]
            distances = np.empty((chunk.shape[0], len(gallery)), dtype=np.float32)
            for rows, shared in shared_weights(chunk, inverted):
                distances[rows] = 1 - shared / (
                    2 - shared
                )  # encodings sum to 1, so the maxima sum to 2 less the minima
            distances *= 1 - lambda_value
            if lambda_value > 0:
                original = images.distances(first, len(query))[: len(distances)].numpy()
                original /= scale[first : first + len(distances), None]
                distances += lambda_value * (original**2 if is_luperson else original)
            yield distances
            meter.advance(len(distances))
