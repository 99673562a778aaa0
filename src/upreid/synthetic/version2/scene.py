"""What a surveillance camera sees without people: one wide view with several walls, a ground, and things that stand there."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from upreid.synthetic.version2.camera import BLOTCHES
from upreid.synthetic.version2.texture import texture

Plane = NDArray[np.float32]

VIEW_WIDTHS = 10
"""Width of a view in pictures."""
MARGIN = 1.4
"""Height of a view in pictures: boxes differ in height and size."""
GROUND_RANGE = (0.4, 0.76)
WALL_RANGE = (0.2, 0.8)
TINT = 0.015
"""Standard deviation, on a log scale, of the colour channels of stone."""
ROUGHNESS = 0.19
"""Standard deviation of the fine brightness of walls and grounds, relative to their brightness."""
STAINS = 0.03
"""Standard deviation of the fine differences of colour on them."""
PATCHES = 0.35
"""Standard deviation, on a log scale, of the brightness of parts of the ground."""
THINGS, POSTS = 4.5, 2.0
"""Mean number of things and of posts in the width of a picture."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A view wider and higher than one picture, and the row where its ground begins."""

    pixels: Image.Image
    horizon: int


def draw_view(rng: Generator, height: int, width: int, elevation: float) -> View:
    """Paint a view for pictures of `height` x `width`; the higher the camera, the more ground it sees."""
    rows, columns = round(MARGIN * height), VIEW_WIDTHS * width
    horizon = int(rows * np.clip(0.6 - 0.9 * elevation + rng.normal(0, 0.05), 0.1, 0.66))
    pixels = np.empty((rows, columns, 3), np.float32)
    left = 0
    while left < columns:
        right = min(columns, left + int(width * rng.uniform(0.8, 3.5)))
        pixels[:horizon, left:right] = _wall(rng, horizon, right - left, height)
        left = right
    pixels[horizon:] = _ground(rng, rows - horizon, columns, height)
    left = 0
    while left < columns:
        right = min(columns, left + int(width * rng.uniform(0.3, 2.0)))
        pixels[horizon:, left:right] *= np.exp(rng.normal(0, PATCHES) + rng.normal(0, TINT, size=3)).astype(np.float32)
        left = right
    pixels[max(0, horizon - 2) : horizon + 1] *= np.float32(rng.uniform(0.6, 1.1))
    for _ in range(rng.poisson(THINGS * VIEW_WIDTHS)):
        _put_thing(rng, pixels, horizon, height)
    for _ in range(rng.poisson(POSTS * VIEW_WIDTHS)):
        _put_post(rng, pixels, horizon, height)
    grain = height / 128
    pixels *= 1 + 0.16 * _smooth(rng, rows, columns, cells=4)
    pixels *= np.float32(1) + np.float32(ROUGHNESS) * texture(rng, rows, columns, grain)[:, :, None]
    for colours in BLOTCHES:
        pixels *= 1 + np.float32(STAINS) * texture(rng, rows, columns, 2 * grain)[:, :, None] * colours
    _cast_shade(rng, pixels)
    return View(
        pixels=Image.fromarray((np.clip(pixels, 0, 1, out=pixels) * 255 + 0.5).astype(np.uint8)), horizon=horizon
    )


def cut_view(view: View, box: tuple[float, float, float, float], size: tuple[int, int], strength: float) -> Plane:
    """Cut one picture (columns, rows) out of a view; `strength` scales its contrast against plain grey."""
    picture = np.asarray(view.pixels.resize(size, Image.Resampling.BILINEAR, box=box)) * np.float32(1 / 255)
    if strength == 1:
        return picture
    grey = np.float32(0.5)
    return np.clip(grey + np.float32(strength) * (picture - grey), 0, 1)


def stone(rng: Generator, low: float, high: float) -> Plane:
    """Draw the colour of stone, plaster or asphalt."""
    return np.clip(rng.uniform(low, high) * np.exp(rng.normal(0, TINT, size=3)), 0, 1).astype(np.float32)


def _smooth(rng: Generator, rows: int, columns: int, *, cells: int) -> Plane:
    """Draw smooth noise around 0 [rows, columns, 1]; `cells` bumps fit into the height."""
    shape = (max(2, cells), max(2, cells * columns // max(rows, 1)))
    coarse = rng.standard_normal(shape).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BILINEAR))[:, :, None]


def _wall(rng: Generator, rows: int, columns: int, height: int) -> Plane:
    """Paint plaster, bricks, windows, leaves, bars or a dark entrance."""
    wall = np.broadcast_to(stone(rng, *WALL_RANGE), (rows, columns, 3)).copy()
    y, x = np.arange(rows)[:, None], np.arange(columns)[None, :]
    match int(rng.integers(6)):
        case 0:
            cell = max(3, round(height * rng.uniform(0.03, 0.07)))
            joint = (y % cell == 0) | ((x + (y // cell % 2) * cell) % (2 * cell) == 0)
            wall[joint] *= np.float32(rng.uniform(0.65, 1.3))
        case 1:
            pitch = max(6, round(height * rng.uniform(0.22, 0.5)))
            u, v = (x + rng.integers(pitch)) % pitch, (y + rng.integers(pitch)) % pitch
            pane = (u > pitch * 0.4) & (v > pitch * 0.3)
            wall[pane] = stone(rng, 0.08, 0.7)
            wall[pane & ((u == int(pitch * 0.4) + 1) | (v == int(pitch * 0.65)))] *= np.float32(1.7)
        case 2:
            leaves = np.array([0.24, 0.3, 0.17], np.float32) * np.float32(rng.uniform(0.6, 1.4))
            wall[:] = leaves * np.exp(np.float32(0.45) * texture(rng, rows, columns, height / 200)[:, :, None])
        case 3:
            pitch = max(3, round(height * rng.uniform(0.03, 0.09)))
            wall[:, np.arange(columns) % pitch == 0] *= np.float32(rng.uniform(0.45, 1.6))
        case 4:
            wall *= np.float32(rng.uniform(0.3, 0.6))
        case _:
            pass
    return wall


def _ground(rng: Generator, rows: int, columns: int, height: int) -> Plane:
    """Paint asphalt, slabs or a crossing, lighter or darker towards the camera."""
    near = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    fade = 1 + np.float32(rng.uniform(-0.25, 0.25)) * near
    ground = np.repeat((stone(rng, *GROUND_RANGE) * fade).astype(np.float32), columns, axis=1)
    distance = 1 / (np.linspace(0.25, 1, rows, dtype=np.float32))[:, None]  # rows bunch up towards the horizon
    kind = rng.integers(3)
    if kind == 1:
        slant = (np.arange(columns, dtype=np.float32)[None, :] - columns / 2) * distance / height
        lines = (distance * rng.uniform(3, 6) % 1 < 0.08) | (slant * rng.uniform(4, 9) % 1 < 0.06)
        ground[lines] *= np.float32(rng.uniform(0.7, 1.25))
    elif kind == 2:
        stripes = np.broadcast_to(distance * rng.uniform(1.2, 2.5) % 1 < 0.4, (rows, columns))
        ground[stripes] = 0.6 * ground[stripes] + 0.4 * np.float32(rng.uniform(0.6, 0.85))
    return ground


def _put_thing(rng: Generator, pixels: Plane, horizon: int, height: int) -> None:
    """Place a bin, bench, bicycle, car or door, its foot on the ground."""
    rows, columns = pixels.shape[:2]
    size = rng.uniform(0.06, 0.45) * height
    foot = int(horizon + rng.uniform(0, 0.35) * (rows - horizon))
    left, top = int(rng.uniform(-0.02, 1) * columns), max(0, int(foot - size))
    right = max(1, int(left + size * rng.uniform(0.3, 1.8)))
    left = max(0, left)
    colour = stone(rng, 0.08, 0.7)
    if rng.random() < 0.15:
        colour = colour * rng.uniform(0.5, 1.3, size=3).astype(np.float32)
    pixels[top:foot, left:right] = colour
    pixels[top : top + max(1, (foot - top) // 3), left:right] *= np.float32(rng.uniform(0.5, 1.4))
    pixels[top:foot, left : left + max(1, (right - left) // 4)] *= np.float32(rng.uniform(0.6, 1.4))
    pixels[foot : foot + max(1, height // 50), left:right] *= np.float32(0.6)


def _put_post(rng: Generator, pixels: Plane, horizon: int, height: int) -> None:
    """Place a lamp post, a tree, a pillar or the edge of a door."""
    rows, columns = pixels.shape[:2]
    left, thickness = rng.integers(columns), max(1, int(rng.uniform(0.01, 0.09) * height))
    foot = int(horizon + rng.uniform(0, 0.4) * (rows - horizon))
    pixels[:foot, left : left + thickness] = stone(rng, 0.08, 0.6)
    pixels[:foot, left : left + max(1, thickness // 3)] *= np.float32(rng.uniform(0.7, 1.5))


def _cast_shade(rng: Generator, pixels: Plane) -> None:
    """Put a part of the view into shade, as under a roof or beside a building."""
    if rng.random() < 0.5:
        columns = pixels.shape[1]
        left = int(rng.uniform(-0.3, 0.8) * columns)
        pixels[:, max(0, left) : max(0, left + int(rng.uniform(0.2, 0.6) * columns))] *= np.float32(
            rng.uniform(0.5, 0.85)
        )
