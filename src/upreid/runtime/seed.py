"""Random numbers that belong to (seed, epoch, image), never to a rank, a worker, or the order of calls."""

import zlib

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit words: the finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def stream_key(seed: int, epoch: int, purpose: str) -> int:
    """One 64-bit key per (seed, epoch, purpose)."""
    key = np.zeros(1, dtype=np.uint64)
    for word in (seed, epoch, zlib.crc32(purpose.encode())):
        key = mix(key + GOLDEN * np.uint64(1) + np.uint64(word & 0xFFFFFFFFFFFFFFFF))
    return int(key[0])


def uniforms(seed: int, epoch: int, indices: NDArray[np.int64], *, purpose: str, count: int) -> NDArray[np.float64]:
    """Draw `count` numbers in [0, 1) for each image: [images, count].

    A counter-based generator: the numbers of an image depend on (seed, epoch, its index, purpose) alone,
    whatever batch, worker or rank it is drawn in.
    """
    key = np.uint64(stream_key(seed, epoch, purpose))
    image = mix(key + GOLDEN * (indices.astype(np.uint64) + np.uint64(1)))  # [images]
    counter = GOLDEN * np.arange(1, count + 1, dtype=np.uint64)  # [count]
    words = mix(image[:, None] + counter[None, :])
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, epoch: int, size: int, *, purpose: str) -> NDArray[np.int64]:
    """Shuffle `range(size)`; the same on every rank."""
    return np.random.default_rng(stream_key(seed, epoch, purpose)).permutation(size)
