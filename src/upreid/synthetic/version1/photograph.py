"""One crop as a detector would cut it: a person in a street, through a camera."""

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from upreid.synthetic.figure import CLOTHED, Light, brightness, cast_shadow, draw_figure, stand
from upreid.synthetic.identity import Identity, draw_identity
from upreid.synthetic.raster import Solids, Surface, Window
from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.skeleton import draw_pose
from upreid.synthetic.version1.camera import Camera, expose
from upreid.synthetic.version1.scene import Panorama, cut, muted_colour

Plane = NDArray[np.float32]

OCCLUSION_SHARE = 0.3
"""Share of crops with something in front of the person, at strength 1."""

EXPOSURE_SPREAD = 0.13
"""Standard deviation, on a log scale, of the exposure from picture to picture: time of day and passing clouds."""


def photograph(person: Identity, camera: Camera, street: Panorama, corpus: CorpusSettings, rng: Generator) -> bytes:
    """Take one picture of a person: a JPEG file."""
    solids = stand(person, draw_pose(rng), draw_yaw(rng, camera), camera.elevation + rng.normal(0, 0.04))
    window = frame(solids, corpus, rng)
    light = vary(camera.light, rng)
    figure = draw_figure(person, solids, window, partial(shade, light=light))
    left = int(rng.integers(street.pixels.shape[1] - corpus.width + 1))
    image = cut(street, left, corpus.width, corpus.background_strength)
    cast_shadow(image, solids, window)
    image = image * (1 - figure.cover) + figure.colour
    if rng.random() < OCCLUSION_SHARE * corpus.occlusion_strength:
        image = occlude(image, window, light, rng)
    image *= np.float32(np.exp(rng.normal(0, EXPOSURE_SPREAD)))
    return expose(image, camera.optics, rng)


def draw_yaw(rng: Generator, camera: Camera) -> float:
    """Draw which way a person faces: most walk along the street in either direction, some cross it."""
    going = np.pi * rng.integers(2)
    return camera.heading + going + rng.normal(0, 0.5)


def vary(light: Light, rng: Generator) -> Light:
    """Vary the light from picture to picture, as clouds and shade do."""
    factor = float(np.exp(rng.normal(0, 0.35)))
    return replace(light, strength=light.strength * factor, ambient=light.ambient * rng.uniform(0.9, 1.08))


def frame(solids: Solids, corpus: CorpusSettings, rng: Generator) -> Window:
    """Draw the box of an imperfect detector: loose, shifted, stretched, now and then without the feet."""
    boxes = solids.boxes()
    left, bottom = boxes[:, [0, 2]].min(axis=0)
    right, top = boxes[:, [1, 3]].max(axis=0)
    tall = top - bottom
    above, below = tall * np.clip(rng.normal(0.015, 0.025), -0.06, 0.1), tall * rng.normal(0.015, 0.03)
    if rng.random() < 0.08:
        below -= tall * rng.uniform(0.05, 0.2)
    metres_per_row = (tall + above + below) / corpus.height
    fair = (tall + above + below) / 2  # boxes are stored 2 : 1, whatever the person's own proportions
    wide = fair * float(np.clip((right - left) * rng.uniform(1.02, 1.3) / fair, 0.68, 1.0))
    metres_per_column = wide / corpus.width
    middle = (left + right) / 2 + wide * np.clip(rng.normal(0, 0.05), -0.12, 0.12)
    return Window(
        rows=corpus.height,
        columns=corpus.width,
        left=middle - wide / 2,
        top=top + above,
        metres_per_row=metres_per_row,
        metres_per_column=metres_per_column,
    )


def occlude(image: Plane, window: Window, light: Light, rng: Generator) -> Plane:
    """Put a post, a box, or another person's edge in front."""
    rows, columns = image.shape[:2]
    kind = rng.integers(3)
    if kind == 2:
        return _pass_by(image, window, light, rng)
    thickness = int(columns * (rng.uniform(0.06, 0.18) if kind == 0 else rng.uniform(0.3, 0.8)))
    left = int(rng.uniform(-0.2, 1) * columns)
    top = 0 if kind == 0 else int(rows * rng.uniform(0.5, 0.85))
    image[top:, max(0, left) : max(0, left + thickness)] = muted_colour(rng, 0.12, 0.75)
    return image


def _pass_by(image: Plane, window: Window, light: Light, rng: Generator) -> Plane:
    solids = stand(draw_identity(rng), draw_pose(rng), rng.uniform(0, 2 * np.pi), 0.15)
    wide = window.metres_per_column * window.columns
    aside = float(rng.choice([-1, 1])) * wide * rng.uniform(0.38, 0.6)
    shifted = replace(window, left=-wide / 2 + aside, top=window.top + rng.uniform(-0.1, 0.15))
    figure = draw_figure(draw_identity(rng), solids, shifted, partial(shade, light=light))
    return image * (1 - figure.cover) + figure.colour


def shade(surface: Surface, members: NDArray[np.intp], _: Window, *, light: Light) -> Plane:
    """Compute the brightness of every visible point, with folds in cloth."""
    shaded = brightness(surface, light)
    cloth = np.flatnonzero(np.isin(members, CLOTHED))
    along, angle = surface.along[cloth], surface.angle[cloth]
    folds = np.sin(23 * along + 2 * np.sin(3 * angle + 5 * along)) * np.sin(4 * angle + 9 * along)
    shaded[cloth] *= 1 + np.float32(0.05) * folds
    return shaded
