"""Tracklets: which crops of an unlabelled source a tracker has held to be one person for a moment, and a mate for each crop."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from upreid.errors import DataError
from upreid.runtime.seed import uniforms

LARGEST = 2**62
"""Largest product of the number of tracklets and the length of the longest, which must fit 64 bits."""


class Tracklets:
    """The tracklets of the images of a source: `numbers` says which one each belongs to, and is consecutive from 0.

    A single crop has a number of its own. Within a tracklet the crops are in the order of their `frames`; where these are not
    known, in that of the source, and then neighbours count as one frame apart.
    """

    def __init__(self, numbers: NDArray[np.int64], frames: NDArray[np.int64] | None = None) -> None:
        self.numbers, self.frames, self.sizes = numbers, frames, np.bincount(numbers)
        keys = (numbers,) if frames is None else (frames, numbers)
        self.order = np.lexsort(keys)  # the images, tracklet by tracklet; stable
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.places = np.empty_like(self.order)  # of each image within its tracklet
        self.places[self.order] = np.arange(len(self.order)) - self.starts[numbers[self.order]]
        self.moments = self.places if frames is None else frames - frames[self.order[self.starts]][numbers]
        self.span = int(self.moments.max()) + 1
        if self.span < 1 or self.span * len(self.sizes) > LARGEST:
            raise DataError("the frames of the tracklets lie further apart than numbers of 64 bits; count them anew")
        self.line = (numbers * self.span + self.moments)[self.order]  # all tracklets end to end, in order of time

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits over which images belong together, and in which frames they are."""
        known = [self.numbers] if self.frames is None else [self.numbers, self.frames]
        return hashlib.sha256(b"".join(array.astype("<i8").tobytes() for array in known)).hexdigest()[:16]

    @property
    def description(self) -> str:
        """How many tracklets there are, how large, and how many crops are single, for the log."""
        sizes = self.sizes[self.sizes > 1]
        singles, total = int((self.sizes == 1).sum()), len(self.numbers)
        low, middle, high = np.quantile(sizes, [0.1, 0.5, 0.9]).round().astype(int)
        return (
            f"tracklets: {len(sizes)} of {sizes.min()} to {sizes.max()} crops (10 %, 50 %, 90 %: {low}, {middle}, {high}); "
            f"{singles} of {total} crops are single ({singles / total:.0%})"
        )

    def mates(
        self, indices: NDArray[np.int64], *, seed: int, epoch: int, gap: int = 1, share: float = 1.0
    ) -> NDArray[np.int64]:
        """Draw another crop of the same tracklet for a `share` of the images: any one that is `gap` frames away or more.

        Where none is so far away, it is the one that is farthest; a single crop is its own mate, and so are the images outside
        the share. The draws belong to (seed, epoch, image) alone.
        """
        tracklet, place, moment = self.numbers[indices], self.places[indices], self.moments[indices]
        start, size = self.starts[tracklet], self.sizes[tracklet]
        at = tracklet * self.span + moment
        reach = min(gap, self.span)
        earlier = np.searchsorted(self.line, at - reach, side="right") - start
        later = start + size - np.searchsorted(self.line, at + reach, side="left")
        before = np.where(moment >= gap, earlier, 0)
        after = np.where(moment + gap < self.span, later, 0)
        drawn = (uniform(seed, epoch, indices, "mate") * (before + after)).astype(np.int64)
        far = np.where(drawn < before, drawn, size - after + drawn - before)
        last = self.moments[self.order[start + size - 1]]
        farthest = np.where((last - moment > moment) | (place == 0), size - 1, 0)
        chosen = np.where(before + after > 0, far, farthest)
        mates = self.order[start + np.where(size > 1, chosen, 0)]
        return mates if share == 1 else np.where(uniform(seed, epoch, indices, "mated") < share, mates, indices)


def uniform(seed: int, epoch: int, indices: NDArray[np.int64], purpose: str) -> NDArray[np.float64]:
    """Draw one number for each image."""
    return uniforms(seed, epoch, indices, purpose=purpose, count=1)[:, 0]


def numbered(tracklets: list[str | None]) -> NDArray[np.int64]:
    """Number tracklets in the order of their first crops; each None is a number of its own."""
    known: dict[str, int] = {}
    numbers: list[int] = []
    count = 0
    for tracklet in tracklets:
        number = count if tracklet is None else known.setdefault(tracklet, count)
        count += number == count
        numbers.append(number)
    return np.array(numbers, dtype=np.int64)


def numbered_anew(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number tracklets in the order of their first crops, where some crops are gone since they were numbered."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return first.argsort().argsort()[inverse]
