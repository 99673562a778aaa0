"""The nearest neighbours of every image among all of them, without a matrix of all distances.

Distances are squared Euclidean. Matrix products in single precision find who may be near; a few more than needed are then
measured again, pair by pair in double precision, and these distances order them. So neighbours do not depend on how a machine
adds up a product, or on how many threads do it, unless more than `SPARE` images lie within single precision of the last one.

The products have one fixed shape, `TILE` x `TILE` images, padded with zeros. So a distance depends on its two images alone,
not on how many others there are or on where they stand: an image is exactly 0 from itself and from its copies, and
d(i, j) = d(j, i). That holds as long as the product adds up in the same order for every entry of a tile, as it does where we
measured it (x86, one and two threads).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from upreid.runtime.console import Watch, progress

Integers = NDArray[np.integer]
TILE = 512
"""Number of images along each side of a matrix product. Distances of `TILE` images to all others are held at a time."""
SPARE = 8
"""Number of candidates that are measured again beyond the neighbours asked for."""
PAIRS_AT_A_TIME = 128
"""Number of pairs whose features are held side by side; few, so that they stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """Features of `count` images, queries first, then gallery, filled up with zeros to a whole tile."""

    features: Float[Tensor, "padded dim"]
    squared_lengths: Float[Tensor, " padded"]
    count: int

    def distances(self, first: int, onwards: int = 0) -> Float[Tensor, "rows columns"]:
        """Return the distances of images `first`, `first` + 1, ... (`TILE` of them, or the rest) to images `onwards` to the last.

        `first` is a multiple of `TILE`.
        """
        skipped = onwards // TILE * TILE
        found = torch.empty(TILE, len(self.features) - skipped)
        rows, row_lengths = self.features[first : first + TILE], self.squared_lengths[first : first + TILE, None]
        for part, columns, lengths in zip(
            found.split(TILE, dim=1),
            self.features[skipped:].split(TILE),
            self.squared_lengths[skipped:].split(TILE),
            strict=True,
        ):
            torch.sub(row_lengths + lengths, rows @ columns.T, alpha=2, out=part)
        return found[: self.count - first, onwards - skipped : self.count - skipped].clamp_(min=0)  # rounding

    def distances_of_pairs(self, left: Integers, right: Integers) -> NDArray[np.float64]:
        """Return the distance of the images `left[n]` and `right[n]`, for each n, in double precision."""
        found = np.empty(len(left))
        for at in range(0, len(left), PAIRS_AT_A_TIME):
            pairs = slice(at, at + PAIRS_AT_A_TIME)
            gap = self.features[torch.from_numpy(left[pairs])] - self.features[torch.from_numpy(right[pairs])]
            found[pairs] = gap.double().square_().sum(dim=1).numpy()
        return found


def images_of(query: NDArray[np.float32], gallery: NDArray[np.float32], *, metric: str) -> Images:
    """Put queries [queries, dim] before gallery [gallery, dim]; `cosine` scales features to unit length first.

    This takes as much memory again as the features.
    """
    count = len(query) + len(gallery)
    features = torch.zeros(-(-count // TILE) * TILE, query.shape[1])
    features[: len(query)], features[len(query) : count] = torch.from_numpy(query), torch.from_numpy(gallery)
    if metric == "cosine":
        for part in features.split(TILE):  # in double precision: a length that is off moves all distances of its image
            part.copy_(F.normalize(part.double()))
    # by the product that distances use, so that an image is 0 from itself
    squared_lengths = torch.cat([(part @ part.T).diagonal() for part in features.split(TILE)])
    return Images(features=features, squared_lengths=squared_lengths, count=count)


def neighbours(
    images: Images, k: int, *, quiet: bool = False, watch: Watch | None = None
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the `k` nearest images of each, itself included, nearest first [images, k], and the distance of the farthest.

    Of equal distances the lower index comes first. Of fewer than `k` images all are given.
    """
    ranked = np.empty((images.count, min(k, images.count)), dtype=np.int32)
    farthest = np.empty(images.count, dtype=np.float32)
    with progress("neighbours", images.count, "images", quiet=quiet, watch=watch) as meter:
        for first in range(0, images.count, TILE):
            distances = images.distances(first)
            ranked[first : first + TILE] = in_order(images, first, candidates(distances, k + SPARE).numpy())[:, :k]
            farthest[first : first + TILE] = distances.amax(dim=1).numpy()
            meter.advance(len(distances))
    return ranked, farthest


def candidates(distances: Float[Tensor, "rows columns"], k: int) -> Int64[Tensor, "rows k"]:
    """Return the columns, ascending, of the `k` smallest of each row; of equal ones at the cut, the lower columns."""
    columns = distances.shape[1]
    k = min(k, columns)
    values, places = distances.topk(min(k + 1, columns), largest=False)  # of equals, any
    last = values[:, k - 1]
    is_cut = values[:, k] == last if k < columns else torch.zeros_like(last, dtype=torch.bool)
    places = places[:, :k].sort(dim=1).values
    for row in is_cut.nonzero().flatten().tolist():
        within = (distances[row] <= last[row]).nonzero().flatten()
        places[row] = within[distances[row, within].sort(stable=True).indices[:k]].sort().values
    return places


def in_order(images: Images, first: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort the ascending `places` [rows, k] of each row by their distance from image `first` + row."""
    rows, k = places.shape
    own = np.repeat(np.arange(first, first + rows), k)
    exact = images.distances_of_pairs(own, places.ravel()).reshape(rows, k)
    return np.take_along_axis(places, np.argsort(exact, axis=1, kind="stable"), axis=1)
