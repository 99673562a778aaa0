"""Jaccard distances of k-reciprocal encodings, sparse and exact: what re-ranking and clustering compare images by.

Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017
(https://arxiv.org/abs/1701.08398), section numbers below. Unsupervised re-ID clusters by the same distance since SpCL (Ge et al.,
NeurIPS 2020, https://arxiv.org/abs/2006.02713). The public implementations hold three matrices of images x images; here an
encoding has tens of entries, and only pairs that share a neighbour are looked at, since all others are at distance 1.

Sums run in a fixed order and are made of the same numbers for (i, j) and (j, i). So the graph is symmetric, an image is exactly
0 from itself and from images with the same encoding, and threads do not matter.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csc_array, csr_array
from torch import Tensor

from upreid.errors import InputError, RunError
from upreid.retrieval.inputs import as_directions
from upreid.retrieval.neighbours import Images, images_of, neighbours
from upreid.retrieval.settings import check_neighbours
from upreid.runtime.console import Watch, progress

ELEMENTS_AT_A_TIME = 2_000_000
"""Number of sums, and of terms, that are held at a time."""
PAIRS_PER_IMAGE = 4_096
"""Mean number of images within the radius above which the graph is refused: everything is one cluster, and memory runs out."""


def jaccard_distances(
    features: ArrayLike | Tensor,
    k1: int = 30,
    k2: int = 6,
    radius: float | None = None,
    *,
    quiet: bool = False,
    watch: Watch | None = None,
) -> csr_array:
    """Return the Jaccard distances of features [images, dim] as a sparse graph [images, images] in single precision.

    Pairs that the graph lacks are at distance 1; with a `radius`, pairs farther apart than it are left out too. **Zeros are
    entries**: an image, and a copy of it, stand at distance 0 and are neighbours. Arithmetic of scipy (`eliminate_zeros`, sums,
    products) drops such entries; do not build on its results.

    `k1`: number of nearest images, itself included, that must be mutual; `k2`: number of nearest images, itself included, over
    which encodings are averaged (1: none). `watch` is called with the phase, the images done and their number,
    beside progress on the console, which `quiet` leaves out.

    Raises InputError for settings out of range and for features that are not finite or have no direction, and RunError where
    the images are so alike that the graph would not be sparse.
    """
    check_radius(radius)
    check_neighbours(k1, k2, example="30 and 6")
    images = directions_of(features)
    ranked, _ = neighbours(images, k1, quiet=quiet, watch=watch)
    return graph_within(clustering_encodings(images, ranked, k1, k2), radius, quiet=quiet, watch=watch)


def directions_of(features: ArrayLike | Tensor) -> Images:
    """Scale features [images, dim] to unit length for the search of neighbours; InputError where they mean nothing."""
    values = as_directions(features, "image")
    return images_of(values, values[:0], metric="cosine")


def clustering_encodings(images: Images, ranked: NDArray[np.int32], k1: int, k2: int) -> csr_array:
    """Encode images by their k-reciprocal neighbours as for clustering; `ranked` [images, k1] begins with the image itself.

    *Public code*: `k1` counts the image itself, where re-ranking does not; the smaller neighbourhoods are those of re-ranking.
    """
    encodings = encode(neighbourhoods(ranked, k1), images, np.ones(images.count, dtype=np.float32))
    encodings = expand_queries(encodings, ranked[:, :k2])
    encodings.sort_indices()  # so that sums of (i, j) and (j, i) run in the same order
    return encodings


def graph_within(
    encodings: csr_array, radius: float | None = None, *, quiet: bool = False, watch: Watch | None = None
) -> csr_array:
    """Return the Jaccard distances up to `radius` (None: all below 1) between encodings [images, images].

    for i, j in product(images, images):
        shared = sum(min(V[i, n], V[j, n]) for n in images)
        distance = 1 - shared / (sum(V[i]) + sum(V[j]) - shared)
    """
    check_radius(radius)
    count = len(encodings.indptr) - 1
    columns, distances, sizes = list[NDArray[np.int32]](), list[NDArray[np.float32]](), np.zeros(count, dtype=np.int64)
    with progress("jaccard distances", count, "images", quiet=quiet, watch=watch) as meter:
        for rows, row, column, distance in sharing_pairs(encodings, radius=radius):
            columns.append(column)
            distances.append(distance)
            sizes[rows] = np.bincount(row, minlength=rows.stop - rows.start)
            if sizes.sum() > count * PAIRS_PER_IMAGE:
                raise RunError(
                    f"the features of {count} images are so alike that on average more than {PAIRS_PER_IMAGE} others lie within "
                    f"Jaccard distance {1 if radius is None else radius:g} of an image; give a smaller distance, or look whether "
                    "the encoder still tells images apart"
                )
            meter.advance(rows.stop - rows.start)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return csr_array((np.concatenate(distances), np.concatenate(columns), starts), shape=encodings.shape)


def sharing_pairs(
    encodings: csr_array, chosen: NDArray[np.integer] | None = None, *, radius: float | None = None
) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]]:
    """Yield the Jaccard distances of some images (all, or those `chosen`) at a time from all images they share a neighbour with.

    Each part is a slice of these images, and of every pair the image's place in the slice, the other image and the distance, in
    the order of the two; with a `radius`, of pairs within it.
    """
    lengths = np.diff(encodings.indptr)
    rows_of = np.repeat(np.arange(len(lengths)), lengths)
    totals = np.bincount(rows_of, encodings.data, minlength=len(lengths))  # in order, as `shared_weights` adds
    queries, own = (encodings, totals) if chosen is None else (encodings[chosen], totals[chosen])
    least = (
        0.0 if radius is None else 0.999 * totals.min() * 2 * (1 - radius) / (2 - radius)
    )  # what pairs within it share
    for rows, shared in shared_weights(queries, csc_array(encodings)):
        places = np.flatnonzero(shared > least)
        row = places // shared.shape[1]
        column = places - row * shared.shape[1]
        both = shared.ravel()[places]
        distance = (1 - both / (own[rows][row] + totals[column] - both)).astype(np.float32)
        if radius is not None:
            is_near = distance <= np.float32(radius)
            row, column, distance = row[is_near], column[is_near], distance[is_near]
        yield rows, row, column.astype(np.int32), distance


def shared_weights(queries: csr_array, inverted: csc_array) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield sums of minima (section 3.3) of the encodings of some queries at a time and of all images [rows, images].

    Only images that share a neighbour with a query are touched: the columns of their encodings are the `inverted` index.

        for q, g in product(queries, images):
            shared[q, g] = sum(min(q[n], g[n]) for n in images)
    """
    count, lengths = inverted.shape[0], np.diff(inverted.indptr)  # pyright: ignore[reportOptionalSubscript]
    sizes = lengths[queries.indices].astype(np.int64)  # number of images that share each neighbour of each query
    terms = np.concatenate([[0], np.cumsum(sizes)])[queries.indptr]
    most = max(ELEMENTS_AT_A_TIME // count, 1)
    first, last = 0, len(queries.indptr) - 1
    while first < last:
        fitting = int(np.searchsorted(terms, terms[first] + ELEMENTS_AT_A_TIME, side="right")) - 1
        stop = min(max(fitting, first + 1), first + most, last)
        entries = slice(queries.indptr[first], queries.indptr[stop])
        own, starts = sizes[entries], inverted.indptr[queries.indices[entries]]
        ends = np.cumsum(own)
        places = np.arange(own.sum()) + np.repeat(starts - ends + own, own)
        rows = np.repeat(np.arange(stop - first), np.diff(terms[first : stop + 1]))
        minima = np.minimum(inverted.data[places], np.repeat(queries.data[entries], own))
        shared = np.bincount(rows * count + inverted.indices[places], minima, minlength=(stop - first) * count)
        yield slice(first, stop), shared.reshape(stop - first, count)
        first = stop


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


def encode(
    neighbourhoods: csr_array, images: Images, scale: NDArray[np.float32], *, squared: bool = False
) -> csr_array:
    """Return V(p, q) = exp(-d(p, q) / scale(p)) for q in R*(p), with d the squared distance (section 3.3).

    Re-ranking divides by p's farthest distance. Clustering does not divide: its weights are the softmax of -d over R*(p).
    `squared` squares the quotient once more.

    *Public code*: divided by their sum, so that the encodings of all images have the same weight.
    """
    rows = np.repeat(np.arange(images.count, dtype=np.int32), np.diff(neighbourhoods.indptr))
    quotients = images.distances_of_pairs(rows, neighbourhoods.indices) / scale[rows]
    weights = np.exp(-(quotients**2 if squared else quotients))
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


def sparse_rows(ranked: NDArray[np.int32], values: NDArray[np.float32] | NDArray[np.int32]) -> csr_array:
    """Make a sparse matrix [images, images] with `values` [images, k] at the columns `ranked` [images, k]."""
    count, k = ranked.shape
    found = csr_array((values.ravel(), ranked.ravel(), np.arange(0, count * k + 1, k)), shape=(count, count))
    found.sort_indices()
    return found


def check_radius(radius: float | None) -> None:
    """Refuse a radius within which nothing, or everything, lies."""
    if radius is not None and not 0 < radius < 1:
        raise InputError(f"Jaccard distance {radius:g}: expected a number between 0 and 1, such as 0.6")
