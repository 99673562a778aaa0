"""Pairs of images by their distance: how many show one person, and how many show two. There is never a matrix of all pairs.

Distances are counted in `BINS` steps of one width; a pair is in step k where its distance is above (k - 1) x width and at most
k x width. All counts are exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from upreid.data.records import UNKNOWN_CAMERA
from upreid.retrieval.neighbours import PAIRS_AT_A_TIME, TILE, Images, images_of
from upreid.retrieval.ranking import IntArray
from upreid.runtime.console import progress

BINS = 2**16
"""Number of steps into which the distances are divided."""
LISTED_AT_A_TIME = PAIRS_AT_A_TIME * 512


@dataclass(frozen=True, kw_only=True)
class LabelledFeatures:
    """Features, and what decides which pairs of them are of one person, which are of two, and which do not count.

    A pair of one person and one known camera does not count, as in the evaluation of a benchmark.
    """

    features: Float[Tensor, "images dim"]
    people: IntArray
    """Person of each image, numbered from 0 without a gap."""
    cameras: IntArray
    """Camera of each image, or UNKNOWN_CAMERA: unknown is another than any."""
    moments: IntArray | None = None
    """Video, first frame and last frame [images, 3] of each image's tracklet, where people are tracklets. Then two of them are
    surely different people only if they overlap, and other pairs do not count."""
    pairs: IntArray | None = None
    """Places of the two images [pairs, 2] of each pair that counts, the lower one first; all pairs where there is no list."""
    tracks: IntArray | None = None
    """Tracklet of each image, over which features may be averaged."""

    @property
    def num_people(self) -> int:
        """Return the number of people."""
        return int(self.people.max()) + 1 if len(self.people) else 0

    def part(self, chosen: IntArray) -> "LabelledFeatures":
        """Return the images of some people alone, who are numbered anew in the given order."""
        number = np.full(self.num_people, -1)
        number[chosen] = np.arange(len(chosen))
        kept = np.flatnonzero(number[self.people] >= 0)
        place = np.full(len(self.people), -1)
        place[kept] = np.arange(len(kept))
        pairs = None if self.pairs is None else place[self.pairs]
        return LabelledFeatures(
            features=self.features[torch.from_numpy(kept)],
            people=number[self.people[kept]],
            cameras=self.cameras[kept],
            moments=None if self.moments is None else self.moments[kept],
            pairs=None if pairs is None else pairs[(pairs >= 0).all(axis=1)],
            tracks=None if self.tracks is None else self.tracks[kept],
        )

    def means(self, metric: str) -> "LabelledFeatures":
        """Return the mean over each tracklet in place of its images; for cosine distances each image has unit length before."""
        assert self.tracks is not None
        _, first, inverse = np.unique(self.tracks, return_index=True, return_inverse=True)
        features = F.normalize(self.features) if metric == "cosine" else self.features
        sums = torch.zeros(len(first), features.shape[1]).index_add_(0, torch.from_numpy(inverse), features)
        return replace(
            self,
            features=sums / torch.from_numpy(np.bincount(inverse))[:, None],
            people=self.people[first],
            cameras=self.cameras[first],
            moments=None if self.moments is None else self.moments[first],
            pairs=None,
            tracks=self.tracks[first],
        )


def width_for(features: Float[Tensor, "images dim"], metric: str) -> float:
    """Return the width of a step: distances of these features reach up to `BINS` of them."""
    reach = 2.0 if metric == "cosine" else 2.0 * float(features.norm(dim=1).max())
    return (reach or 1.0) / BINS


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What was counted over all pairs of some images."""

    width: float
    same: Int64[Tensor, " steps"]
    """Number of pairs of one person in each step."""
    different: Int64[Tensor, " steps"]
    """Number of pairs of two people in each step."""
    near: Int64[Tensor, "pairs 3"]
    """Step and the two people of pairs of two people up to `limit`, by step; every `thinned`-th one."""
    limit: int
    thinned: int
    same_pairs: Int64[Tensor, " people"]
    """Number of pairs of each person."""
    same_far: Int64[Tensor, " people"]
    """Number of these beyond `limit`."""
    near_stranger: NDArray[np.bool_] = field(repr=False)
    """Whether each image has one of another person up to `limit`."""


def tally(some: LabelledFeatures, *, metric: str, width: float, limit: int, thinned: int = 1) -> Tally:
    """Count all pairs that count, step by step, and list the pairs of two people up to step `limit`.

    for i, j in pairs that count:
        step = ceil(distance(i, j) / width)
        if people[i] == people[j]: same[step] += 1  # of two cameras, or an unknown one
        else: different[step] += 1
    """
    people, cameras = torch.from_numpy(some.people), torch.from_numpy(some.cameras)
    moments = None if some.moments is None else torch.from_numpy(some.moments)
    same, different = torch.zeros(BINS + 1, dtype=torch.long), torch.zeros(BINS + 1, dtype=torch.long)
    same_pairs, same_far = (torch.zeros(some.num_people, dtype=torch.long) for _ in range(2))
    near, seen, stranger = [], 0, torch.zeros(len(people), dtype=torch.bool)
    for distances, left, right in blocks(some, metric):
        steps = (distances / width).ceil_().clamp_(max=BINS).long()
        counts = left < right
        is_same = (people[left] == people[right]) & counts
        is_different = counts & ~is_same
        camera = cameras[left]
        is_same &= (camera != cameras[right]) | (camera == UNKNOWN_CAMERA)
        if moments is not None:
            is_different &= overlap(moments[left], moments[right])
        of_same, person = steps[is_same], people[left].expand_as(steps)[is_same]
        same += of_same.bincount(minlength=BINS + 1)
        same_pairs.index_add_(0, person, torch.ones_like(person))
        same_far.index_add_(0, person, (of_same > limit).long())
        different += steps.masked_fill(~is_different, BINS + 1).flatten().bincount(minlength=BINS + 2)[: BINS + 1]
        is_near = is_different & (steps <= limit)
        rows, columns = is_near.nonzero(as_tuple=True)
        first = left.expand_as(steps)[rows, columns]
        second = right.expand_as(steps)[rows, columns]
        stranger[first] = True
        stranger[second] = True
        kept = slice(-seen % thinned, None, thinned)
        seen += len(rows)
        near.append(torch.stack([steps[rows, columns], people[first], people[second]], dim=1)[kept])
    listed = torch.cat(near) if near else torch.zeros(0, 3, dtype=torch.long)
    return Tally(
        width=width,
        same=same,
        different=different,
        near=listed[listed[:, 0].argsort(stable=True)],
        limit=limit,
        thinned=thinned,
        same_pairs=same_pairs,
        same_far=same_far,
        near_stranger=stranger.numpy(),
    )


def blocks(some: LabelledFeatures, metric: str) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield distances [rows, columns] of some pairs, and the places of their images, which broadcast to that shape."""
    empty = np.zeros((0, some.features.shape[1]), dtype=np.float32)
    images = images_of(some.features.numpy(), empty, metric=metric)
    total, unit = (len(some.people), "images") if some.pairs is None else (len(some.pairs), "pairs")
    with progress("pairs", total, unit) as meter:
        for squared, left, right in squared_blocks(some, images):
            yield (squared / 2 if metric == "cosine" else squared.sqrt()), left, right
            meter.advance(len(left))


def squared_blocks(some: LabelledFeatures, images: Images) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield squared Euclidean distances of some pairs, and the places of their images."""
    if some.pairs is not None:
        for first in range(0, len(some.pairs), LISTED_AT_A_TIME):
            left, right = some.pairs[first : first + LISTED_AT_A_TIME].T
            squared = images.distances_of_pairs(left, right)
            yield torch.from_numpy(squared)[:, None], torch.from_numpy(left)[:, None], torch.from_numpy(right)[:, None]
        return
    for first in range(0, images.count, TILE):
        squared = images.distances(first, first)
        rows, columns = torch.arange(len(squared)) + first, torch.arange(squared.shape[1]) + first
        yield squared, rows[:, None], columns[None]


def overlap(one: Int64[Tensor, "rows 1 3"], other: Int64[Tensor, "... 3"]) -> Tensor:
    """Tell whether tracklets are of one video and have frames in common."""
    same_video = one[..., 0] == other[..., 0]
    return same_video & (one[..., 1] <= other[..., 2]) & (other[..., 1] <= one[..., 2])


@dataclass(frozen=True, kw_only=True)
class Opportunities:
    """How many pairs of two people there are, by person: what a share of such pairs is a share of."""

    sizes: IntArray
    """Number of images of each person."""
    listed: IntArray | None = None
    """Two people and the number of their pairs [n, 3], where not all pairs count."""

    def count(self, weights: IntArray) -> int:
        """Count the pairs where person p is there `weights[p]` times; copies of a person are not two people."""
        if self.listed is not None:
            first, second, pairs = self.listed.T
            return int((weights[first] * weights[second] * pairs).sum())
        images = weights * self.sizes
        return int((images.sum() ** 2 - (images**2).sum()) // 2)


def opportunities(some: LabelledFeatures) -> Opportunities:
    """Count the pairs of two people that are compared, by person."""
    sizes = np.bincount(some.people, minlength=some.num_people)
    if some.pairs is not None:
        both = np.sort(some.people[some.pairs], axis=1)
        found, times = np.unique(both[both[:, 0] != both[:, 1]], axis=0, return_counts=True)
        return Opportunities(sizes=sizes, listed=np.column_stack([found, times]))
    if some.moments is None:
        return Opportunities(sizes=sizes)
    _, first = np.unique(some.people, return_index=True)
    moments = some.moments[first]
    order = np.lexsort((moments[:, 2], moments[:, 1], moments[:, 0]))
    pairs = []
    for place, one in enumerate(order):
        video, _, last = moments[one]
        for other in order[place + 1 :]:  # in the order of their first frames
            if moments[other, 0] != video or moments[other, 1] > last:
                break
            pairs.append((one, other, sizes[one] * sizes[other]))
    return Opportunities(sizes=sizes, listed=np.array(pairs, dtype=np.int64).reshape(-1, 3))
