"""Re-ranking with k-reciprocal encoding, sparse and exact.

Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017
(https://arxiv.org/abs/1701.08398). Two images are near if their neighbourhoods are alike: each image is encoded by its
k-reciprocal neighbours, and the Jaccard distance of two encodings is blended with the distance of the features.

What is computed is what the public implementations compute, which settle what the paper leaves open, and differ from it in
the three places marked *public code* below. They hold several matrices of images x images (35 GB each at MSMT17's 93,820);
here encodings are sparse, and of the original distances only neighbours and each row's maximum are kept. With N images of
`dim` features and neighbourhoods of n images (tens), memory is 2 N dim + 1,024 N + O(N n) single-precision numbers.

Order of images: queries first, then gallery; of equal distances the lower index comes first, as in a stable sort.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csc_array, csr_array
from torch import Tensor

from upreid.retrieval.inputs import as_feature_pair
from upreid.retrieval.neighbours import TILE, Images, images_of, neighbours
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
    quiet: bool = False,
) -> NDArray[np.float32]:
    """Return re-ranked distances [queries, gallery] of features [queries, dim] and [gallery, dim]; arrays, lists or tensors.

    `k1`: size of the reciprocal neighbourhoods; `k2`: neighbours over which encodings are averaged (1: none);
    `lambda_value`: share of the original distance, from 0 (Jaccard distance alone) to 1. Results lie in 0 to 1, but for rounding.

    `metric`: squared Euclidean distances of the features as they are (euclidean), or of the features scaled to unit length
    (cosine), which are twice the cosine distances; each row's scale cancels.

    Raises InputError for settings out of range, shapes that do not fit, and features that are not finite.
    """
    check_reranking(k1, k2, lambda_value)
    query, gallery = as_feature_pair(query_features, gallery_features, metric)
    distances = np.empty((len(query), len(gallery)), dtype=np.float32)
    rows = reranked_rows(query, gallery, k1=k1, k2=k2, lambda_value=lambda_value, metric=metric, quiet=quiet)
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
    quiet: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Return the rows of `rerank`, some queries at a time, for `evaluate_distances`; the input is checked at once."""
    check_reranking(k1, k2, lambda_value)
    query, gallery = as_feature_pair(query_features, gallery_features, metric)
    return reranked_rows(query, gallery, k1=k1, k2=k2, lambda_value=lambda_value, metric=metric, quiet=quiet)


def reranked_rows(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    *,
    k1: int,
    k2: int,
    lambda_value: float,
    metric: str,
    quiet: bool,
) -> Iterator[NDArray[np.float32]]:
    """Blend (section 3.5): (1 - lambda) Jaccard distance + lambda original distance, for `TILE` queries at a time."""
    images = images_of(query, gallery, metric=metric)
    ranked, farthest = neighbours(images, k1 + 1, quiet=quiet)
    farthest[farthest == 0] = 1  # all images are copies of one
    encodings = encode(neighbourhoods(ranked, k1), images, farthest)
    encodings = expand_queries(encodings, ranked[:, :k2])
    inverted = csc_array(encodings[len(query) :])
    with progress("re-ranking", len(query), "queries", quiet=quiet) as meter:
        for first in range(0, len(query), TILE):
            chunk = encodings[first : min(first + TILE, len(query))]
            distances = jaccard_distances(chunk, inverted)
            distances *= 1 - lambda_value
            if lambda_value > 0:
                original = images.distances(first, len(query))[: len(distances)].numpy()
                original /= farthest[first : first + len(distances), None]
                distances += lambda_value * original
            yield distances
            meter.advance(len(distances))


def neighbourhoods(ranked: NDArray[np.int32], k1: int) -> csr_array:
    """Return R*(p, k1) (section 3.2): the reciprocal neighbours of p, and those of half as many neighbours that fit in.

        R*(p, k1) = R(p, k1), and for each q in R(p, k1) with |R(p, k1) & R(q, k1 / 2)| > 2/3 |R(q, k1 / 2)|: R(q, k1 / 2)

    *Public code*: more than two thirds, where the paper has at least; k1 / 2 rounds to the nearest, halves to even.
    """
    reciprocal, half = reciprocal_neighbours(ranked), reciprocal_neighbours(ranked[:, : round(k1 / 2) + 1])
    overlaps = csr_array(reciprocal @ half).multiply(reciprocal).tocsr()  # R(q, k) holds p where R(p, k) holds q
    sizes = half.sum(axis=1)
    overlaps.data = (3 * overlaps.data > 2 * sizes[overlaps.indices]).astype(np.int32)
    overlaps.eliminate_zeros()
    return csr_array(reciprocal + overlaps @ half)


def reciprocal_neighbours(ranked: NDArray[np.int32]) -> csr_array:
    """Return R(p, k) (section 3.2): ones where p and q are among each other's `ranked` [images, k + 1].

    *Public code*: k + 1, since an image is its own nearest neighbour.
    """
    forward = sparse_rows(ranked, np.ones(ranked.shape, dtype=np.int32))
    return forward.multiply(forward.T).tocsr()


def encode(neighbourhoods: csr_array, images: Images, farthest: NDArray[np.float32]) -> csr_array:
    """Return V(p, q) = exp(-d(p, q)) for q in R*(p), with d divided by p's farthest distance (section 3.3).

    *Public code*: divided by their sum, so that the encodings of all images have the same weight.
    """
    rows = np.repeat(np.arange(images.count, dtype=np.int32), np.diff(neighbourhoods.indptr))
    weights = np.exp(-images.distances_of_pairs(rows, neighbourhoods.indices) / farthest[rows])
    weights /= np.bincount(rows, weights, minlength=images.count)[rows]
    return csr_array(
        (weights.astype(np.float32), neighbourhoods.indices, neighbourhoods.indptr), shape=neighbourhoods.shape
    )


def expand_queries(encodings: csr_array, ranked: NDArray[np.int32]) -> csr_array:
    """Average the encodings of the nearest images `ranked` [images, k2]: local query expansion (section 3.4).

    With k2 = 1 encodings stay as they are, even where a copy of an image stands before it.
    """
    if ranked.shape[1] == 1:
        return encodings
    return sparse_rows(ranked, np.full(ranked.shape, 1 / ranked.shape[1], dtype=np.float32)) @ encodings


def jaccard_distances(queries: csr_array, inverted: csc_array) -> NDArray[np.float32]:
    """Return 1 - sum of minima / sum of maxima (section 3.3) for encodings of queries [queries, images] and gallery.

    Encodings sum to 1, so the maxima sum to 2 less the minima. Only gallery images that share a neighbour with the query are
    touched: the columns of the gallery's encodings are its inverted index.

        for q, g in product(queries, gallery):
            shared = sum(min(q[n], g[n]) for n in images)
            distance = 1 - shared / (2 - shared)
    """
    distances = np.empty((queries.shape[0], inverted.shape[0]), dtype=np.float32)  # pyright: ignore[reportOptionalSubscript]
    for row, (start, stop) in zip(distances, zip(queries.indptr, queries.indptr[1:], strict=False), strict=True):
        sharing = inverted[:, queries.indices[start:stop]]
        weights = np.repeat(queries.data[start:stop], np.diff(sharing.indptr))
        shared = np.bincount(sharing.indices, np.minimum(sharing.data, weights), minlength=len(row))
        row[:] = 1 - shared / (2 - shared)
    return distances


def sparse_rows(ranked: NDArray[np.int32], values: NDArray[np.float32] | NDArray[np.int32]) -> csr_array:
    """Make a sparse matrix [images, images] with `values` [images, k] at the columns `ranked` [images, k]."""
    count, k = ranked.shape
    found = csr_array((values.ravel(), ranked.ravel(), np.arange(0, count * k + 1, k)), shape=(count, count))
    found.sort_indices()
    return found
