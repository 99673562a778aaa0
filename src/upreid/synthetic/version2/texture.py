"""Fractal noise: the fine detail of walls, grounds and cloth, cut from one tile that is made once per process."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

TILE = 512
COARSEST = 24
"""Wavelength in pixels above which the noise is white, so that it shows no clouds."""
SLOPE = 2.2
"""Slope of the power spectrum of the noise: power falls with frequency ** -SLOPE."""


@cache
def tile() -> Plane:
    """Make periodic noise with mean 0 and standard deviation 1 [TILE, TILE]."""
    rng = np.random.default_rng(2)
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None])
    frequency = np.maximum(frequency, 1 / COARSEST)
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE))) * frequency ** (-SLOPE / 2)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (TILE, TILE))
    return (noise / noise.std()).astype(np.float32)


def texture(rng: np.random.Generator, rows: int, columns: int, grain: float = 1.0) -> Plane:
    """Cut noise from the tile [rows, columns]; `grain` is the size of its detail in pixels."""
    top, left = rng.integers(TILE, size=2)
    row = (top + (np.arange(rows) / grain).astype(np.intp)) % TILE
    column = (left + (np.arange(columns) / grain).astype(np.intp)) % TILE
    return tile()[row[:, None], column]
