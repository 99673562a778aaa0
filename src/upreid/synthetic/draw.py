"""Random numbers that belong to what they are for, never to the order in which they are drawn."""

import zlib

import numpy as np
from numpy.random import Generator


def generator(seed: int, role: str, *numbers: int) -> Generator:
    """Return the generator of one person, camera or image.

    The stream depends on (seed, role, numbers) alone, so any worker may draw it, at any time.
    """
    return np.random.default_rng([seed, zlib.crc32(role.encode()), *numbers])


def pick(rng: Generator, weights: dict[str, int]) -> str:
    """Draw a name with probability proportional to its weight."""
    names, shares = list(weights), np.cumsum(list(weights.values()))
    return names[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]
