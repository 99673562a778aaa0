"""Streets without people: a ground, a wall behind it, and objects in front of it."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Panorama:
    """A street wider than one picture [rows, columns, 3], and the row where its ground begins."""

    pixels: NDArray[np.uint8]
    horizon: int


def draw_panorama(rng: Generator, height: int, width: int, elevation: float) -> Panorama:
    """Paint a street of `height` x `width` pixels; the higher the camera, the more ground it sees."""
    horizon = int(height * np.clip(0.62 - 0.9 * elevation + rng.normal(0, 0.06), 0.08, 0.7))
    pixels = np.empty((height, width, 3), np.float32)
    pixels[:horizon] = _wall(rng, horizon, width, height)
    pixels[horizon:] = _ground(rng, height - horizon, width, height)
    for _ in range(rng.poisson(1.2 + 2.2 * width / height)):
        _put_block(rng, pixels, horizon)
    for _ in range(rng.poisson(1.0 * width / height)):
        _put_post(rng, pixels, horizon)
    pixels *= 1 + _clouds(rng, height, width, cells=5, amplitude=0.12)
    pixels += _clouds(rng, height, width, cells=40, amplitude=0.025)
    stored = (np.clip(pixels, 0, 1, out=pixels) * 255 + 0.5).astype(np.uint8)  # a camera keeps many of them
    return Panorama(pixels=stored, horizon=horizon)


def cut(panorama: Panorama, left: int, width: int, strength: float) -> Plane:
    """Cut one picture out; `strength` scales its contrast against plain grey, 0 leaves grey."""
    picture = panorama.pixels[:, left : left + width] * np.float32(1 / 255)
    if strength == 1:
        return picture
    grey = np.float32(0.5)
    return np.clip(grey + np.float32(strength) * (picture - grey), 0, 1)


def muted_colour(rng: Generator, low: float, high: float) -> Plane:
    """Draw the colour of stone, plaster or asphalt."""
    return np.clip(rng.uniform(low, high) * (1 + rng.normal(0, 0.07, size=3)), 0, 1).astype(np.float32)


def _clouds(rng: Generator, rows: int, columns: int, *, cells: int, amplitude: float) -> Plane:
    """Draw smooth noise around 0 [rows, columns, 1]; `cells` bumps fit into the height."""
    shape = (max(2, cells), max(2, cells * columns // rows))
    coarse = rng.normal(0, amplitude, size=shape).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BILINEAR))[:, :, None]


def _wall(rng: Generator, rows: int, columns: int, height: int) -> Plane:
    """Paint plaster, bricks, windows, or leaves."""
    base = muted_colour(rng, 0.25, 0.8)
    wall = np.broadcast_to(base, (rows, columns, 3)).copy()
    y, x = np.arange(rows)[:, None], np.arange(columns)[None, :]
    kind = rng.integers(4)
    if kind == 0:
        cell = max(3, round(height * rng.uniform(0.03, 0.06)))
        joint = (y % cell == 0) | ((x + (y // cell % 2) * cell) % (2 * cell) == 0)
        wall[joint] *= np.float32(rng.uniform(0.7, 1.25))
    elif kind == 1:
        pitch = max(6, round(height * rng.uniform(0.22, 0.4)))
        window = ((x + rng.integers(pitch)) % pitch > pitch * 0.45) & ((y + rng.integers(pitch)) % pitch > pitch * 0.35)
        wall[window] = muted_colour(rng, 0.1, 0.9)
    elif kind == 2 and rows > 4:
        leaves = np.array([0.28, 0.38, 0.2], np.float32) * rng.uniform(0.6, 1.3)
        wall[:] = leaves * (1 + _clouds(rng, rows, columns, cells=14, amplitude=0.28))
    sky = int(rows * rng.uniform(-0.5, 0.5))
    if sky > 0:
        wall[:sky] = np.array([0.78, 0.84, 0.9], np.float32) * rng.uniform(0.85, 1.08)
    return wall


def _ground(rng: Generator, rows: int, columns: int, height: int) -> Plane:
    """Paint asphalt, slabs or a crossing, lighter or darker towards the camera."""
    near = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    fade = 1 + np.float32(rng.uniform(-0.2, 0.2)) * near
    ground = np.repeat((muted_colour(rng, 0.3, 0.7) * fade).astype(np.float32), columns, axis=1)
    distance = 1 / (np.linspace(0.25, 1, rows, dtype=np.float32))[:, None]  # rows bunch up towards the horizon
    kind = rng.integers(3)
    if kind == 1:
        slant = (np.arange(columns, dtype=np.float32)[None, :] - columns / 2) * distance / height
        lines = (distance * rng.uniform(3, 6) % 1 < 0.08) | (slant * rng.uniform(4, 9) % 1 < 0.06)
        ground[lines] *= np.float32(rng.uniform(0.75, 1.2))
    elif kind == 2:
        stripes = np.broadcast_to(distance * rng.uniform(1.2, 2.5) % 1 < 0.4, (rows, columns))
        ground[stripes] = 0.5 * ground[stripes] + 0.5 * np.float32(rng.uniform(0.75, 0.9))
    return ground


def _put_block(rng: Generator, pixels: Plane, horizon: int) -> None:
    """Place a bin, bench, car or door, its foot on the ground."""
    height, width = pixels.shape[:2]
    size = rng.uniform(0.08, 0.4) * height
    foot = int(horizon + rng.uniform(0, 0.35) * (height - horizon))
    left, top = int(rng.uniform(-0.2, 1) * width), max(0, int(foot - size))
    right = max(1, int(left + size * rng.uniform(0.4, 2.2)))
    left = max(0, left)
    colour = rng.uniform(0.1, 0.8, size=3) if rng.random() < 0.35 else muted_colour(rng, 0.1, 0.85)
    pixels[top:foot, left:right] = colour
    pixels[top : top + max(1, (foot - top) // 3), left:right] *= np.float32(rng.uniform(0.6, 1.25))
    pixels[foot : foot + max(1, height // 50), left:right] *= np.float32(0.6)


def _put_post(rng: Generator, pixels: Plane, horizon: int) -> None:
    """Place a lamp post, a tree or the edge of a door."""
    height, width = pixels.shape[:2]
    left, thickness = rng.integers(width), max(1, int(rng.uniform(0.012, 0.06) * height))
    foot = int(horizon + rng.uniform(0, 0.4) * (height - horizon))
    pixels[:foot, left : left + thickness] = muted_colour(rng, 0.1, 0.6)
    pixels[:foot, left : left + max(1, thickness // 3)] *= np.float32(1.3)
