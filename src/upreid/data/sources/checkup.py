"""What can be wrong with images without labels: some cannot be read, some are copies, some are as small as no person crop."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from upreid.data.decode import UnreadableImage, decode_bytes
from upreid.data.sources.source import Source, place
from upreid.runtime.console import progress
from upreid.runtime.processes import cores, in_processes

CHUNK = 512
"""Number of images that a process looks at before it reports."""
SIZE = 64, 32
"""Height and width at which an image is decoded."""
NEAR = 2
"""Number of bits in which the hashes of two pictures may differ that look almost alike."""
BANDS = ((0, 22), (22, 21), (43, 21))
"""First bit and length of three parts of a hash: where two bits differ at most, one part is equal."""
MOST_NEIGHBOURS = 256
"""Number of hashes with an equal part that each is compared with: sets of empty pictures would take for ever."""


class Seen(NamedTuple):
    """What some images in a row look like; a size of 0 means that an image cannot be read."""

    first: int
    digests: NDArray[np.uint64]
    looks: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    trouble: list[str]


@dataclass(frozen=True, kw_only=True)
class SourceCheckup:
    """What reading all images of a source showed. Pairs are numbers of images, the earlier one first."""

    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    trouble: list[str]
    """A sentence for each image that cannot be read."""
    same_bytes: NDArray[np.int64]
    """Pairs of files that are equal, each with the first of its kind."""
    same_looks: NDArray[np.int64]
    """Pairs of other files whose pictures have one difference hash, each with the first of its kind."""
    near_looks: NDArray[np.int64]
    """Pairs of pictures whose difference hashes are different in `NEAR` bits at most."""


def look_through(source: Source) -> SourceCheckup:
    """Read and decode every image, in several processes where there are many."""
    chunks = [range(first, min(first + CHUNK, len(source))) for first in range(0, len(source), CHUNK)]
    workers = cores() if len(chunks) > 4 else 1  # a process takes as long to begin as two chunks take
    digests, looks = (np.zeros(len(source), dtype=np.uint64) for _ in range(2))
    sizes = np.zeros((len(source), 2), dtype=np.int64)
    trouble: dict[int, list[str]] = {}
    with progress("checking images", len(source), "images", quiet=len(chunks) < 2) as meter:
        for seen in in_processes(look_at_some, source, chunks, workers):
            some = slice(seen.first, seen.first + len(seen.sizes))
            digests[some], looks[some], sizes[some] = seen.digests, seen.looks, seen.sizes
            trouble[seen.first] = seen.trouble
            meter.advance(len(seen.sizes))
    readable = np.flatnonzero(sizes[:, 0])
    same_bytes = repeats(readable, digests)
    kinds = np.setdiff1d(readable, same_bytes[:, 1])  # one file of each
    same_looks = repeats(kinds, looks)
    different = np.setdiff1d(kinds, same_looks[:, 1])
    heights, widths = sizes[readable].T
    return SourceCheckup(
        heights=heights,
        widths=widths,
        trouble=[sentence for first in sorted(trouble) for sentence in trouble[first]],
        same_bytes=same_bytes,
        same_looks=same_looks,
        near_looks=different[near_pairs(looks[different])],
    )


def look_at_some(source: Source, images: range) -> Seen:
    """Read and decode some images."""
    digests, looks = (np.zeros(len(images), dtype=np.uint64) for _ in range(2))
    sizes, trouble = np.zeros((len(images), 2), dtype=np.int64), list[str]()
    for row, index in enumerate(images):
        try:
            content = source.read(index)
            pixels, sizes[row] = decode_bytes(content, place(source, index), target=SIZE)
        except UnreadableImage as error:
            trouble.append(str(error))
            continue
        digests[row] = int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
        looks[row] = difference_hash(pixels)
    return Seen(images.start, digests, looks, sizes, trouble)


def difference_hash(pixels: UInt8[np.ndarray, "height width 3"]) -> int:
    """Return 64 bits that say where a small grey picture of 8 rows and 9 columns grows lighter from left to right."""
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.BILINEAR))
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "little")


def repeats(images: NDArray[np.int64], marks: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return each image whose mark an earlier one has, as pairs of the first such image and itself."""
    _, first, inverse = np.unique(marks[images], return_index=True, return_inverse=True)
    pairs = np.stack([images[first[inverse]], images], axis=1)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def near_pairs(looks: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return pairs of places of hashes, no two of them equal, that differ in `NEAR` bits at most.

    Where more than `MOST_NEIGHBOURS` hashes have an equal part, not all of their pairs are found.
    """
    found = [np.zeros((0, 2), dtype=np.int64)]
    for start, length in BANDS:
        part = looks >> np.uint64(start) & np.uint64(2**length - 1)
        order = np.argsort(part, kind="stable")
        part = part[order]
        for step in range(1, min(MOST_NEIGHBOURS, len(looks))):
            at = np.flatnonzero(part[step:] == part[:-step])
            if len(at) == 0:
                break
            one, other = order[at], order[at + step]
            close = np.bitwise_count(looks[one] ^ looks[other]) <= NEAR
            found.append(np.sort(np.stack([one[close], other[close]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0)
